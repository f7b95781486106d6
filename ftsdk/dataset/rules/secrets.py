"""Codes of secrets and personal data, and the search of a row for them.

The search has two steps. `byte_signs` looks at the bytes of many rows at once: for an `@`, a long run of
token characters, nine digits in a row, separators aside (eight with a sign of a phone number, seven with
the word of an identity number), and the like. Only then is every string of the row searched. No finding
is no proof of absence. Findings are notices, and block an upload until they are acknowledged.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Iterator
from typing import Any

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
    the numbers of 33 countries, with the check digits of [python-stdnum](https://arthurdejong.org/python-stdnum/).""",
)


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
