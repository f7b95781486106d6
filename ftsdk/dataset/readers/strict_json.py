"""Strict JSON: bytes of one record to a value, or the exact flaw and where it is.

The fast path is orjson, which already refuses invalid UTF-8, lone surrogates, NaN, infinities and
control characters. What it lets pass (a duplicate key, deep nesting, an integer that would become
a float) is caught by one cheap count and one walk. Only a record that failed pays for `scan`, a
slow and exact reader that finds *why* and *where*.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import orjson

MAX_DEPTH = 64
"""Containers inside containers; real rows need about ten."""

MAX_KEY_CHARS = 1024
"""Characters in one key of an object."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """The reason why a record is not strict JSON; `offset` is the byte inside the record."""

    code: str
    message: str
    hint: str
    offset: int = 0


def parse(raw: bytes) -> Any | Flaw:
    """The value of one JSON text, or a `Flaw`; never an exception, whatever the bytes are."""
    value = quick(raw)
    return value if isinstance(value, Flaw) else finish(raw, value)


def quick(raw: bytes) -> Any | Flaw:
    """As `parse`, without the checks that only an unusual value needs (see `finish`)."""
    try:
        value = orjson.loads(raw)
        dumped = orjson.dumps(value)
    except orjson.JSONDecodeError as error:
        return scan(raw) or Flaw("FT010", f"not JSON: {error.msg}", "write one JSON object here")
    except orjson.JSONEncodeError:  # the writer's own depth limit, far above ours
        return scan(raw) or _deep(0)
    # Every string token has two quotes on both sides, so a dropped duplicate key shows as fewer.
    # An escaped quote (\u0022) would blur the count: then look exactly.
    if raw.count(b'"') != dumped.count(b'"') or b"\\u0022" in raw:
        return scan(raw) or value
    return value


def finish(raw: bytes, value: Any) -> Any | Flaw:
    """Check depth, key lengths and integers beyond 64 bits of a value that `quick` gave."""
    level: list[Any] = [value]
    depth = 0
    while level:
        below: list[Any] = []
        for item in level:
            kind = type(item)
            if kind is dict:
                for key in item:
                    if len(key) > MAX_KEY_CHARS:
                        return scan(raw) or value
                below.extend(item.values())
            elif kind is list:
                below.extend(item)
            elif kind is float and (item >= 2.0**63 or item <= -(2.0**63)):
                return scan(raw) or value
        depth += bool(below) or any(type(item) in (dict, list) for item in level)
        if depth > MAX_DEPTH:
            return scan(raw) or _deep(0)
        level = below
    return value


# --- the slow, exact reader ------------------------------------------------------------------

_SPACE = re.compile(r"[ \t\r\n]*")
_STRING = re.compile(r'"((?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*)"')
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_WORD = re.compile(r"true|false|null")
_NOT_A_NUMBER = re.compile(r"-?(?:NaN|Infinity|nan|inf|Inf|-inf)")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)

_SYNTAX_HINT = "write one JSON object on this line; a JSON library does it right"


def scan(raw: bytes) -> Flaw | None:
    """The first flaw of one JSON text, with its exact byte offset; None when it is sound."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return _bad_utf8(raw, error.start)
    found = _Scanner(text).run()
    if found is None:
        return None
    code, message, hint, position = found
    return Flaw(code, message, hint, len(text[:position].encode("utf-8")))


_Found = tuple[str, str, str, int]


class _Scanner:
    """Reads JSON with an explicit stack, so that depth costs memory and never recursion."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.stack: list[set[str] | None] = []  # the keys of each open object; None for an array

    def run(self) -> _Found | None:
        self._space()
        if self.text.startswith("\ufeff"):
            return (
                "FT020",
                "an unexpected byte order mark (BOM)",
                "remove the three bytes",
                0,
            )
        found = self._value()
        while found is None and self.stack:
            found = self._after_value()
        if found is not None:
            return found
        self._space()
        if self.at < len(self.text):
            rest = self.text[self.at]
            what = "two JSON values on one line" if rest in '{["' else f"{rest!r} after the value"
            hint = "put each row on its own line"
            if rest == "," and not self.text[self.at + 1 :].strip():
                what, hint = "a comma after the row", "end each line with its row, without a comma"
            return ("FT017", what, hint, self.at)
        return None

    def _space(self) -> None:
        match = _SPACE.match(self.text, self.at)
        if match:
            self.at = match.end()

    def _syntax(self, wanted: str) -> _Found:
        if self.at >= len(self.text):
            return (
                "FT018",
                f"the row ends in the middle ({wanted} expected)",
                "write the row in full; the file may have been cut off",
                self.at,
            )
        seen = self.text[self.at]
        if seen == "\x00":
            return ("FT016", "a NUL byte", "remove it; JSON text has none", self.at)
        message, hint = f"not JSON: {wanted} expected, found {seen!r}", _SYNTAX_HINT
        if seen == "'":
            message += ": this is Python's own notation"
            hint = "write it with json.dumps(…), not with str(…)"
        elif seen in "“”„‟":
            message += ": a curly quote"
            hint = "replace the curly quotes by straight ones"
        return ("FT010", message, hint, self.at)

    def _value(self) -> _Found | None:
        """Read a scalar, or open a container (and read its first member's start)."""
        self._space()
        first = self.text[self.at : self.at + 1]
        if first in {"{", "["}:
            return self._open(first)
        if first == '"':
            return self._string()[0]
        match = _NUMBER.match(self.text, self.at)
        if match and match.end() > self.at:
            return self._number(match)
        match = _WORD.match(self.text, self.at)
        if match:
            self.at = match.end()
            return None
        if _NOT_A_NUMBER.match(self.text, self.at):
            return (
                "FT013",
                "NaN and Infinity are not JSON",
                "write null, or leave the field out",
                self.at,
            )
        return self._syntax("a value")

    def _open(self, first: str) -> _Found | None:
        if len(self.stack) >= MAX_DEPTH:
            return (
                "FT015",
                f"nested deeper than {MAX_DEPTH} levels",
                "flatten the row",
                self.at,
            )
        self.at += 1
        self._space()
        if first == "[":
            if self.text.startswith("]", self.at):
                self.at += 1
                return None
            self.stack.append(None)
            return self._value()
        if self.text.startswith("}", self.at):
            self.at += 1
            return None
        self.stack.append(set())
        return self._member()

    def _member(self) -> _Found | None:
        self._space()
        start = self.at
        if not self.text.startswith('"', start):
            return self._syntax("a key in double quotes")
        found, key = self._string()
        if found is not None:
            return found
        keys = self.stack[-1]
        assert_keys = keys if keys is not None else set()
        if key in assert_keys:
            return (
                "FT014",
                f"the key {key[:40]!r} appears twice in one object",
                "keep one of them; readers disagree on which one counts",
                start,
            )
        if len(key) > MAX_KEY_CHARS:
            return (
                "FT022",
                f"a key of {len(key):,} characters",
                f"keys have at most {MAX_KEY_CHARS:,} characters",
                start,
            )
        assert_keys.add(key)
        self._space()
        if not self.text.startswith(":", self.at):
            return self._syntax("':'")
        self.at += 1
        return self._value()

    def _after_value(self) -> _Found | None:
        """After a member: a comma and the next one, or the end of the container."""
        self._space()
        is_object = self.stack[-1] is not None
        seen = self.text[self.at : self.at + 1]
        if seen == ("}" if is_object else "]"):
            self.stack.pop()
            self.at += 1
            return None
        if seen != ",":
            return self._syntax("',' or '}'" if is_object else "',' or ']'")
        self.at += 1
        return self._member() if is_object else self._value()

    def _number(self, match: re.Match[str]) -> _Found | None:
        start, digits = self.at, match.group()
        self.at = match.end()
        if match.group(1) is None and match.group(2) is None:
            if len(digits) > 20 or not -(2**63) <= int(digits) < 2**64:
                return (
                    "FT013",
                    f"an integer beyond 64 bits ({len(digits.lstrip('-'))} digits)",
                    "write it as a string",
                    start,
                )
        elif float(digits) in (float("inf"), float("-inf")):
            return (
                "FT013",
                f"the number {digits[:20]} is too large",
                "write it as a string",
                start,
            )
        return None

    def _string(self) -> tuple[_Found | None, str]:
        start = self.at
        match = _STRING.match(self.text, start)
        if match is None:
            return self._bad_string(start), ""
        self.at = match.end()
        body = match.group(1)
        if "\\" not in body:
            return None, body
        lone = _lone_surrogate(body)
        if lone is not None:
            return (
                "FT012",
                "half of a surrogate pair (\\ud8xx) without its other half",
                "write the whole character, as UTF-8",
                start + 1 + lone,
            ), ""
        # Compare keys by meaning: "a" and "\\u0061" are one key.
        return None, str(orjson.loads(match.group().encode("utf-8")))

    def _bad_string(self, start: int) -> _Found:
        at = start + 1
        text = self.text
        while at < len(text):
            ch = text[at]
            if ch == "\\":
                if not _STRING.match(
                    f'"{text[at : at + (6 if text[at + 1 : at + 2] == "u" else 2)]}"'
                ):
                    if at + 1 >= len(text):
                        break
                    return (
                        "FT010",
                        f"not JSON: {text[at : at + 2]!r} is no escape",
                        _SYNTAX_HINT,
                        at,
                    )
                at += 2
                continue
            if ch < " ":
                name = "NUL byte" if ch == "\x00" else f"control character 0x{ord(ch):02x}"
                return (
                    "FT016",
                    f"a raw {name} inside a string",
                    "write it as an escape (\\n, \\t, \\u00xx), or remove it",
                    at,
                )
            at += 1
        return (
            "FT018",
            "a string without its closing quote",
            "write the row in full; the file may have been cut off",
            start,
        )


def _lone_surrogate(body: str) -> int | None:
    """The offset of a surrogate escape without its other half; only whole escapes count."""
    waiting: int | None = None  # the offset of a first half that needs its second
    end = -1
    for match in _ESCAPE.finditer(body):
        unit = match.group(1)
        half = unit[1:3].lower() if unit[0] == "u" else ""
        if half[:1] == "d" and half[1:] in "cdef" and len(half) == 2:
            if waiting is None or match.start() != end:
                return match.start() if waiting is None else waiting
            waiting = None
        elif waiting is not None:
            return waiting
        elif half[:1] == "d" and half[1:] in "89ab" and len(half) == 2:
            waiting = match.start()
        end = match.end()
    return waiting


def _bad_utf8(raw: bytes, start: int) -> Flaw:
    lead = raw[start : start + 2]
    if lead[:1] == b"\xed" and lead[1:] >= b"\xa0":
        what = "a surrogate written as bytes (CESU-8)"
    elif lead[:1] in (b"\xc0", b"\xc1"):
        what = f"an overlong sequence (bytes {lead.hex(' ')})"
    else:
        what = f"byte 0x{raw[start]:02x}"
    return Flaw("FT011", f"not UTF-8: {what}", "save the file as UTF-8", start)


def _deep(offset: int) -> Flaw:
    return Flaw("FT015", f"nested deeper than {MAX_DEPTH} levels", "flatten the row", offset)
