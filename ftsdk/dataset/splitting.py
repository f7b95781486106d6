"""Which rows are held out: by a hash of the prompt or group, and in equal shares of each value."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

import orjson

from ftsdk.dataset.row import Read, Row, canonical_bytes, prompt_of
from ftsdk.dataset.rules.duplicates import folded_texts
from ftsdk.errors import UsageError

Key = str | Callable[[Row], object]
Place = Callable[[Read], float]
Belongs = Callable[[Read], bool]


def side_of(keep: Belongs | None, is_held_out: Belongs, *, inside: bool) -> Belongs:
    """Whether a row is kept and on one side."""

    def belongs(read: Read) -> bool:
        return (keep is None or keep(read)) and is_held_out(read) is inside

    return belongs


def below(place: Place, border: float) -> Belongs:
    """Whether the place of a row is below the border."""
    return lambda read: place(read) < border


def placer(seed: int, group_by: Key | None) -> Place:
    """A function from row to a number in [0, 1), the same on every machine."""
    salt = hashlib.blake2b(f"ftsdk split {seed}".encode(), digest_size=16).digest()

    def place(read: Read) -> float:
        if group_by is prompt_of:
            content = _prompt(read.row)
        else:
            content = (
                canonical_bytes(read.row) if group_by is None else _value(read, group_by, "group")
            )
        digest = hashlib.blake2b(content, key=salt, digest_size=8).digest()
        return int.from_bytes(digest, "big") / 2**64

    return place


def stratified(reads: Iterable[Read], place: Place, fraction: float, by: Key) -> Belongs:
    """Whether a row is held out when each value at `by` has its fraction of prompts held out.

    Rows with one place stay together: a place belongs to the smallest of its values.
    """
    values: dict[float, bytes] = {}
    for read in reads:
        where, value = place(read), _value(read, by, "stratum")
        values[where] = min(values.get(where, value), value)
    strata: dict[bytes, list[float]] = {}
    for where, value in values.items():
        strata.setdefault(value, []).append(where)
    held = {where for places in strata.values() for where in _lowest(places, fraction)}
    if len(values) > 1 and not held:  # every value has one prompt, and chance took none
        held = {min(values)}
    if len(values) > 1 and len(held) == len(values):
        held.discard(max(values))
    return lambda read: place(read) in held


def _lowest(places: list[float], fraction: float) -> list[float]:
    """The fraction of the places that is held out: one at least of two, and never all of them."""
    if len(places) < 2:
        return [where for where in places if where < fraction]
    count = min(max(1, round(fraction * len(places))), len(places) - 1)
    return sorted(places)[:count]


def _prompt(row: Row) -> bytes:
    """The folded prompt of a row, or all of a row that has none."""
    prompt = prompt_of(row)
    if prompt is None:
        return canonical_bytes(row)
    if "input_ids" in prompt:
        return canonical_bytes(prompt)
    return orjson.dumps(folded_texts(prompt))


def _value(read: Read, key: Key, kind: str) -> bytes:
    """The value at a key of the source's own row, else of the canonical row."""
    if callable(key):
        value = key(read.row)
    else:
        value = _value_at(orjson.loads(read.raw), key)
        value = _value_at(read.row, key) if value is None else value
    if value is None:
        raise UsageError(
            f"a row has no value for the {kind} {key!r}",
            where=f"split, line {read.line}",
            hint="give every row that key, or name another",
        )
    return repr(value).encode("utf-8", "backslashreplace")


def _value_at(row: Row, path: str) -> Any:
    """The value at a dotted path of keys and places in lists, None when there is none."""
    value: Any = row
    for step in path.split("."):
        if isinstance(value, list) and step.lstrip("-").isdigit():
            at = int(step)
            value = value[at] if -len(value) <= at < len(value) else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value


def border_of(fraction: float, places: Iterable[float]) -> float | None:
    """The hash below which rows are validation: the fraction, moved only if a side were empty.

    None when several rows all have one hash.
    """
    low, high, rows = 1.0, 0.0, 0
    for where in places:
        low, high, rows = min(low, where), max(high, where), rows + 1
    if rows < 2:
        return fraction
    if low == high:
        return None
    if low >= fraction:
        return low + 2**-53
    return min(fraction, high)
