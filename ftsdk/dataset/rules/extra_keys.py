"""Keys beside those of a row's format that mean nothing (`id`, `source`, `meta`), without a full reading.

Whether a key means nothing is decided by its name alone: no format, no reading of columns and no rule may
look at it, but for the notice of an unknown key (FT120) and a provider that refuses such keys (FT206). Any
other key sends its row the long way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
import orjson

from ftsdk.dataset.findings.finding import Fault, Findings, short
from ftsdk.dataset.findings.registry import fault_of, shown
from ftsdk.dataset.formats.columns import ANSWERED, ASKED, may_be_json, may_be_read
from ftsdk.dataset.formats.registry import PREFERENCE_KEYS, Format
from ftsdk.dataset.formats.typed_rows import NOT_DECODED
from ftsdk.dataset.provider_limits import Limits
from ftsdk.dataset.readers import strict_json
from ftsdk.dataset.row import Row
from ftsdk.dataset.rules import provider
from ftsdk.dataset.rules.content import KEYS_WITH_RULES, unknown_key

_SIMPLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")
"""Other keys have parts of a path in them, or are cut in messages."""

_MEANT = KEYS_WITH_RULES.union(PREFERENCE_KEYS, ("chosen_messages", "system_instruction"))
_BESIDE_TURNS = frozenset((*ASKED, *ANSWERED)).difference(
    ("instruction", "input", "completion", "output")
)
"""Columns of questions and answers, which are not read where the row has messages."""

_MOST_KNOWN = 1000
_MOST_CHARS = 1000
"""A row whose keys have more characters is read in full."""


@lru_cache(maxsize=_MOST_KNOWN)
def means_nothing(key: str, beside_turns: bool = False) -> bool:
    """Whether rows mean the same without this key, whatever its value is."""
    if _SIMPLE.fullmatch(key) is None or key in _MEANT:
        return False
    return not may_be_read(key) or (beside_turns and key in _BESIDE_TURNS)


class _Others(NamedTuple):
    """Keys of rows that are not their own and mean nothing; `asked` are those that mean something as JSON."""

    keys: tuple[str, ...]
    asked: tuple[str, ...]


@lru_cache(maxsize=_MOST_KNOWN)
def _others(keys: tuple[str, ...], own: frozenset[str]) -> _Others | None:
    """The keys that are not the row's own; None where there are none, or one may mean something."""
    beside_turns = "messages" in own or "conversations" in own
    others = tuple(key for key in keys if key not in own)
    if not others or not all(means_nothing(key, beside_turns) for key in others):
        return None
    return _Others(others, tuple(filter(_BESIDE_TURNS.__contains__, others)))


_VALUES = msgspec.json.Decoder(dict[str, msgspec.Raw])


def extra_keys(raw: bytes, own: frozenset[str], quotes: int) -> Row | None:
    r"""The keys of a record beside its `own`, with their values, where all of them mean nothing.

    `quotes` is the number of quotes in the record that are not of its own keys and values. None where there
    are no other keys, where one may mean something, where a key is there twice, or where the record is no
    strict JSON. The own keys and values must be known to be sound, and the record to have no `\u0022`.
    """
    try:
        values = _VALUES.decode(raw)
        is_small = len("".join(values)) <= _MOST_CHARS
        others = _others(tuple(values), own) if is_small else None
        if others is None:
            return None
        extra = {key: orjson.loads(bytes(values[key])) for key in others.keys}
    except (*NOT_DECODED, orjson.JSONDecodeError):
        return None
    for key in others.asked:
        if type(extra[key]) is str and may_be_json(key, extra[key]):
            return None
    return extra if _is_strict(raw, extra, quotes) else None


_LARGE = re.compile(rb"[0-9](?:[0-9]{18}|e)")
"""A number that may be too large, as `orjson` writes it."""


def _is_strict(raw: bytes, extra: Row, quotes: int) -> bool:
    """Whether values are strict JSON; a key that is there twice was dropped, and its quotes with it."""
    try:
        written = orjson.dumps(extra)
    except orjson.JSONEncodeError:  # nested deeper than it writes
        return False
    if written.count(b'"') != quotes:
        return False
    is_small = (
        len(written) <= strict_json.MAX_KEY_CHARS
        and written.count(b"{") + written.count(b"[") <= strict_json.MAX_DEPTH
        and _LARGE.search(written) is None
    )
    return is_small or not isinstance(strict_json.finish(raw, extra), strict_json.Flaw)


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


class _Same(NamedTuple):
    """What is found in rows with the same extra keys: the same but for the place and the values."""

    findings: dict[str, list[tuple[str, Fault]]]
    """By code; each with its key."""
    refuses: bool
    """Whether one of them is a fault."""


class ExtraKeyFindings:
    """Adds what the rule of unknown keys (FT120) and a provider's `limits` find about extra keys."""

    def __init__(self, found: Findings, limits: Limits | None) -> None:
        self._found, self._limits = found, limits
        self._known: dict[tuple[str, bool, tuple[str, ...]], _Same] = {}

    def add(self, line: int, extra: Extra, fmt: Format, raw: bytes, *, at_provider: bool) -> bool:
        """Add the findings about the extra keys of a row; whether one of them is a fault.

        Those of the provider are left out where it looks at the whole row, not `at_provider`.
        """
        names = (fmt.name, at_provider, tuple(extra.keys))
        same = self._known.get(names)
        if same is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            same = self._known[names] = self._of_keys(extra.keys, fmt, raw, at_provider=at_provider)
        for code, findings in same.findings.items():
            if not self._found.keeps(code):
                self._found.count(code, line, len(findings))
                continue
            for key, one in findings:
                value = _shown(extra.keys[key], may_hold=extra.may_hold) if code == "FT120" else ""
                self._found.add(Fault(
                    code, one.severity, line, one.message, one.hint, one.field, extra.offset, value
                ))  # fmt: skip
        return same.refuses

    def _of_keys(self, keys: Row, fmt: Format, raw: bytes, *, at_provider: bool) -> _Same:
        found: dict[str, list[tuple[str, Fault]]] = {}
        places = {key: fmt.field(key, raw) for key in keys}
        if fmt.shape == "chat":
            found["FT120"] = [
                (key, fault_of("FT120", 0, unknown_key(key, None)._replace(field=place)))
                for key, place in places.items()
            ]
        if at_provider and self._limits is not None:
            for code, fact, hit in provider.row_hits(dict.fromkeys(keys), self._limits):
                one = fault_of(code, 0, hit._replace(field=places[hit.field]))
                found.setdefault(code, []).append((hit.field, provider.at_provider(one, fact)))
        faults = [one for findings in found.values() for _, one in findings]
        return _Same(found, any(one.severity == "fault" for one in faults))


_LONG = 4096
_SMALL = 1_000_000
"""A number with as few digits as this looks like nothing."""


def _shown(value: Any, *, may_hold: bool) -> str:
    """A value as a finding shows it; one in which nothing looks like a secret is not searched."""
    kind = type(value)
    if value is None:
        return ""
    if may_hold:
        return shown(value)
    if kind is str:
        return short(value) if len(value) <= _LONG else shown(value)
    text = repr(value)
    if kind is int:
        return short(text) if -_SMALL < value < _SMALL else shown(value)
    # A number such as 4.2e15 has more digits here than in the record.
    is_as_written = len(text) <= _LONG and "." not in text and "\\" not in text
    return short(text) if is_as_written else shown(value)
