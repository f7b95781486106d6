"""Our own names for jobs: a ULID (48 bits of time, 80 of chance) behind `ftj_`."""

from __future__ import annotations

import datetime as dt
import re
import secrets

__all__ = ["JOB_ID", "client_token", "new_job_id", "submission_tag"]

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32, as the ULID text says
JOB_ID = re.compile(r"^ftj_[0-9A-HJKMNP-TV-Z]{26}$")


def _base32(value: int, length: int) -> str:
    digits = []
    for _ in range(length):
        value, rest = divmod(value, 32)
        digits.append(_ALPHABET[rest])
    return "".join(reversed(digits))


def new_job_id(now: dt.datetime) -> str:
    """A job id that sorts by `now`, for instance `ftj_01KB2T5C9GQ8Z2M4V7X1N6D3EF`."""
    milliseconds = int(now.timestamp() * 1000)
    return "ftj_" + _base32(milliseconds, 10) + _base32(secrets.randbits(80), 16)


def submission_tag(job_id: str) -> str:
    """The mark a job carries at its provider: `ft` and 12 characters, all lower case.

    It is short enough for a Together suffix (40) and free of dots, which Azure refuses; 60 random
    bits make two alike improbable within any account.
    """
    return "ft" + job_id[-12:].lower()


def client_token() -> str:
    """A token for providers that take one: the same token twice is one job. 32 hex characters."""
    return secrets.token_hex(16)
