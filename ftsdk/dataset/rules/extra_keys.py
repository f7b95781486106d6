"""Keys beside those of a row's format that mean nothing (`id`, `source`, `meta`), without a full reading.

Whether a key means nothing is decided by its name alone: no format, no reading of columns and no rule may
look at it, but for the notice of an unknown key (FT120). Any other key sends its row the long way.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from ftsdk.dataset.findings.finding import Fault, Findings, short
from ftsdk.dataset.findings.registry import fault_of, shown
from ftsdk.dataset.formats.columns import ANSWERED, ASKED, may_be_json, may_be_read
from ftsdk.dataset.formats.registry import PREFERENCE_KEYS, Format
from ftsdk.dataset.readers import strict_json
from ftsdk.dataset.row import Row
from ftsdk.dataset.rules.content import KEYS_WITH_RULES, unknown_key

_SIMPLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")
"""Other keys have parts of a path in them, or are cut in messages."""

_MEANT = KEYS_WITH_RULES.union(PREFERENCE_KEYS, ("chosen_messages", "system_instruction"))
_BESIDE_TURNS = frozenset((*ASKED, *ANSWERED)).difference(
    ("instruction", "input", "completion", "output")
)
"""Columns of questions and answers, which are not read where the row has messages."""

_MOST_KEYS = 1000


@lru_cache(maxsize=_MOST_KEYS)
def means_nothing(key: str, beside_turns: bool = False) -> bool:
    """Whether rows mean the same without this key, whatever its value is."""
    if _SIMPLE.fullmatch(key) is None or key in _MEANT:
        return False
    return not may_be_read(key) or (beside_turns and key in _BESIDE_TURNS)


def extra_keys(raw: bytes, own: Collection[str], quotes: int) -> Row | None:
    r"""The keys of a record beside its `own`, with their values, where all of them mean nothing.

    `quotes` is the number of quotes in the record that are not of its own keys and values. None where there
    are no other keys, where one may mean something, where a key is there twice, or where the record is no
    strict JSON. The own keys and values must be known to be sound, and the record to have no `\u0022`.
    """
    try:
        row = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    beside_turns = "messages" in own or "conversations" in own
    extra = {key: value for key, value in row.items() if key not in own}
    for key, value in extra.items():
        if not means_nothing(key, beside_turns):
            return None
        if type(value) is str and key in _BESIDE_TURNS and may_be_json(key, value):
            return None
    return extra if extra and _is_strict(raw, extra, quotes) else None


def _is_strict(raw: bytes, extra: Row, quotes: int) -> bool:
    """Whether values are strict JSON; a key that is there twice was dropped, and its quotes with it."""
    inner = {k: v for k, v in extra.items() if type(v) in (dict, list, float)}
    if inner and isinstance(strict_json.finish(raw, inner), strict_json.Flaw):
        return False
    return orjson.dumps(extra).count(b'"') == quotes


def strings_in(value: Any) -> Iterator[str]:
    """Every string in a JSON value, keys included."""
    stack: list[Any] = [value]
    while stack:
        one = stack.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            yield from one
            stack.extend(one.values())
        elif isinstance(one, list):
            stack.extend(one)


class Extra(NamedTuple):
    """The extra keys of a record at an offset; whether something in the record may look like a secret."""

    keys: Row
    offset: int | None
    may_hold: bool


class ExtraKeyNotices:
    """Adds the notices of extra keys to the findings, as the rule of unknown keys has them (FT120)."""

    def __init__(self, found: Findings) -> None:
        self._found = found
        self._templates: dict[tuple[str, str], Fault] = {}

    def add(self, line: int, extra: Extra, fmt: Format, raw: bytes) -> None:
        """Add one notice for each extra key of a chat row."""
        if not self._found.keeps("FT120"):
            self._found.count("FT120", line, len(extra.keys))
            return
        for key, value in extra.keys.items():
            same = self._template(key, fmt, raw)
            self._found.add(Fault(
                same.code, same.severity, line, same.message, same.hint, same.field, extra.offset,
                _shown(value, may_hold=extra.may_hold),
            ))  # fmt: skip

    def _template(self, key: str, fmt: Format, raw: bytes) -> Fault:
        """The notice about a key, which is the same for all rows but for its place and its value."""
        known = self._templates.get((fmt.name, key))
        if known is None:
            if len(self._templates) >= _MOST_KEYS:
                self._templates.clear()
            hit = unknown_key(key, None)._replace(field=fmt.field(key, raw))
            known = self._templates[fmt.name, key] = fault_of("FT120", 0, hit)
        return known


_LONG = 4096
_SMALL = 1_000_000
"""A number with as few digits as this looks like nothing."""


def _shown(value: Any, *, may_hold: bool) -> str:
    """A value as a finding shows it; one in which nothing looks like a secret is not searched."""
    if value is None:
        return ""
    kind = type(value)
    is_searched = may_hold or not (
        kind is bool
        or (kind is int and -_SMALL < value < _SMALL)
        or (kind is str and len(value) <= _LONG)
    )
    return shown(value) if is_searched else short(value)
