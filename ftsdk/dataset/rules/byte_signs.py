r"""Signs in the bytes of many rows at once: which rows may break a rule about texts, or hold a secret.

A row without a sign has nothing that those rules find; a row with one is looked at by itself. A search of
a megabyte costs a fraction of a search of each of its rows. Each pattern here starts with one certain
byte, which the search jumps to. Bytes are read as JSON writes them: an escape of an ASCII character
(`\u003c`) is a sign by itself, and so are escapes of the characters that a rule looks for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ftsdk.dataset.findings.national_ids import WORDS_OF_FEW_DIGITS

LOOKED_FOR = frozenset(("FT021", "FT310", "FT311", "FT316", "FT317", "FT318", "FT320"))
"""The codes of the rules that find nothing in a text without a sign."""

_ESCAPES = (
    rb"\\u(?:00(?:[0-7]"  # ASCII
    rb"|[cC]2(?:\\u00|\xc2)|[cC]3"  # FT317: Â, Ã
    rb"|[eE]2(?:\\u20[aA][cC]|\xe2\x82\xac)|[eE][fF](?:\\u00[bB][bB]|\xc2\xbb))"  # â€, ï»
    rb"|061[cC]|180[eE]|20(?:0[bBeEfF]|2[a-eA-E]|6[0-46-9])|[dD][bB]40|[fF][eE][fF]{2}"  # FT310
    rb"|200[cCdD](?:[!-\[\]-~]|\\[^u])"
    rb"|[fF]{3}[dD])"  # FT317: U+FFFD
)
_MISREAD = (  # FT317: Ã, Â, â€, ï»
    rb"\xc3(?:\x83|\x82(?:\xc2|\\u00)|\xa2(?:\xe2\x82\xac|\\u20[aA][cC])"
    rb"|\xaf(?:\xc2\xbb|\\u00[bB][bB]))"
)
_SIGNS = (
    # FT311: <|…|>, <｜…｜>, <s>, </s>, <<SYS>>, <start_of_turn>; tags of calls, which are read
    (b"<", rb"<(?:\||\xef\xbd\x9c|\\u|\\?/?s>|<\\?/?SYS|start_of_turn|end_of_turn|tool)"),
    (b"[", rb"\[(?:\\?/?INST\]|EOS\]|BOS\]|INSERT)"),  # FT311, FT316
    (b"{", rb"\{\{"),  # FT316
    (b"&", rb"&(?:#|amp;|lt;|gt;|quot;|apos;|nbsp;)"),  # FT318
    (b"\\", rb"\\n(?: |\\t)*(?:User|Human)"),  # FT320
    (b"\\", _ESCAPES),
)
_BEYOND_ASCII = (
    # FT310: direction marks and characters without width
    (b"\xe2", rb"\xe2(?:\x80(?:[\x8b\x8e\x8f\xaa-\xae]|[\x8c\x8d][!-~])|\x81[\xa0-\xa4\xa6-\xa9])"),
    (b"\xef", rb"\xef(?:\xbb\xbf|\xbf\xbd)"),
    (b"\xc3", _MISREAD),
    (b"\xd8", rb"\xd8\x9c"),
    (b"\xe1", rb"\xe1\xa0\x8e"),
    (b"\xf3", rb"\xf3\xa0[\x80\x81]"),
)
"""Each with a byte without which it is not there: to look for one byte costs next to nothing."""

TEXT_SIGNS = tuple(pattern for _, pattern in (*_SIGNS, *_BEYOND_ASCII))
_ASCII = tuple((byte, re.compile(pattern)) for byte, pattern in _SIGNS)
_ALL = (*_ASCII, *((byte, re.compile(pattern)) for byte, pattern in _BEYOND_ASCII))


def rows_with_signs(data: bytes) -> set[int]:
    """The rows, separated by line feeds and counted from 0, that may break a rule of `LOOKED_FOR`."""
    found: set[int] = set()
    for byte, pattern in _ASCII if data.isascii() else _ALL:
        if byte in data:
            found.update(_rows_at(data, [match.start() for match in pattern.finditer(data)]))
    return found


def _rows_at(data: bytes, places: Sequence[int]) -> Iterator[int]:
    """The row of each place; places ascend."""
    row = last = 0
    for place in places:
        row += data.count(b"\n", last, place)
        last = place
        yield row


# --- secrets ---------------------------------------------------------------------------------

_WORD = bytes(
    0x78
    if chr(b) in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_./+=~"
    else 0x20
    for b in range(256)
)
_NUMBER = bytes(
    0x30 if 0x30 <= b <= 0x39 else 0x41 if 0x41 <= b <= 0x5A else b if b == 0x0A else 0x20
    for b in range(256)
)
_SEPARATORS = b" -.()/"
_TOKEN = re.compile(r"[A-Za-z0-9\-_./+=~]{15}")
_RUN, _SHORT_RUN, _DIGITS, _FEW_DIGITS = b"x" * 20, b"x" * 15, b"0" * 9, b"0" * 8
_LEAST_DIGITS = b"0" * 7
_IBAN = re.compile(rb"AA00[A0]{11}")
_ASSIGNED = (b"key", b"token", b"secret", b"passw")
_CALLED = (b"phone", b"tel", b"mobile", b"cell", b"call", b"text", b"fax", b"whatsapp", b"sms")
_NAMES = tuple(word.encode() for word in WORDS_OF_FEW_DIGITS)
_ABROAD = re.compile(rb"\+[1-9]")
_AT_HOME = re.compile(rb"0(?<![0-9.)+-]0)0?[1-9]")


def may_hold(raw: bytes) -> bool:
    """Whether one record may hold a secret or personal data; False is certain."""
    raw = raw.replace(b"\n", b" ")
    return b"\\u00" in raw or any(rows_with_secrets(raw, [raw]))


class Suspects(NamedTuple):
    """The rows that may have keys, passwords or addresses, and those that may have numbers."""

    keys: set[int]
    numbers: set[int]


def rows_with_secrets(data: bytes, rows: Sequence[bytes], names: Sequence[bytes] = ()) -> Suspects:
    """The rows of `data` that may hold a secret or personal data; `names` are texts that are none.

    An escape of an ASCII character is no sign here: see `rows_with_signs`.
    """
    for name in names:
        data = data.replace(name, b"")
    if b"\\/" in data:
        data = data.replace(b"\\/", b"/")  # PHP escapes a slash, which would cut a run in two
    keys = set(_with_runs(data, rows))
    for sign in (b"@", b"-----BEGIN"):
        keys.update(_rows_at(data, list(_places(data, sign))))
    return Suspects(keys, set(_with_numbers(data, rows)))


def may_have_key(text: str) -> bool:
    """As `rows_with_secrets` for the keys of one text."""
    return "@" in text or "-----BEGIN" in text or _TOKEN.search(text) is not None


def _places(data: bytes, needle: bytes) -> Iterator[int]:
    at = data.find(needle)
    while at >= 0:
        yield at
        at = data.find(needle, at + len(needle))


def _with_runs(data: bytes, rows: Sequence[bytes]) -> Iterator[int]:
    """Rows with a long run of token characters, or a shorter one with the words of an assignment."""
    words = data.translate(_WORD)
    places = list(_places(words, _SHORT_RUN))
    for place, row in zip(places, _rows_at(data, places), strict=True):
        if words.startswith(_RUN, place) or b"xox" in rows[row] or _may_assign(rows[row]):
            yield row


def _with_numbers(data: bytes, rows: Sequence[bytes]) -> Iterator[int]:
    """Rows with nine digits in a row, separators aside, with fewer and a word, or with other numbers.

    Eight may be a phone number and seven an identity number; an account (IBAN) and two kinds of
    identity numbers have capitals.
    """
    numbers = data.translate(_NUMBER, _SEPARATORS)
    places = list(_places(numbers, _LEAST_DIGITS))
    for place, row in zip(places, _rows_at(numbers, places), strict=True):
        if (
            numbers.startswith(_DIGITS, place)
            or _may_name(rows[row])
            or (numbers.startswith(_FEW_DIGITS, place) and _may_call(rows[row]))
        ):
            yield row
    ibans = [place for place in _places(numbers, b"AA00") if _IBAN.match(numbers, place)]
    yield from _rows_at(numbers, ibans)
    for form in (b"AAAAAA00A00A", b"AAAA000000A"):
        yield from _rows_at(numbers, list(_places(numbers, form)))


def _may_name(raw: bytes) -> bool:
    """Whether a record has the word of an identity number with few digits."""
    small = raw.lower()
    return any(word in small for word in _NAMES)


def _may_call(raw: bytes) -> bool:
    """Whether a record has a sign that eight digits are a phone number."""
    small = raw.lower()
    return (
        any(word in small for word in _CALLED)
        or _ABROAD.search(raw) is not None
        or _AT_HOME.search(raw) is not None
    )


def _may_assign(raw: bytes) -> bool:
    small = raw.lower()
    return any(word in small for word in _ASSIGNED)
