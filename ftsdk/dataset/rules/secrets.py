"""Codes of secrets and personal data, and the search of a row for them.

The search has two steps. `may_hold` looks at a row's bytes in about a microsecond: for an `@`, a
long run of token characters, nine digits in a row, separators aside (eight with a sign of a phone
number, seven with the word of an identity number), and the like. Only then is every string of the row searched. No finding is no proof of absence.
Findings are notices, and block an upload until they are acknowledged.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Iterator
from typing import Any

from ftsdk.dataset.findings.national_ids import FORM_OF_FEW_DIGITS, WORDS_OF_FEW_DIGITS
from ftsdk.dataset.findings.registry import note
from ftsdk.dataset.findings.secret_patterns import Allowed, SecretMatch, never_allowed, scan_text

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
note(
    "FT409",
    "notice",
    "Looks like a national identity number",
    "remove or mask it; or acknowledge with allow_findings=",
    """The form and the check digits match, and for plain runs of digits a word before them (`PESEL`, `SSN`):
    the numbers of 33 countries, with the check digits of [python-stdnum](https://pypi.org/project/python-stdnum/).""",
)


_WORD = bytes(
    0x78
    if chr(b) in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_./+="
    else 0x20
    for b in range(256)
)
_DIGIT = bytes(0x30 if 0x30 <= b <= 0x39 else 0x20 for b in range(256))
_IBAN_CLASS = bytes(
    0x30 if 0x30 <= b <= 0x39 else 0x41 if 0x41 <= b <= 0x5A else 0x20 for b in range(256)
)
_SEPARATORS = b" -.()/"
_RUN, _SHORT_RUN, _DIGITS, _FEW_DIGITS = b"x" * 20, b"x" * 15, b"0" * 9, b"0" * 8
_LEAST_DIGITS = b"0" * 7
_ASSIGNED = (b"key", b"token", b"secret", b"passw")
_PHONE_SIGN = re.compile(
    rb"(?i)\+[1-9]|(?<![0-9.)+-])00?[1-9]|phone|tel|mobile|cell|call|text|fax|whatsapp|sms"
)


def may_hold(raw: bytes) -> bool:
    """Whether a record may have a match; False is certain."""
    if b"\\" in raw:
        if b"\\u00" in raw:
            return True
        raw = raw.replace(b"\\/", b"/")  # PHP escapes a slash, which would cut a run in two
    if b"@" in raw or b"-----BEGIN" in raw:
        return True
    words = raw.translate(_WORD)
    if _SHORT_RUN in words and (_RUN in words or b"xox" in raw or _may_assign(raw)):
        return True
    digits = raw.translate(_DIGIT, _SEPARATORS)
    if b"00" not in digits:
        return False
    return (
        _DIGITS in digits
        or (_FEW_DIGITS in digits and _PHONE_SIGN.search(raw) is not None)
        or b"AA00" in raw.translate(_IBAN_CLASS)
        or (_LEAST_DIGITS in digits and WORDS_OF_FEW_DIGITS.search(raw) is not None)
        or (_SHORT_RUN in words and FORM_OF_FEW_DIGITS.search(raw) is not None)
    )


def _may_assign(raw: bytes) -> bool:
    small = raw.lower()
    return any(word in small for word in _ASSIGNED)


def allowed_values(patterns: Collection[str]) -> Allowed:
    """A function that is true for the values of patterns such as `FT406:*@ourcompany.com`.

    Capitals do not matter, `*` is for any text. Entries without a colon are whole codes, and match
    no value here.
    """
    pairs = [one.partition(":")[::2] for one in patterns if ":" in one]
    if not pairs:
        return never_allowed
    known = [(code, re.compile(fnmatch.translate(value.lower()))) for code, value in pairs]

    def allowed(code: str, value: str) -> bool:
        small = value.strip().lower()
        return any(code == c and pattern.match(small) is not None for c, pattern in known)

    return allowed


def scan_row(row: Any, allowed: Allowed = never_allowed) -> Iterator[tuple[str, SecretMatch]]:
    """Every finding in every string of a row, with its field path; one of a kind per field.

    A match in a key has the path of the object with that key.
    """
    stack: list[tuple[str, Any]] = [("", row)]
    while stack:
        place, value = stack.pop()
        if isinstance(value, str):
            for finding in scan_text(value, allowed):
                yield place, finding
        elif isinstance(value, dict):
            for key in value:
                for finding in scan_text(key, allowed):
                    yield place, finding
            stack.extend((f"{place}.{k}" if place else k, v) for k, v in reversed(value.items()))
        elif isinstance(value, list):
            stack.extend((f"{place}[{i}]", v) for i, v in reversed(list(enumerate(value))))
