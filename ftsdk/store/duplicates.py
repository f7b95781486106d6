"""The very same job, created again: found in the transaction that would journal it.

So the check also works between threads and processes that create the same job at the same time.
"""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass

from ftsdk.store.hooks import InsertHook
from ftsdk.store.job_rows import read_job
from ftsdk.types.account import may_be_same
from ftsdk.types.job import JobSnapshot
from ftsdk.types.status import JobStatus

RECENTLY = dt.timedelta(minutes=10)
"""A job that was accepted longer ago than this may be meant to be created again."""
_UNDECIDED = frozenset({JobStatus.SUBMITTING, JobStatus.IN_DOUBT})
_OVER = (JobStatus.FAILED.value, JobStatus.CANCELLED.value)


@dataclass(frozen=True)
class Identity:
    """What makes two jobs the very same: their rows and settings, and the account that pays.

    `accounts` are those that the call may be for, being the same one; empty where that is not known.
    `profile` is compared only for jobs that were never sent: another profile may have been chosen
    because the first one could not send it.
    """

    fingerprint: str
    base_url: str | None = None
    accounts: frozenset[str] = frozenset()
    profile: str | None = None

    def is_of(self, job: JobSnapshot) -> bool:
        """Return whether `job` has the same rows and settings, and may be of the same account."""
        if (self.fingerprint, self.base_url) != (job.fingerprint, job.dataset.get("base_url")):
            return False
        return not self.accounts or any(may_be_same(job.account, one) for one in self.accounts)


@dataclass(frozen=True)
class DuplicateRule:
    """Which existing job is given back instead of a new one.

    With `may_cost`: one of the last ten minutes, or one that was never sent, or whose outcome is not
    known, of any age. Without it: only one that could not be sent. Jobs with an id in `besides` do
    not count: the caller knows of them.
    """

    may_cost: bool
    besides: Collection[str] = ()
    within: dt.timedelta = RECENTLY

    def applies(self, job: JobSnapshot, wanted: Identity, now: dt.datetime) -> bool:
        """Return whether `job` is given back."""
        if job.id in self.besides or not wanted.is_of(job):
            return False
        recent = now - made_at(job) <= self.within
        if job.status is JobStatus.CREATED:
            unsent = job.key is None and job.profile == wanted.profile
            could_not_be_sent = job.error is not None
            return (unsent and could_not_be_sent) or (self.may_cost and (unsent or recent))
        return self.may_cost and (recent or job.status in _UNDECIDED)


def same_job(
    connection: sqlite3.Connection | sqlite3.Cursor,
    wanted: Identity,
    rule: DuplicateRule,
    now: dt.datetime,
    *,
    excluding: str = "",
) -> JobSnapshot | None:
    """Return the existing job that `rule` gives back, if any.

    Of several it is the newest of those that were sent, else the newest. Failed and cancelled jobs
    do not count, since creating them again is legitimate. `excluding` is the id of a job to ignore.
    Raises `StoreError` for one that cannot be read: it may be the same job.
    """
    rows = connection.execute(
        "SELECT * FROM jobs WHERE fingerprint = ? AND id != ? AND status NOT IN (?, ?)",
        (wanted.fingerprint, excluding, *_OVER),
    ).fetchall()
    jobs = [read_job(row) for row in rows]
    found = [job for job in jobs if rule.applies(job, wanted, now)]
    return max(
        found, key=lambda job: (job.status is not JobStatus.CREATED, made_at(job)), default=None
    )


def made_at(job: JobSnapshot) -> dt.datetime:
    """Return when the job was created, or sent if that was later."""
    return max(job.created_at, job.submitted_at or job.created_at)


class KeyTaken(Exception):
    """Internal: a job with this key is already journaled."""

    def __init__(self, existing: JobSnapshot) -> None:
        super().__init__(existing.id)
        self.existing = existing


class SameJob(Exception):
    """Internal: the very same job is journaled already and is used instead of a new one."""

    def __init__(self, existing: JobSnapshot) -> None:
        super().__init__(existing.id)
        self.existing = existing


def unless_same(wanted: Identity, rule: DuplicateRule, hook: InsertHook) -> InsertHook:
    """Return `hook`, preceded by a check that raises `SameJob` for a job that `rule` gives back."""

    def checked(cursor: sqlite3.Cursor, snapshot: JobSnapshot) -> None:
        other = same_job(cursor, wanted, rule, snapshot.created_at, excluding=snapshot.id)
        if other is not None:
            raise SameJob(other)
        hook(cursor, snapshot)

    return checked
