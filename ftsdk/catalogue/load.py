"""Load the dated catalogue that ships with ftsdk, overlaid with the user's own figures.

`prices.toml` in `FTSDK_HOME` (or a given file) has the same layout and takes precedence entry by
entry. A model is found by its id, an alias, the last part of `owner/name`, or a fine-tune's id.
"""

from __future__ import annotations

import functools
import logging
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ftsdk.catalogue.provider_dates import REPORTED_FILE, overlay_dates, read_reported_dates
from ftsdk.catalogue.schema import YOURS, Catalogue, Model, Provider
from ftsdk.errors import ConfigError

OVERRIDES = "prices.toml"
_LIMIT_BYTES = 5_000_000
_LAST_READ: dict[Path, Catalogue] = {}
"""The catalogue of each home that this process read last."""
_WARNED: set[tuple[Path, str]] = set()
_log = logging.getLogger("ftsdk")


@dataclass(frozen=True)
class Entry:
    """A provider's model and its catalogue id. `model` is None when the catalogue does not have it."""

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
    """Return the catalogue of this release."""
    return Catalogue.model_validate(_shipped_data())


def load_catalogue(home: Path | None = None, *, file: Path | None = None) -> Catalogue:
    """Return the shipped catalogue, overlaid with reported end dates, then with the user's figures.

    The user's file is `file`, else `prices.toml` in `home` if it exists. Raises `ConfigError` for
    a file that is not TOML or does not fit the schema, with all faults at once.
    """
    path = file if file is not None else (home / OVERRIDES if home is not None else None)
    own = _bytes(path, required=file is not None)
    reported_path = None if home is None else home / REPORTED_FILE
    reported = _bytes(reported_path)
    if own is None and reported is None:
        found = shipped()
    else:
        found = _overlaid(path, own, reported_path, reported)
    if home is not None:
        _LAST_READ[home] = found
    return found


def load_last_catalogue(home: Path) -> Catalogue:
    """As `load_catalogue`; while a file is broken, the catalogue that this process last read there.

    For reading a job that exists: its status does not depend on prices. Raises `ConfigError` when
    the catalogue was never read.
    """
    try:
        return load_catalogue(home)
    except ConfigError as error:
        last = _LAST_READ.get(home)
        if last is None:
            raise
        if (home, error.what) not in _WARNED:
            _WARNED.add((home, error.what))
            _log.warning("%s; the prices read before are used for jobs that exist", error.what)
        return last


def _bytes(path: Path | None, *, required: bool = False) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes() if required or path.is_file() else None
    except OSError as error:
        raise _refused(path, f"it cannot be read: {error.strerror}") from error


@functools.lru_cache(maxsize=8)
def _overlaid(
    path: Path | None, data: bytes | None, reported_path: Path | None, reported: bytes | None
) -> Catalogue:
    """Return the catalogue with both files applied; cached by content, since it is used often."""
    base = _shipped_data()
    if reported_path is not None and reported is not None:
        base = _merged(base, overlay_dates(base, read_reported_dates(reported_path, reported)))
    if path is None or data is None:
        return Catalogue.model_validate(base)
    own = _read(path, data)
    if "as_of" not in own:
        raise _refused(path, "as_of is missing: the day on which you read the prices")
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
        hint="correct it, or move it away to use the shipped catalogue",
    )


def _merged(base: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """Merge tables key by key; replace all other values."""
    result = dict(base)
    for name, value in overlay.items():
        old = result.get(name)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        # A table with a source is one figure: replaced whole, so that price and source stay together.
        result[name] = (
            _merged(old, value)  # type: ignore[arg-type]  # both are tables
            if both and "source" not in old  # type: ignore[operator]  # the same
            else value
        )
    return result


def lookup(provider: str, model: str, catalogue: Catalogue | None = None) -> Entry | None:
    """Return the catalogue entry of a model, or None for an unknown provider.

    `model` may be an id, an alias, `owner/name`, or the id of a fine-tune (`ft:<base>:…`,
    `<base>.ft-…`); case does not matter.
    """
    facts = (catalogue or shipped()).providers.get(provider)
    if facts is None:
        return None
    for name in _names(model):
        for model_id, candidate in facts.models.items():
            known = {model_id, *candidate.aliases}
            if name in {_folded(alias) for alias in known} or any(
                name.startswith(_folded(prefix)) for prefix in candidate.prefixes
            ):
                return Entry(provider, facts, model_id, candidate)
    return Entry(provider, facts)


def has_name(provider: str, model: str, catalogue: Catalogue) -> bool:
    """Return whether the catalogue has a model by this very name or alias; a prefix is not enough."""
    found = lookup(provider, model, catalogue)
    if found is None or found.model is None or found.model_id is None:
        return False
    known = {_folded(name) for name in (found.model_id, *found.model.aliases)}
    return not known.isdisjoint(_names(model))


def canonical_name(
    provider: str, model: str, catalogue: Catalogue, *, through_aliases: bool = True
) -> str:
    """Return one name for every spelling of a model: the catalogue's id, or the folded name.

    `Qwen/Qwen3-8B`, `qwen3-8b` and `Qwen3-8B` are one model. The id of a fine-tune stays. An alias may
    be another set of weights at the same price; without `through_aliases` it is another model.
    """
    found = lookup(provider, model, catalogue)
    if found is None or found.model is None or found.model_id is None:
        return _folded(model)
    aliases = found.model.aliases if through_aliases else ()
    known = {_folded(name) for name in (found.model_id, *aliases)}
    spellings = {_folded(model), _folded(model).rpartition("/")[2]}
    return _folded(model) if known.isdisjoint(spellings) else found.model_id


def _folded(name: str) -> str:
    return name.strip().lower()


def _names(model: str) -> list[str]:
    """Return the names under which the catalogue may list a model, the exact one first."""
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
