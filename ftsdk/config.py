"""The configuration. A setting comes from the argument, the environment, the profile or the file.

`ftsdk.toml` (or `[tool.ftsdk]` in `pyproject.toml`) is searched in the working folder and its
parents. API keys are never in the file: they are read from the provider's usual variable or from
the keyring when they are needed.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ftsdk.errors import ConfigError
from ftsdk.util.names import nearest

__all__ = [
    "Config",
    "Environment",
    "Setting",
    "api_key",
    "default_home",
    "load_config",
]

_FILE_LIMIT_BYTES = 1_000_000
_TOP_KEYS = frozenset({"profile", "profiles", "provider", "model", "max_cost", "method"})
_PROFILE_KEYS = frozenset(
    {
        "provider",
        "model",
        "method",
        "max_cost",
        "base_url",
        "key_variable",
        "account",
        "adapter",
        "hyperparameters",
        "provider_options",
        "options",
        "tags",
        "budget",
    }
)
_TOP_EXTRA = frozenset({"budget", "options"})
_NAMES = {
    "key_variable": (
        re.compile(r"[A-Z_][A-Z0-9_]*"),
        "the name of a variable (A-Z, 0-9 and _)",
    ),
    "account": (
        re.compile(r"[A-Za-z0-9][\w .-]{0,29}", re.ASCII),
        "a name of up to 30 letters, digits, spaces and .-_",
    ),
}
"""Settings beside a key: keys are longer, or have other characters."""
_SECRET_WORDS = ("api_key", "apikey", "token", "secret", "password")


def default_home(env: Mapping[str, str] | None = None) -> Path:
    """Return `FTSDK_HOME`, else the user's data folder on this platform."""
    env = os.environ if env is None else env
    if env.get("FTSDK_HOME"):
        return absolute(Path(env["FTSDK_HOME"]).expanduser())
    import platformdirs

    return Path(platformdirs.user_data_dir("ftsdk", appauthor=False))


def working_folder() -> Path:
    """Return the current folder. Raises `ConfigError` when it was deleted or cannot be read."""
    try:
        return Path.cwd()
    except OSError as error:
        raise ConfigError(
            f"The current folder cannot be used: {error.strerror or error}",
            where="the working folder of this process",
            hint="change to a folder that exists",
        ) from error


def absolute(path: Path) -> Path:
    """Return `path` below the current folder, unless it is absolute. Raises `ConfigError`."""
    return path if path.is_absolute() else working_folder() / path


class Environment(Mapping[str, str]):
    """Environment variables whose repr shows no values.

    An environment is a local variable of many frames, and some tools print all locals.
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values: Mapping[str, str] = values

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"<environment of {len(self)} variables>"


@dataclass(frozen=True)
class Setting:
    """A resolved setting and its source."""

    name: str
    value: Any
    source: str


@dataclass(frozen=True)
class Config:
    """The loaded configuration. `setting` resolves one name."""

    path: Path | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    profile: str | None = None
    profile_source: str = ""
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    searched: tuple[Path, ...] = ()

    @property
    def profiles(self) -> Mapping[str, Mapping[str, Any]]:
        """The profiles of the file, by name."""
        profiles: Mapping[str, Mapping[str, Any]] = self.data.get("profiles", {})
        return profiles

    def _profile(self) -> Mapping[str, Any]:
        return self.profiles.get(self.profile or "", {})

    def with_profile(self, profile: str | None) -> Config:
        """Return this configuration with another of its profiles; its source is the caller."""
        return replace(self, profile=profile, profile_source="argument" if profile else "")

    def places(self, name: str) -> list[str]:
        """Return all places that `setting(name)` searches, in order."""
        variable = f"FTSDK_{name.upper()}"
        file = str(self.path) if self.path else "ftsdk.toml (none found)"
        places = [f"the argument {name}=", f"the variable {variable}"]
        places.append(
            f"[profiles.{self.profile}] in {file}" if self.profile else "a profile (none is chosen)"
        )
        places.append(f"{name} at the top of {file}")
        return places

    def setting(self, name: str, argument: Any = None) -> Setting | None:
        """Resolve `name`: argument, then environment, then profile, then the file's default."""
        if argument is not None:
            return Setting(name, argument, "argument")
        variable = f"FTSDK_{name.upper()}"
        if self.env.get(variable):
            return Setting(name, self.env[variable], f"variable {variable}")
        if name in self._profile():
            return Setting(name, self._profile()[name], f"profile {self.profile} in {self.path}")
        if name in self.data:
            return Setting(name, self.data[name], str(self.path))
        return None

    def require(self, name: str, argument: Any = None) -> Setting:
        """Resolve `name`, or raise `ConfigError` with all places that were searched."""
        found = self.setting(name, argument)
        if found is not None:
            return found
        raise ConfigError(
            f"No {name} is set",
            where="; ".join(f"{i}. {p}" for i, p in enumerate(self.places(name), 1)),
            hint=f"pass {name}=, set FTSDK_{name.upper()}, or run `ftsdk init` for a profile",
        )

    def table_value(self, name: str) -> Any:
        """Return a value from the profile, else from the top of the file; None when absent."""
        return self._profile().get(name, self.data.get(name))

    def beside_provider(self, name: str, provider: str) -> str | None:
        """Return a setting about a provider's account, from the profile, else the top of the file.

        It applies to the provider that is named beside it, and to any where none is.
        """
        for table in (self._profile(), self.data):
            if name in table and table.get("provider", provider) == provider:
                return str(table[name])
        return None

    def table(self, name: str) -> dict[str, Any]:
        """Return a table such as `hyperparameters` or `options`; the profile's entries override."""
        merged: dict[str, Any] = {}
        for level in (self.data, self._profile()):
            value = level.get(name, {})
            if isinstance(value, Mapping):
                merged.update(value)
        return merged


def load_config(
    *,
    profile: str | None = None,
    folder: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Config:
    """Find and check the configuration, and choose the profile.

    Raises `ConfigError` for a file that is not TOML, for unknown names or API keys in it (all at
    once), and for a profile that does not exist.
    """
    env = Environment(dict(os.environ if env is None else env))
    path, data, searched = _find(folder, env)
    if path is not None:
        _check(path, data)
    name, source = profile, "argument"
    if name is None and env.get("FTSDK_PROFILE"):
        name, source = env["FTSDK_PROFILE"], "variable FTSDK_PROFILE"
    if name is None and "profile" in data:
        name, source = data["profile"], str(path)
    if name is not None and name not in data.get("profiles", {}):
        raise _no_such_profile(name, source, path, data, searched)
    return Config(path, data, name, source if name else "", env, tuple(searched))


def _no_such_profile(
    name: str, source: str, path: Path | None, data: Mapping[str, Any], searched: list[Path]
) -> ConfigError:
    known = sorted(data.get("profiles", {}))
    if path is None:
        looked = ", ".join(str(p) for p in searched[:3]) or "nowhere"
        where = f"profile from {source}; no ftsdk.toml was found, searched {looked}"
    else:
        where = f"profile from {source}; {path} has {', '.join(known) or 'no profiles'}"
    return ConfigError(
        f"There is no profile {name!r}{nearest(name, known)}",
        where=where,
        hint=f"add [profiles.{name}] with provider = …, or run `ftsdk init`",
    )


def _find(
    start: Path | None, env: Mapping[str, str]
) -> tuple[Path | None, dict[str, Any], list[Path]]:
    searched: list[Path] = []
    if env.get("FTSDK_CONFIG"):
        path = Path(env["FTSDK_CONFIG"]).expanduser()
        if not _is_file(path):
            raise ConfigError(
                "The configuration file does not exist",
                where=f"{path}, from the variable FTSDK_CONFIG",
                hint="correct or unset FTSDK_CONFIG",
            )
        return path, _read(path), [path]
    start = working_folder() if start is None else start
    for folder in (start, *start.parents):
        own, project = folder / "ftsdk.toml", folder / "pyproject.toml"
        searched.append(own)
        if _is_file(own):
            return own, _read(own), searched
        if _is_file(project):
            table = _read(project).get("tool", {}).get("ftsdk")
            if isinstance(table, dict):
                return project, table, searched
    return None, {}, searched


def _is_file(path: Path) -> bool:
    """Whether there is such a file; a folder that cannot be searched may have one, and is an error."""
    try:
        return path.is_file()
    except OSError as error:
        raise ConfigError(
            f"The configuration cannot be looked for: {error.strerror or error}",
            where=str(path.parent),
            hint="make the folder readable, or set FTSDK_CONFIG to a file",
        ) from error


def _read(path: Path) -> dict[str, Any]:
    try:
        info = path.stat()
        if not stat.S_ISREG(info.st_mode) or info.st_size > _FILE_LIMIT_BYTES:
            raise ConfigError(
                "The configuration is not a plain file under 1 MB",
                where=str(path),
                hint="point FTSDK_CONFIG at a TOML file",
            )
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"The configuration is not valid TOML: {error}",
            where=str(path),
            hint="correct that line; `ftsdk init --print` shows a valid file",
        ) from error
    except OSError as error:
        raise ConfigError(
            f"The configuration cannot be read: {error.strerror}",
            where=str(path),
            hint="check the file's permissions",
        ) from error


def _check(path: Path, data: Mapping[str, Any]) -> None:
    faults = _unknown(data, _TOP_KEYS | _PROFILE_KEYS | _TOP_EXTRA, "")
    faults += _not_a_name(data, "")
    profiles = data.get("profiles", {})
    if not isinstance(profiles, Mapping):
        faults.append("profiles is not a table")
        profiles = {}
    for name, table in profiles.items():
        if isinstance(table, Mapping):
            faults += _unknown(table, _PROFILE_KEYS, f"profiles.{name}.")
            faults += _not_a_name(table, f"profiles.{name}.")
        else:
            faults.append(f"profiles.{name} is not a table")
    if faults:
        raise ConfigError(
            "The configuration has "
            + ("a fault: " if len(faults) == 1 else "faults: ")
            + "; ".join(faults),
            where=str(path),
            hint="correct the named entries",
        )


def _not_a_name(table: Mapping[str, Any], prefix: str) -> list[str]:
    """Return a fault where `key_variable` or `account` may be a key; the value is not shown."""
    faults = []
    for name, (pattern, what) in _NAMES.items():
        value = table.get(name)
        if value is not None and not (isinstance(value, str) and pattern.fullmatch(value)):
            faults.append(
                f"{prefix}{name} is not {what}; if it is a key, remove it here and replace it at "
                "the provider"
            )
    return faults


def _unknown(table: Mapping[str, Any], known: frozenset[str], prefix: str) -> list[str]:
    faults = []
    for key in table:
        if key in known:
            continue
        if any(word in key.lower() for word in _SECRET_WORDS):
            faults.append(
                f"{prefix}{key} looks like a key; keys are read from the environment or the "
                "keyring, never from the file: remove it here and replace it at the provider"
            )
        else:
            faults.append(f"{prefix}{key} is not a setting{nearest(key, known)}")
    return faults


def api_key(
    provider: str,
    variables: tuple[str, ...],
    env: Mapping[str, str],
    *,
    entry: str | None = None,
) -> str:
    """Return the API key of `provider`, from `variables`, then from the keyring.

    `entry` is the name of the keyring's entry, by default that of the provider.

    Raises `ConfigError` with the places searched, never with a value. White space around a key is an
    error, since HTTP libraries repeat such a key in their messages.
    """
    for variable in variables:
        if not env.get(variable):
            continue
        if not _is_key(env[variable]):
            raise ConfigError(
                f"{variable} contains white space or characters that are not valid in a key",
                where=f"variable {variable}",
                hint="set it again, without quotes and line breaks",
            )
        return env[variable]
    entry = entry or provider
    stored = _from_keyring(entry)
    if stored:
        return stored
    places = ", ".join(
        [*(f"the variable {v}" for v in variables), f"the keyring entry ftsdk/{entry}"]
    )
    raise ConfigError(
        f"No key for {provider} was found",
        where=places,
        hint=f"export {variables[0]}=… or `keyring set ftsdk {entry}`",
    )


def _is_key(value: str) -> bool:
    return value == value.strip() and value.isascii() and value.isprintable()


def _from_keyring(provider: str) -> str | None:
    try:
        import keyring
        import keyring.errors
    except ImportError:
        return None
    try:
        return keyring.get_password("ftsdk", provider)
    except keyring.errors.KeyringError:
        return None  # no keyring service on this machine; the error of the caller lists it
