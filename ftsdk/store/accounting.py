"""The amount that a job counts for in a month's budget.

Nothing has to be written when a job ends: its charge follows from its status, its cost and its
reservation. A crash therefore never leaves money reserved for ever or releases it too early.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal

from ftsdk.store.job_rows import UnreadableJob
from ftsdk.types.cost import Cost, CostBasis
from ftsdk.types.job import JobSnapshot
from ftsdk.types.status import JobStatus


@dataclass(frozen=True)
class Reservation:
    """The amount reserved for one job: the high end of its estimate, or the provider's quote.

    `quoted` is the provider's own quote from before the create call; it replaces the estimate.
    Amounts are US dollars.
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
        """The reserved amount: the provider's quote, else the high end of the estimate."""
        return self.cost.high if self.quoted is None else self.quoted


@dataclass(frozen=True)
class Charge:
    """The amount that a job counts for in its month, in US dollars.

    `usd` is None when it is unknown. `final` means that it no longer changes by itself. `is_known`
    means that it is the actual cost (billed, or entered by a person), not an estimate.
    """

    usd: Decimal | None
    final: bool
    why: str
    is_known: bool = False


@dataclass(frozen=True)
class Month:
    """The totals of a calendar month in US dollars: spent, and reserved for what is running.

    `unknown` is the number of jobs, deployments and models chatted with whose charge is unknown.
    """

    spent: Decimal = Decimal(0)
    reserved: Decimal = Decimal(0)
    unknown: int = 0

    def plus(self, charge: Charge) -> Month:
        """Return the month with one more charge."""
        if charge.usd is None:
            return replace(self, unknown=self.unknown + 1)
        if charge.final:
            return replace(self, spent=self.spent + charge.usd)
        return replace(self, reserved=self.reserved + charge.usd)


def month_of(time: dt.datetime) -> str:
    """The calendar month of a time, in UTC: `2026-11`."""
    return f"{time.astimezone(dt.UTC):%Y-%m}"


def month_bounds(month: str) -> tuple[dt.datetime, dt.datetime]:
    """The first moment of a calendar month in UTC, and the first moment after it."""
    first = dt.datetime.fromisoformat(f"{month}-01T00:00:00+00:00")
    return first, (first + dt.timedelta(days=32)).replace(day=1)


def months_of(first: dt.datetime, last: dt.datetime) -> Iterator[str]:
    """The calendar months (UTC) from that of `first` to that of `last`, both included."""
    month = month_of(first)
    while month <= month_of(last):
        yield month
        month = month_of(month_bounds(month)[1])


def charge_for(
    job: JobSnapshot | UnreadableJob,
    reservation: Reservation | None,
    now: dt.datetime | None = None,
    *,
    being_sent: bool = False,
) -> Charge:
    """Return what a job counts for in its month; with `now`, a running job's hours are included.

    The first that applies: the amount that a person settled; the bill of a job that has ended;
    zero for a job that was never sent, or that failed where failures are free; the reserved amount,
    or the cost so far once that is higher. `being_sent` says that a process is sending a job that is
    still `created`. A job that cannot be read counts what is reserved.
    """
    if reservation is not None and reservation.settled is not None:
        why = reservation.settled_why or "settled by hand"
        return Charge(reservation.settled, True, why, is_known=True)
    if not isinstance(job, JobSnapshot):
        usd = None if reservation is None else reservation.usd
        return Charge(usd, False, "reserved; its row in the journal cannot be read")
    if job.status.is_final:
        return _final_charge(job, reservation)
    if job.status is JobStatus.CREATED and not being_sent:
        return Charge(Decimal(0), False, "not sent")
    return _running_charge(job, reservation, now)


def _final_charge(job: JobSnapshot, reservation: Reservation | None) -> Charge:
    cost, nothing = job.cost, Decimal(0)
    if job.submitted_at is None and job.provider_job_id is None:
        return Charge(nothing, True, "never sent", is_known=True)
    if cost.basis is CostBasis.BILLED and cost.high is not None:
        return Charge(cost.high, True, "billed", is_known=True)
    accepted = job.provider_job_id is not None
    free = reservation is not None and reservation.failed_is_free
    if job.status is JobStatus.FAILED and accepted and free:
        return Charge(nothing, True, "failed jobs are free here", is_known=True)
    if cost.basis is CostBasis.QUOTED and cost.high is not None:
        is_open = job.status is JobStatus.CANCELLED
        return Charge(cost.high, True, "quoted; no bill is known" if is_open else "quoted")
    quoted = reservation is not None and reservation.quoted is not None
    why = f"as {'quoted' if quoted else 'estimated'}; no bill is known"
    return Charge(None if reservation is None else reservation.usd, True, why)


def _running_charge(
    job: JobSnapshot, reservation: Reservation | None, now: dt.datetime | None
) -> Charge:
    if reservation is None or reservation.usd is None:
        return Charge(None, False, "reserved")
    candidates = [
        (reservation.usd, "reserved" if reservation.quoted is None else "reserved, as quoted")
    ]
    cost, rate = job.cost, reservation.usd_per_hour
    if cost.basis in (CostBasis.BILLED, CostBasis.QUOTED) and cost.high is not None:
        candidates.append((cost.high, f"{cost.basis} so far"))
    if rate is not None and now is not None and job.started_at is not None:
        seconds = max(0.0, (now - job.started_at).total_seconds())
        hours = Decimal(str(seconds)) / 3600
        candidates.append(((rate * hours).quantize(Decimal("0.000001")), "its hours so far"))
    usd, why = max(candidates, key=lambda candidate: candidate[0])
    return Charge(usd, False, why)
