"""Further names of models: which jobs answer to one, and with which share of the requests."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ftsdk.errors import UsageError

_WHOLE = 100


@dataclass(frozen=True)
class Share:
    """A job, by its id or name, and the percentage of an alias's requests that it answers."""

    job: str
    percent: int


def parse_alias(text: str) -> tuple[Share, ...]:
    """Return `JOB`, or `JOB:90,OTHER:10` with percentages that add up to 100, as shares.

    Raises `UsageError`.
    """
    if "," not in text:
        return (Share(text, _WHOLE),)
    shares = []
    for part in text.split(","):
        job, colon, percent = part.strip().rpartition(":")
        if not colon or not job or not percent.isascii() or not percent.isdigit():
            raise _wrong(f"{part.strip()!r} is not JOB:PERCENT", text)
        shares.append(Share(job, int(percent[:4])))
    total = sum(share.percent for share in shares)
    if total != _WHOLE:
        raise _wrong(f"the shares add up to {total}, not 100", text)
    if len({share.job for share in shares}) < len(shares):
        raise _wrong("a job is given twice", text)
    return tuple(shares)


def _wrong(why: str, text: str) -> UsageError:
    return UsageError(
        f"The alias for {text!r} is wrong: {why}",
        where="--alias",
        hint="e.g. --alias ft:old=support-2:90,support-3:10",
    )


def choose(
    alias: str, shares: Sequence[Share], user: str | None, draw: Callable[[int], int]
) -> Share:
    """Return which of the shares answers: for a user always the same one, else one by lot.

    A user goes to another job only where the shares change, and then only as many users as must.
    `draw(n)` returns a random number from 0 to n - 1.
    """
    if len(shares) == 1:
        return shares[0]
    if user is None:
        place = draw(_WHOLE)
    else:
        digest = hashlib.sha256(f"{alias}\0{user}".encode("utf-8", "surrogatepass")).digest()
        place = int.from_bytes(digest[:8]) % _WHOLE
    for share in shares:
        if place < share.percent:
            return share
        place -= share.percent
    return shares[-1]
