"""Codes of secrets and personal data, and the search of a row for them.

The search has two steps. `may_hold` looks at a row's bytes in about a microsecond: for an `@`, a
long run of token characters (a private key has long base64 lines), or nine digits in a row,
separators aside. Only then is every string of the row searched. No finding is no proof of absence.
Findings are notices, and block an upload until they are acknowledged.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator
from typing import Any

from ftsdk.dataset.findings.registry import note
from ftsdk.dataset.findings.secret_patterns import SecretMatch, scan_text

note("FT401", "notice", "Looks like an API key or token", "remove it and revoke the key; or acknowledge with allow_findings=",
     "Keys of the common services, known by their prefix. A key that reached a training file should "
     "be revoked.")  # fmt: skip
note("FT402", "notice", "Looks like a payment card number", "remove or mask it; or acknowledge with allow_findings=",
     "The issuer's prefix, the length and the Luhn checksum match.")  # fmt: skip
note(
    "FT403",
    "notice",
    "A private key",
    "remove it and replace the key; or acknowledge with allow_findings=",
)
note("FT404", "notice", "Looks like a JSON web token", "remove it; or acknowledge with allow_findings=",
     "Three base64url parts whose first is a JSON header with `alg`.")  # fmt: skip
note("FT405", "notice", "Looks like a bank account number (IBAN)", "remove or mask it; or acknowledge with allow_findings=",
     "The country, the length and the mod-97 checksum match.")  # fmt: skip
note(
    "FT406",
    "notice",
    "An e-mail address",
    "remove or replace it; or acknowledge with allow_findings=",
)
note(
    "FT407",
    "notice",
    "Looks like a phone number",
    "remove or replace it; or acknowledge with allow_findings=",
)
note(
    "FT408",
    "notice",
    "A password in a URL or an assignment",
    "remove it and change the password; or acknowledge with allow_findings=",
)


_WORD = bytes(
    0x78
    if chr(b) in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_./+="
    else 0x20
    for b in range(256)
)
_DIGIT = bytes(0x30 if 0x30 <= b <= 0x39 else 0x20 for b in range(256))
_SEPARATORS = b" -.()/"
_RUN, _DIGITS = b"x" * 20, b"0" * 9


def may_hold(raw: bytes) -> bool:
    """Whether a record may have a match; False is certain."""
    return (
        b"@" in raw
        or _DIGITS in raw.translate(_DIGIT, _SEPARATORS)
        or _RUN in raw.translate(_WORD)
        or b"\\u00" in raw
    )


def scan_row(row: Any) -> Iterator[tuple[str, SecretMatch]]:
    """Every finding in every string of a row, with its field path; one of a kind per field.

    A match in a key has the path of the object with that key.
    """
    stack: list[tuple[str, Any]] = [("", row)]
    while stack:
        place, value = stack.pop()
        if isinstance(value, str):
            for finding in scan_text(value):
                yield place, finding
        elif isinstance(value, dict):
            for finding in itertools.chain.from_iterable(map(scan_text, value)):
                yield place, finding
            stack.extend((f"{place}.{k}" if place else k, v) for k, v in reversed(value.items()))
        elif isinstance(value, list):
            stack.extend((f"{place}[{i}]", v) for i, v in reversed(list(enumerate(value))))


# --- checks ----------------------------------------------------------------------------------

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def _crc62(value: str) -> bool:
    """GitHub's and npm's tokens end in the CRC-32 of their random part, in base 62."""
    body, _, given = value.partition("_")[2][:-6], None, value[-6:]
    number, digits = zlib.crc32(body.encode()), ""
    while number:
        number, rest = divmod(number, 62)
        digits = _BASE62[rest] + digits
    return digits.rjust(6, "0") == given


# --- shapes ----------------------------------------------------------------------------------
