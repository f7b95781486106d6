r"""A first look at the bytes of many rows: the few that `byte_signs` and the search for secrets must see.

All signs are one regular expression, and RE2 walks over the bytes once, however many there are. Without
the package (`google-re2`, of the extra `data`) every row is looked at, which finds the same and takes
longer.

A key of a service is seen by the fixed part that its pattern needs, with nine characters behind it.
Nothing here looks ahead or behind: a row may be named too often, never too seldom.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from ftsdk.dataset.findings.national_ids import (
    FORMS_OF_DIGITS,
    FORMS_OF_FEW_DIGITS,
    WORDS,
    WORDS_OF_FEW_DIGITS,
)
from ftsdk.dataset.findings.secret_patterns import KEY_STARTS
from ftsdk.dataset.rules.byte_signs import TEXT_SIGNS

_TOKEN = rb"(?:[A-Za-z0-9_\-./+=~]|\\/)"
_SPACE = rb"(?:[ ]|\\[nrtf])"
_BETWEEN = rb"[ \-.()/\\]*"


def _word(word: str) -> bytes:
    """A word, or an expression for words, as JSON writes it: in UTF-8, or with escapes."""
    return b"".join(c.encode() if c.isascii() else _letter(c) for c in word)


def _letter(c: str) -> bytes:
    forms = (rb"%b|\\u(?i:%04x)" % (one.encode(), ord(one)) for one in {c.lower(), c.upper()})
    return b"(?:%b)" % b"|".join(forms)


def _any_word(words: Iterable[str]) -> bytes:
    """Any of the words, behind no letter and before none."""
    before = rb"(?:[^A-Za-z0-9_\\]|\\[\\nrtbf]|\\u[0-9a-fA-F]{4})"
    return before + rb"(?i:" + b"|".join(map(_word, words)) + rb")[^A-Za-z0-9_]"


_PHONES = (
    rb"[2-9][0-9]{2}[ .\-][0-9]{3}[ .\-][0-9]{4}",
    rb"[0-9]\)[ .\-]?[0-9]{2,5}[ .\-]?[0-9]{2,4}",
    rb"1[3-9][0-9][ \-][0-9]{4}[ \-][0-9]{4}",
    rb"\+[1-9]" + _BETWEEN + rb"(?:[0-9]" + _BETWEEN + rb"){7}",
    rb"(?:[^0-9.)+\-]|\\u[0-9a-fA-F]{4})0" + _BETWEEN + rb"(?:[0-9]" + _BETWEEN + rb"){7}",
    rb"(?i:phone|tel|mobile|cell|call|text|fax|whatsapp|sms)(?:[^0-9+\n]|\\u[0-9a-fA-F]{4})*\+?\(?(?:[0-9]" + _BETWEEN + rb"){8}",
)  # fmt: skip
_SECRETS = (
    b"@",
    b"-----BEGIN",
    rb"(?i:aws)[^\n]*(?i:secret)",
    rb"(?i:key|token|secret|passwor[dt]|passwd)(?:\\?[\"'])?"
    + _SPACE + rb"{0,3}[:=]" + _SPACE + rb"{0,3}(?:\\?[\"'])?" + _TOKEN + b"{16}",
    rb"(?:[0-9][ .\-]?){13}[0-9]",  # cards
    *(form.encode() for form in FORMS_OF_DIGITS),
    _any_word(WORDS) + rb"[^\n]*(?:[0-9][ .\-]?){8}[0-9]",
    _any_word(WORDS_OF_FEW_DIGITS) + rb"[^\n]*(?:[0-9][ .\-]?){6}[0-9]",
    *_PHONES,
    rb"[A-Z]{2}[0-9]{2}(?:[ \-]?[A-Z0-9]){11}",
    *FORMS_OF_FEW_DIGITS,
)  # fmt: skip
"""Beside the keys of services: addresses, private keys, assignments, numbers, accounts."""


def rows_to_look_at(data: bytes) -> list[int] | None:
    """The rows, separated by line feeds and counted from 0, with any sign; None when it is not known."""
    pattern = _compiled()
    return None if pattern is None else list(_rows(data, pattern))


def _rows(data: bytes, pattern: Any) -> Iterator[int]:
    row = last = 0
    while (match := pattern.search(data, last)) is not None:
        place = match.end() - 1
        row += data.count(b"\n", last, place)
        yield row
        last = data.find(b"\n", place)
        if last < 0:
            return


@cache
def _compiled() -> Any:
    """All signs as one expression of RE2; None without the package."""
    try:
        import re2
    except ImportError:
        return None
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1  # bytes as they are
    options.max_mem = 32 << 20
    keys = (start.encode() + _TOKEN + b"{9}" for start in KEY_STARTS)
    return re2.compile(
        b"|".join(b"(?:%b)" % sign for sign in (*TEXT_SIGNS, *_SECRETS, *keys)), options
    )
