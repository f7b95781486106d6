"""The monthly spending limits, checked inside the transaction that reserves."""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from ftsdk.errors import BudgetError
from ftsdk.store.accounting import charge_for, month_of, months_of
from ftsdk.store.hooks import BeingSent, may_be_sent
from ftsdk.store.leases import Lease, leases_in_month
from ftsdk.store.reservation_rows import reservations_in_month
from ftsdk.types.status import JobStatus


@dataclass(frozen=True)
class Limit:
    """At most `usd` in a calendar month (UTC), for all jobs or for those of one profile."""

    usd: Decimal
    where: str
    profile: str | None = None

    def __str__(self) -> str:
        scope = "" if self.profile is None else f" of profile {self.profile}"
        return f"${self.usd:.2f} a month{scope}"


def check_limits(
    cursor: sqlite3.Cursor,
    limits: Sequence[Limit],
    now: dt.datetime,
    amount: Decimal | None,
    what: str,
    *,
    being_sent: BeingSent = may_be_sent,
    excluding: str | None = None,
    month: str | None = None,
) -> None:
    """Raise `BudgetError` when `amount` would exceed one of the limits, or a cost is unknown.

    The limits apply to `month` (`2026-11`), by default the month of `now`. `what` is the word for
    the message (`job`, `deployment`), `excluding` the id of a job not to count, or of a run of chats
    whose reservation is replaced. A job that was never sent counts while it is being sent. An amount of zero always fits.
    """
    if amount == 0:
        return
    month = month or month_of(now)
    for limit in limits:
        spent = _counted(cursor, limit, now, month, excluding, being_sent)
        if amount is None:
            raise BudgetError(
                f"The budget is {limit}, and the cost of this {what} is unknown",
                where=limit.where,
                hint="choose a model with a known price, or add its price to prices.toml",
                submitted="no",
            )
        if spent + amount > limit.usd:
            left = max(Decimal(0), limit.usd - spent)
            raise BudgetError(
                f"The {what} may cost ${amount:.2f}, and ${left:.2f} of {limit} is left",
                where=f"{limit.where}; ${spent:.2f} is spent or reserved in {month}",
                hint="see `ftsdk costs`; raise the budget, or wait for the next month",
                submitted="no",
            )


def check_lease(
    cursor: sqlite3.Cursor,
    limits: Sequence[Limit],
    now: dt.datetime,
    lease: Lease,
    before: Lease | None = None,
    *,
    being_sent: BeingSent = may_be_sent,
) -> None:
    """Raise `BudgetError` when the lease's hours in a month would exceed that month's limits.

    `before` is the lease before an extension: only the difference is checked.
    """
    for month in months_of(lease.started_at, lease.ends_at):
        whole = lease.charge(now, month)
        counted = Decimal(0) if before is None else before.charge(now, month)
        more = None if whole is None or counted is None else whole - counted
        check_limits(cursor, limits, now, more, "deployment", being_sent=being_sent, month=month)


def known_jobs_and_leases(
    cursor: sqlite3.Cursor, limit: Limit, now: dt.datetime, being_sent: BeingSent = may_be_sent
) -> Decimal:
    """Return what jobs and deployments count against `limit` now; unknown costs are left out."""
    month, total = month_of(now), Decimal(0)
    for job, reservation in reservations_in_month(cursor, month, limit.profile):
        sending = job.status is JobStatus.CREATED and being_sent(job.id)
        total += charge_for(job, reservation, now, being_sent=sending).usd or Decimal(0)
    for lease in leases_in_month(cursor, month, limit.profile):
        total += lease.charge(now, month) or Decimal(0)
    return total


def _counted(
    cursor: sqlite3.Cursor,
    limit: Limit,
    now: dt.datetime,
    month: str,
    excluding: str | None,
    being_sent: BeingSent,
) -> Decimal:
    """Return what counts against `limit` in `month`; raises `BudgetError` if a part is unknown."""
    total = Decimal(0)
    for job, reservation in reservations_in_month(cursor, month, limit.profile):
        if job.id == excluding:
            continue
        sending = job.status is JobStatus.CREATED and being_sent(job.id)
        usd = charge_for(job, reservation, now, being_sent=sending).usd
        if usd is None:
            raise BudgetError(
                f"The budget is {limit}, and the cost of an earlier job is unknown",
                where=f"{limit.where}; job {job.id}",
                hint=f"ftsdk costs --settle {job.id} --usd AMOUNT, with the billed amount",
                submitted="no",
            )
        total += usd
    for lease in leases_in_month(cursor, month, limit.profile):
        usd = lease.charge(now, month)
        if usd is None:
            raise BudgetError(
                f"The budget is {limit}, and the cost of a deployment is unknown",
                where=f"{limit.where}; {lease.provider}, {lease.model}",
                hint="`ftsdk deployments` shows it",
                submitted="no",
            )
        total += usd
    return total + chats_counted(cursor, limit, month, excluding)


def chats_counted(
    cursor: sqlite3.Cursor, limit: Limit, month: str, excluding: str | None = None
) -> Decimal:
    """Return what chats count against `limit` in `month`, without what is held for one run.

    Calls of unknown price are left out: single calls cost little, and runs of many are refused
    before they start.
    """
    rows = cursor.execute(
        "SELECT id, spent, held FROM chats WHERE month = ? AND (? IS NULL OR profile = ?)",
        (month, limit.profile, limit.profile),
    ).fetchall()
    held = (Decimal(row["held"]) for row in rows if row["id"] != excluding)
    return sum(held, sum((Decimal(row["spent"]) for row in rows), Decimal(0)))
