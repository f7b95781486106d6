"""What jobs may cost and did cost: amounts held at submit, derived from the job ever after.

A reservation is written in the same transaction as its job, after the limits were looked at; the
transaction is `BEGIN IMMEDIATE`, so that of many processes one at a time counts. Nothing has to be
written when a job ends: what it weighs follows from its status and its cost, so that no crash can
leave money held for ever, or let it go too early.
"""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from ftsdk.errors import BudgetError, UnknownJob
from ftsdk.store.journal import Also, Journal
from ftsdk.store.leases import Lease, Leases, leases_of, month_bounds
from ftsdk.types.cost import Cost, CostBasis
from ftsdk.types.job import JobSnapshot
from ftsdk.types.status import JobStatus

__all__ = [
    "Limit",
    "Month",
    "Reservation",
    "Spending",
    "Weight",
    "check_lease",
    "check_limits",
    "month_of",
    "months_of",
    "reserving",
    "weight",
]


@dataclass(frozen=True)
class Limit:
    """At most `usd` in a calendar month (UTC): of all jobs, or of those of one profile."""

    usd: Decimal
    where: str
    profile: str | None = None

    def __str__(self) -> str:
        whom = "" if self.profile is None else f" of profile {self.profile}"
        return f"${self.usd:.2f} a month{whom}"


@dataclass(frozen=True)
class Reservation:
    """What is held for one job: the high end of its estimate, and what its end will mean.

    `quoted` is what the provider itself said before the create; it counts before the estimate.
    """

    job_id: str
    month: str
    profile: str | None
    cost: Cost
    usd_per_hour: Decimal | None = None
    cap: Decimal | None = None
    failed_is_free: bool = False
    quoted: Decimal | None = None
    quoted_source: str = ""
    settled: Decimal | None = None
    settled_why: str = ""

    @property
    def usd(self) -> Decimal | None:
        """What is held, in US dollars: the provider's quote, else the high end of the estimate."""
        return self.cost.high if self.quoted is None else self.quoted


@dataclass(frozen=True)
class Weight:
    """What a job counts for. `usd` None: nobody knows. `final`: it will not change by itself.

    `is_known`: it is what the job did cost, by a bill or by a person; no estimate.
    """

    usd: Decimal | None
    final: bool
    why: str
    is_known: bool = False


@dataclass(frozen=True)
class Month:
    """What counts in a calendar month, in US dollars: final, and held for what still runs.

    `unknown` is the number of jobs and deployments whose weight nobody knows.
    """

    spent: Decimal = Decimal(0)
    reserved: Decimal = Decimal(0)
    unknown: int = 0

    def and_(self, weight: Weight) -> Month:
        """With one more job or deployment."""
        if weight.usd is None:
            return replace(self, unknown=self.unknown + 1)
        if weight.final:
            return replace(self, spent=self.spent + weight.usd)
        return replace(self, reserved=self.reserved + weight.usd)


def month_of(time: dt.datetime) -> str:
    """The calendar month, in UTC: `2026-11`."""
    return f"{time.astimezone(dt.UTC):%Y-%m}"


def months_of(first: dt.datetime, last: dt.datetime) -> Iterator[str]:
    """The calendar months (UTC) from that of `first` to that of `last`, both included."""
    month = month_of(first)
    while month <= month_of(last):
        yield month
        month = month_of(month_bounds(month)[1])


def weight(job: JobSnapshot, held: Reservation | None, now: dt.datetime | None = None) -> Weight:
    """What a job weighs in its month's budget; `now` lets the hours of a running one count.

    What a person settled counts before all; a bill counts once the job is over; a job that never
    left this machine, or failed where failures are free, counts nothing; else what was held, and
    more once it has certainly cost more.
    """
    if held is not None and held.settled is not None:
        return Weight(held.settled, True, held.settled_why or "settled by hand", is_known=True)
    return _ended(job, held) if job.status.is_final else _open(job, held, now)


def _ended(job: JobSnapshot, held: Reservation | None) -> Weight:
    cost, nothing = job.cost, Decimal(0)
    if job.submitted_at is None and job.provider_job_id is None:
        return Weight(nothing, True, "never sent", is_known=True)
    if cost.basis is CostBasis.BILLED and cost.high is not None:
        return Weight(cost.high, True, "billed", is_known=True)
    known = job.provider_job_id is not None
    if job.status is JobStatus.FAILED and known and held is not None and held.failed_is_free:
        return Weight(nothing, True, "failed jobs are free here", is_known=True)
    if cost.basis is CostBasis.QUOTED and cost.high is not None:
        return Weight(cost.high, True, "quoted")
    quoted = held is not None and held.quoted is not None
    why = f"as {'quoted' if quoted else 'estimated'}; no bill is known"
    return Weight(None if held is None else held.usd, True, why)


def _open(job: JobSnapshot, held: Reservation | None, now: dt.datetime | None) -> Weight:
    if held is None or held.usd is None:
        return Weight(None, False, "held")
    told = [(held.usd, "held" if held.quoted is None else "held, as quoted")]
    cost, rate = job.cost, held.usd_per_hour
    if cost.basis in (CostBasis.BILLED, CostBasis.QUOTED) and cost.high is not None:
        told.append((cost.high, f"{cost.basis} so far"))
    if rate is not None and now is not None and job.started_at is not None:
        seconds = max(0.0, (now - job.started_at).total_seconds())
        hours = Decimal(str(seconds)) / 3600
        told.append(((rate * hours).quantize(Decimal("0.000001")), "its hours so far"))
    usd, why = max(told, key=lambda one: one[0])
    return Weight(usd, False, why)


def reserving(held: Reservation, limits: Sequence[Limit]) -> Also:
    """A guard for `Journal.add`: looks at the limits and holds the amount, or raises `BudgetError`.

    With a limit, a price that is not known fails closed: this job's, or an earlier one's.
    """

    def guard(cursor: sqlite3.Cursor, snapshot: JobSnapshot) -> None:
        now = snapshot.created_at
        mine = replace(held, job_id=snapshot.id, month=month_of(now))
        check_limits(cursor, limits, now, mine.cost.high, "job", apart_from=snapshot.id)
        _insert(cursor, mine, now)

    return guard


def check_limits(
    cursor: sqlite3.Cursor,
    limits: Sequence[Limit],
    now: dt.datetime,
    amount: Decimal | None,
    what: str,
    *,
    apart_from: str | None = None,
    month: str | None = None,
) -> None:
    """Raise `BudgetError` when `amount` more would go over one of the limits, or nobody knows.

    It is for `month`, or for that of `now`. What costs nothing fits, whatever the month holds.
    """
    if amount == 0:
        return
    month = month or month_of(now)
    for limit in limits:
        spent = _counted(cursor, limit, now, month, apart_from)
        if amount is None:
            raise BudgetError(
                f"The budget is {limit}, and what this {what} would cost is not known",
                where=limit.where,
                hint="choose a model with a known price, or add its price to prices.toml",
                submitted="no",
            )
        if spent + amount > limit.usd:
            left = max(Decimal(0), limit.usd - spent)
            raise BudgetError(
                f"The {what} may cost ${amount:.2f}, and ${left:.2f} of {limit} is left",
                where=f"{limit.where}; {month} holds ${spent:.2f} already",
                hint="`ftsdk costs` shows for what; raise the budget, or wait for the next month",
                submitted="no",
            )


def check_lease(
    cursor: sqlite3.Cursor,
    limits: Sequence[Limit],
    now: dt.datetime,
    lease: Lease,
    before: Lease | None = None,
) -> None:
    """Raise `BudgetError` when a month has no room for its hours of the lease, or nobody knows."""
    for month in months_of(lease.started_at, lease.ends_at):
        whole = lease.weight(now, month)
        counted = Decimal(0) if before is None else before.weight(now, month)
        more = None if whole is None or counted is None else whole - counted
        check_limits(cursor, limits, now, more, "deployment", month=month)


def _check_cap(held: Reservation, limits: Sequence[Limit]) -> None:
    """Raise `BudgetError` for a quote above the job's cap, or a missing one that would be needed."""
    if held.quoted is None and (held.cap is not None or limits):
        raise BudgetError(
            f"There is a budget, and the provider gives no quote: {held.quoted_source}",
            where=f"job {held.job_id}; nothing was sent",
            hint="leave max_cost and the budget out to accept an unknown price",
            submitted="no",
        )
    if held.quoted is not None and held.cap is not None and held.quoted > held.cap:
        raise BudgetError(
            f"The provider quotes ${held.quoted:.2f}, over the limit of ${held.cap:.2f} for this job",
            where=f"{held.quoted_source}; our table said {held.cost}; no job was made",
            hint="fewer rows or epochs, a cheaper model, or a higher max_cost",
            submitted="no",
        )


def _counted(
    cursor: sqlite3.Cursor, limit: Limit, now: dt.datetime, month: str, apart_from: str | None
) -> Decimal:
    """What counts against `limit` in `month`; raises `BudgetError` when a part is not known."""
    total = Decimal(0)
    for job, held in _of_month(cursor, month, limit.profile):
        usd = Decimal(0) if job.id == apart_from else weight(job, held, now).usd
        if usd is None:
            raise BudgetError(
                f"The budget is {limit}, and what an earlier job costs is not known",
                where=f"{limit.where}; job {job.id}",
                hint=f"ftsdk costs --settle {job.id} --usd AMOUNT, with what was billed",
                submitted="no",
            )
        total += usd
    for lease in leases_of(cursor, month, limit.profile):
        usd = lease.weight(now, month)
        if usd is None:
            raise BudgetError(
                f"The budget is {limit}, and what a deployment costs is not known",
                where=f"{limit.where}; {lease.provider}, {lease.model}",
                hint="`ftsdk deployments` shows it",
                submitted="no",
            )
        total += usd
    return total


def _insert(cursor: sqlite3.Cursor, held: Reservation, now: dt.datetime) -> None:
    cursor.execute(
        "INSERT INTO reservations (job_id, month, profile, low, high, basis, source, usd_per_hour, "
        "cap, failed_is_free, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            held.job_id,
            held.month,
            held.profile,
            _text(held.cost.low),
            _text(held.cost.high),
            held.cost.basis.value,
            held.cost.source,
            _text(held.usd_per_hour),
            _text(held.cap),
            int(held.failed_is_free),
            now.isoformat(),
        ),
    )


def _text(value: Decimal | None) -> str | None:
    return None if value is None else f"{value:f}"


def _decimal(value: str | None) -> Decimal | None:
    return None if value is None else Decimal(value)


_OF_MONTH = (
    "SELECT r.*, j.snapshot FROM reservations r JOIN jobs j ON j.id = r.job_id "
    "WHERE r.month = ? AND (? IS NULL OR r.profile = ?)"
)


def _of_month(
    cursor: sqlite3.Cursor, month: str, profile: str | None
) -> list[tuple[JobSnapshot, Reservation]]:
    return _with_jobs(cursor.execute(_OF_MONTH, (month, profile, profile)).fetchall())


def _with_jobs(rows: Sequence[sqlite3.Row]) -> list[tuple[JobSnapshot, Reservation]]:
    return [(JobSnapshot.model_validate_json(row["snapshot"]), _reservation(row)) for row in rows]


def _reservation(row: sqlite3.Row) -> Reservation:
    return Reservation(
        job_id=row["job_id"],
        month=row["month"],
        profile=row["profile"],
        cost=Cost(
            basis=CostBasis(row["basis"]),
            low=_decimal(row["low"]),
            high=_decimal(row["high"]),
            source=row["source"],
        ),
        usd_per_hour=_decimal(row["usd_per_hour"]),
        cap=_decimal(row["cap"]),
        failed_is_free=bool(row["failed_is_free"]),
        quoted=_decimal(row["quoted"]),
        quoted_source=row["quoted_source"] or "",
        settled=_decimal(row["settled"]),
        settled_why=row["settled_why"] or "",
    )


class Spending:
    """The money side of a journal: what is held, what was settled, what somebody has seen."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    def all(self) -> list[tuple[JobSnapshot, Reservation | None]]:
        """Every job with what is held for it (None for one older than budgets), newest first."""
        held = {}
        for row in self.journal.read("SELECT * FROM reservations"):
            held[row["job_id"]] = _reservation(row)
        return [(job, held.get(job.id)) for job in self.journal.list()]

    def get(self, job_id: str) -> Reservation | None:
        """What is held for one job, if anything."""
        rows = self.journal.read("SELECT * FROM reservations WHERE job_id = ?", (job_id,))
        return _reservation(rows[0]) if rows else None

    def capped(self) -> list[tuple[JobSnapshot, Reservation]]:
        """Jobs that are billed by the hour, have a cap, and have not ended at their provider."""
        rows = self.journal.read(
            "SELECT r.*, j.snapshot FROM reservations r JOIN jobs j ON j.id = r.job_id "
            "WHERE r.cap IS NOT NULL AND r.usd_per_hour IS NOT NULL AND j.provider_job_id IS NOT NULL"
        )
        return [(job, held) for job, held in _with_jobs(rows) if not job.status.is_final]

    def month(self, now: dt.datetime, profile: str | None = None) -> Month:
        """What counts in the calendar month of `now`: of all, or of one profile."""
        month, told = month_of(now), Month()
        for job, held in _with_jobs(self.journal.read(_OF_MONTH, (month, profile, profile))):
            told = told.and_(weight(job, held, now))
        for lease in Leases(self.journal).list():
            until = lease.closed_at or max(lease.ends_at, now)
            stands = month_of(lease.started_at) <= month <= month_of(until)
            if stands and profile in (None, lease.profile):
                whole, so_far = lease.weight(now, month), lease.cost(now, month)
                told = told.and_(Weight(so_far, True, "so far"))
                if whole is not None and so_far is not None:
                    told = told.and_(Weight(whole - so_far, False, "until its lease ends"))
        return told

    def spent(self, now: dt.datetime, profile: str | None = None) -> tuple[Decimal, int]:
        """What counts for this calendar month in US dollars, and how much of it is not known.

        Jobs and deployments together: the sum of what is known, and the number of the others.
        """
        told = self.month(now, profile)
        return told.spent + told.reserved, told.unknown

    def settle(self, job_id: str, usd: Decimal, why: str) -> None:
        """Say what a job cost; it counts before the estimate and before the provider's word."""
        job = self.journal.get(job_id)
        with self.journal.write() as cursor:
            changed = cursor.execute(
                "UPDATE reservations SET settled = ?, settled_why = ? WHERE job_id = ?",
                (_text(usd), why, job.id),
            ).rowcount
            if not changed:
                raise UnknownJob(
                    f"Nothing is held for {job.id}: it is older than budgets",
                    where=str(self.journal.path),
                    hint="its cost is what the provider tells: `ftsdk costs`",
                )

    def requote(self, job_id: str, quote: Cost, limits: Sequence[Limit]) -> Reservation | None:
        """Hold what the provider quotes in place of the estimate, once it fits; the estimate stays
        beside it. Returns what is held now; None for a job that nothing was held for.

        Raises `BudgetError` for a quote over the job's cap or one of the limits, and for a missing
        one where there is a cap or limit: then what was held stays.
        """
        with self.journal.write() as cursor:
            row = cursor.execute(
                "SELECT * FROM reservations WHERE job_id = ?", (job_id,)
            ).fetchone()
            if row is None:
                return None
            held = replace(_reservation(row), quoted=quote.high, quoted_source=quote.source)
            _check_cap(held, limits)
            made = dt.datetime.fromisoformat(row["created_at"])
            check_limits(cursor, limits, made, held.usd, "job", apart_from=job_id, month=held.month)
            cursor.execute(
                "UPDATE reservations SET quoted = ?, quoted_source = ? WHERE job_id = ?",
                (_text(held.quoted), held.quoted_source, job_id),
            )
            return held

    def unsent(self, key: str) -> str | None:
        """The id of the job of this key, where it was journaled and never sent."""
        rows = self.journal.read(
            "SELECT id FROM jobs WHERE key = ? AND status = ?", (key, JobStatus.CREATED.value)
        )
        return rows[0]["id"] if rows else None

    def carry_over(self, job_id: str, now: dt.datetime, limits: Sequence[Limit]) -> None:
        """Hold a job that no provider has accepted against the month of `now`, in which it is sent.

        Raises `BudgetError` where that month has no room for it; then it stays where it was held.
        """
        with self.journal.write() as cursor:
            row = cursor.execute(
                "SELECT r.*, j.snapshot FROM reservations r JOIN jobs j ON j.id = r.job_id "
                "WHERE r.job_id = ? AND r.month != ? AND j.provider_job_id IS NULL",
                (job_id, month_of(now)),
            ).fetchone()
            if row is None:
                return
            usd = _reservation(row).usd
            check_limits(cursor, limits, now, usd, "job", apart_from=job_id)
            cursor.execute(
                "UPDATE reservations SET month = ? WHERE job_id = ?", (month_of(now), job_id)
            )

    def reopen(self, job_id: str, now: dt.datetime, limits: Sequence[Limit]) -> None:
        """Hold a job that ended and goes on against the month of `now`; what was settled is open.

        Raises `BudgetError` where that month has no room for it; then everything stays as it was.
        """
        with self.journal.write() as cursor:
            row = cursor.execute(
                "SELECT * FROM reservations WHERE job_id = ?", (job_id,)
            ).fetchone()
            if row is None:
                return
            usd = _reservation(row).usd
            check_limits(cursor, limits, now, usd, "job", apart_from=job_id)
            cursor.execute(
                "UPDATE reservations SET month = ?, settled = NULL, settled_why = NULL "
                "WHERE job_id = ?",
                (month_of(now), job_id),
            )

    # --- what somebody has seen ---

    def acknowledge(self, kind: str, subject: str, now: dt.datetime, note: str = "") -> bool:
        """Remember that this was seen; True the first time."""
        with self.journal.write() as cursor:
            cursor.execute(
                "INSERT OR IGNORE INTO acknowledgements (kind, subject, time, note) "
                "VALUES (?, ?, ?, ?)",
                (kind, subject, now.isoformat(), note),
            )
            return cursor.rowcount == 1

    def forget(self, kind: str, subject: str) -> None:
        """Take an acknowledgement back."""
        with self.journal.write() as cursor:
            cursor.execute(
                "DELETE FROM acknowledgements WHERE kind = ? AND subject = ?", (kind, subject)
            )

    def acknowledged(self, kind: str) -> frozenset[str]:
        """Everything of this kind that was seen."""
        rows = self.journal.read("SELECT subject FROM acknowledgements WHERE kind = ?", (kind,))
        return frozenset(row["subject"] for row in rows)
