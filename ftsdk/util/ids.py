"""Job ids (a ULID after `ftj_`: 48 bits of time, 80 random bits), tags and client tokens."""

from __future__ import annotations

import datetime as dt
import re
import secrets

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32, as in the ULID specification
JOB_ID = re.compile(r"^ftj_[0-9A-HJKMNP-TV-Z]{26}$")


def _base32(value: int, length: int) -> str:
    digits = []
    for _ in range(length):
        value, rest = divmod(value, 32)
        digits.append(_ALPHABET[rest])
    return "".join(reversed(digits))


def new_job_id(now: dt.datetime) -> str:
    """Return a job id that sorts by `now`, for instance `ftj_01KB2T5C9GQ8Z2M4V7X1N6D3EF`."""
    milliseconds = int(now.timestamp() * 1000)
    return "ftj_" + _base32(milliseconds, 10) + _base32(secrets.randbits(80), 16)


def submission_tag(job_id: str) -> str:
    """Return the tag that a job has at its provider: `ft` and 12 characters, all lower case.

    It is short enough for a Together suffix (40 characters) and has no dots, which Azure refuses.
    With 60 random bits a collision within an account is improbable.
    """
    return "ft" + job_id[-12:].lower()


def client_token() -> str:
    """Return a random idempotency token of 32 hex characters, for providers that accept one."""
    return secrets.token_hex(16)
