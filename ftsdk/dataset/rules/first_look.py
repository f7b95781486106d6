r"""A first look at the bytes of many rows: the few that `byte_signs` and the search for secrets must see.

All signs are one regular expression, and RE2 walks over the bytes once, however many there are. Without
the package (`google-re2`, of the extra `data`) every row is looked at, which finds the same and takes
longer.

A key of a service is seen by the fixed part that its pattern needs, with ten characters behind it.
Nothing here looks ahead or behind: a row may be named too often, never too seldom.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from ftsdk.dataset.findings.national_ids import FORMS_OF_FEW_DIGITS, WORDS_OF_FEW_DIGITS
from ftsdk.dataset.findings.secret_patterns import FIXED_PARTS
from ftsdk.dataset.rules.byte_signs import TEXT_SIGNS

_TOKEN = rb"[A-Za-z0-9_\-./+=~\\]"
_SPACE = rb"(?:[ ]|\\[nrtf])"
_BETWEEN = rb"[ \-.()/\\]*"
_SECRETS = (
    b"@",
    b"-----BEGIN",
    rb"(?i:aws)[^\n]*(?i:secret)",
    rb"(?i:key|token|secret|passwor[dt]|passwd)(?:\\?[\"'])?"
    + _SPACE + rb"{0,3}[:=]" + _SPACE + rb"{0,3}(?:\\?[\"'])?" + _TOKEN + b"{16}",
    rb"(?:[0-9]" + _BETWEEN + rb"){9}",
    rb"(?i:phone|tel|mobile|cell|call|text|fax|whatsapp|sms)(?:[^0-9+\n]|\\u[0-9a-fA-F]{4})*\+?\(?(?:[0-9]" + _BETWEEN + rb"){8}",
    rb"\+[1-9]" + _BETWEEN + rb"(?:[0-9]" + _BETWEEN + rb"){7}",
    rb"[^0-9.)+\-]0" + _BETWEEN + rb"(?:[0-9]" + _BETWEEN + rb"){7}",
    rb"[A-Z]{2}[0-9]{2}(?:[ \-]?[A-Z0-9]){11}",
    rb"(?i:" + b"|".join(WORDS_OF_FEW_DIGITS) + rb")[^\n]*(?:[0-9]" + _BETWEEN + rb"){7}",
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
    keys = (re.escape(part).encode() + _TOKEN + b"{10}" for part in FIXED_PARTS)
    return re2.compile(
        b"|".join(b"(?:%b)" % sign for sign in (*TEXT_SIGNS, *_SECRETS, *keys)), options
    )
