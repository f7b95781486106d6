"""The dated catalogue that ships with ftsdk, under the user's own figures.

`prices.toml` in `FTSDK_HOME` (or a file that is named) has the same layout and wins entry by entry.
A model is found by its id, an alias, the last part of `owner/name`, or the name of a fine-tune.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ftsdk.catalogue.provider_dates import TOLD, over, read_told
from ftsdk.catalogue.schema import YOURS, Catalogue, Model, Provider
from ftsdk.errors import ConfigError

__all__ = ["OVERRIDES", "Entry", "load_catalogue", "lookup", "shipped"]

OVERRIDES = "prices.toml"
_LIMIT_BYTES = 5_000_000


@dataclass(frozen=True)
class Entry:
    """A model of a provider, with its catalogue id. `model` is None where the model is not known."""

    provider: str
    facts: Provider
    model_id: str | None = None
    model: Model | None = None


@functools.lru_cache(maxsize=1)
def _shipped_data() -> dict[str, Any]:
    text = resources.files("ftsdk.catalogue").joinpath("catalogue.toml").read_text("utf-8")
    return tomllib.loads(text, parse_float=Decimal)


@functools.lru_cache(maxsize=1)
def shipped() -> Catalogue:
    """The catalogue of this release."""
    return Catalogue.model_validate(_shipped_data())


def load_catalogue(home: Path | None = None, *, file: Path | None = None) -> Catalogue:
    """The shipped catalogue, under what providers told (`told`), under the user's own figures.

    The user's file is `file`, else `prices.toml` in `home` where it is there. Raises `ConfigError`
    for a file that is not TOML or that says something a catalogue cannot say, all faults at once.
    """
    path = file if file is not None else (home / OVERRIDES if home is not None else None)
    own = _bytes(path, needed=file is not None)
    kept = None if home is None else home / TOLD
    told = _bytes(kept)
    return _laid_over(path, own, kept, told) if own is not None or told is not None else shipped()


def _bytes(path: Path | None, *, needed: bool = False) -> bytes | None:
    if path is None or (not needed and not path.is_file()):
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise _refused(path, f"it cannot be read: {error.strerror}") from error


@functools.lru_cache(maxsize=8)
def _laid_over(
    path: Path | None, data: bytes | None, kept: Path | None, told: bytes | None
) -> Catalogue:
    """The catalogue under these files; kept by their bytes, since backends ask at every price."""
    base = _shipped_data()
    if kept is not None and told is not None:
        base = _merged(base, over(base, read_told(kept, told)))
    if path is None or data is None:
        return Catalogue.model_validate(base)
    own = _read(path, data)
    if "as_of" not in own:
        raise _refused(path, "as_of is missing: the day on which you looked")
    merged = _merged(base, own)
    merged["as_of"] = max(base["as_of"], own["as_of"])
    merged["sources"] = {
        **merged["sources"],
        YOURS: {"title": f"your own figures in {path}", "day": own["as_of"]},
    }
    try:
        return Catalogue.model_validate(merged)
    except ValidationError as error:
        faults = [
            ".".join(str(part) for part in item["loc"]) + ": " + item["msg"]
            for item in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        raise _refused(path, "; ".join(faults)) from error
    except TypeError as error:  # two days that cannot be compared
        raise _refused(path, "as_of is not a day such as 2026-11-23") from error


def _read(path: Path, data: bytes) -> dict[str, Any]:
    if len(data) > _LIMIT_BYTES:
        raise _refused(path, "it is larger than 5 MB")
    try:
        own = tomllib.loads(data.decode("utf-8-sig"), parse_float=Decimal)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _refused(path, f"it is not TOML: {error}") from error
    day = own.get("as_of")
    if "as_of" in own and type(day) is not type(_shipped_data()["as_of"]):
        raise _refused(path, "as_of is not a day such as 2026-11-23")
    return own


def _refused(path: Path, why: str) -> ConfigError:
    return ConfigError(
        f"Your price file cannot be used: {why}",
        where=str(path),
        hint="correct it, or move it away to go by the shipped catalogue",
    )


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Tables are merged name by name; anything else is replaced."""
    result = dict(base)
    for name, value in over.items():
        old = result.get(name)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        # A figure (it names a source) is replaced whole: a price never keeps another's source.
        result[name] = (
            _merged(old, value)  # type: ignore[arg-type]  # both are tables
            if both and "source" not in old  # type: ignore[operator]  # the same
            else value
        )
    return result


def lookup(provider: str, model: str, catalogue: Catalogue | None = None) -> Entry | None:
    """What the catalogue says of a model, or None where it does not know the provider.

    `model` may be an id, an alias, `owner/name`, or the id of a fine-tune (`ft:<base>:…`,
    `<base>.ft-…`); case does not matter.
    """
    facts = (catalogue or shipped()).providers.get(provider)
    if facts is None:
        return None
    for name in _names(model):
        for model_id, one in facts.models.items():
            known = {model_id, *one.aliases}
            if name in {_folded(word) for word in known} or any(
                name.startswith(_folded(prefix)) for prefix in one.prefixes
            ):
                return Entry(provider, facts, model_id, one)
    return Entry(provider, facts)


def _folded(name: str) -> str:
    return name.strip().lower()


def _names(model: str) -> list[str]:
    """The names under which a model may stand, the exact one first."""
    name = _folded(model)
    names = [name]
    if name.startswith("ft:"):
        names.append(name.split(":")[1])
    if ".ft-" in name:
        names.append(name.partition(".ft-")[0])
    if "/" in name:
        names.append(name.rpartition("/")[2])
        names.append(name.partition(":")[0])
    return list(dict.fromkeys(names))
