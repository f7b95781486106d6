"""Money reserved for jobs: written in the transaction that journals the job.

The transaction is `BEGIN IMMEDIATE`, so of many processes one at a time checks the limits and
reserves.
"""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal

from ftsdk.errors import UnknownJob
from ftsdk.store.accounting import Charge, Month, Reservation, charge_for, month_of
from ftsdk.store.hooks import InsertHook
from ftsdk.store.journal import Journal
from ftsdk.store.leases import Leases
from ftsdk.store.limits import Limit, check_limits
from ftsdk.store.reservation_rows import OF_MONTH, from_row, insert, to_text, with_jobs
from ftsdk.types.cost import Cost
from ftsdk.types.job import JobSnapshot
from ftsdk.types.status import JobStatus


def reserving(reservation: Reservation, limits: Sequence[Limit]) -> InsertHook:
    """A hook for `Journal.add` that checks the limits and reserves the amount.

    It raises `BudgetError` where a month has no room. Where there is a limit, an unknown price
    does not fit: that of this job, or of an earlier one.
    """

    def hook(cursor: sqlite3.Cursor, snapshot: JobSnapshot) -> None:
        now = snapshot.created_at
        mine = replace(reservation, job_id=snapshot.id, month=month_of(now))
        check_limits(cursor, limits, now, mine.cost.high, "job", apart_from=snapshot.id)
        insert(cursor, mine, now)

    return hook


class Reservations:
    """What is reserved for the jobs of a journal, and what they count for."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    # --- reading ---

    def all(self) -> list[tuple[JobSnapshot, Reservation | None]]:
        """Every job with its reservation, newest first; None for a job older than budgets."""
        found = {}
        for row in self.journal.read("SELECT * FROM reservations"):
            found[row["job_id"]] = from_row(row)
        return [(job, found.get(job.id)) for job in self.journal.list()]

    def get(self, job_id: str) -> Reservation | None:
        """The reservation of one job, if there is one."""
        rows = self.journal.read("SELECT * FROM reservations WHERE job_id = ?", (job_id,))
        return from_row(rows[0]) if rows else None

    def capped(self) -> list[tuple[JobSnapshot, Reservation]]:
        """Jobs that are billed by the hour, have a cap, and have not ended at their provider."""
        rows = self.journal.read(
            "SELECT r.*, j.snapshot FROM reservations r JOIN jobs j ON j.id = r.job_id "
            "WHERE r.cap IS NOT NULL AND r.usd_per_hour IS NOT NULL AND j.provider_job_id IS NOT NULL"
        )
        return [(job, found) for job, found in with_jobs(rows) if not job.status.is_final]

    def unsent(self, key: str) -> str | None:
        """The id of the job with this key that is journaled and was never sent."""
        rows = self.journal.read(
            "SELECT id FROM jobs WHERE key = ? AND status = ?", (key, JobStatus.CREATED.value)
        )
        return rows[0]["id"] if rows else None

    def month(self, now: dt.datetime, profile: str | None = None) -> Month:
        """What counts in the calendar month of `now`: for all profiles, or for one."""
        month, total = month_of(now), Month()
        for job, reservation in with_jobs(self.journal.read(OF_MONTH, (month, profile, profile))):
            total = total.plus(charge_for(job, reservation, now))
        for lease in Leases(self.journal).list():
            until = lease.closed_at or max(lease.ends_at, now)
            in_month = month_of(lease.started_at) <= month <= month_of(until)
            if in_month and profile in (None, lease.profile):
                whole, so_far = lease.charge(now, month), lease.cost(now, month)
                total = total.plus(Charge(so_far, True, "so far"))
                if whole is not None and so_far is not None:
                    total = total.plus(Charge(whole - so_far, False, "until its lease ends"))
        return total

    def spent(self, now: dt.datetime, profile: str | None = None) -> tuple[Decimal, int]:
        """What counts in the calendar month of `now`, in US dollars, and how much is unknown.

        Returns the sum of all known charges, and the number of jobs and deployments without one.
        """
        total = self.month(now, profile)
        return total.spent + total.reserved, total.unknown

    # --- changing ---

    def settle(self, job_id: str, usd: Decimal, why: str) -> None:
        """Record what a job cost; it counts before the estimate and before the provider's bill.

        Raises `UnknownJob` for a job without a reservation.
        """
        job = self.journal.get(job_id)
        with self.journal.write() as cursor:
            changed = cursor.execute(
                "UPDATE reservations SET settled = ?, settled_why = ? WHERE job_id = ?",
                (to_text(usd), why, job.id),
            ).rowcount
            if not changed:
                raise UnknownJob(
                    f"Nothing is reserved for {job.id}: it is older than budgets",
                    where=str(self.journal.path),
                    hint="its cost is what the provider reports: `ftsdk costs`",
                )

    def requote(
        self,
        job_id: str,
        quote: Cost,
        limits: Sequence[Limit],
        check: Callable[[Reservation], None],
    ) -> Reservation | None:
        """Reserve the provider's quote in place of the estimate, which stays beside it.

        Returns the new reservation, or None for a job without one. `check` is called with it
        inside the transaction; when it raises, or a limit of the month does (a quote without an
        amount fits none), the old reservation stays.
        """
        with self.journal.write() as cursor:
            row = cursor.execute(
                "SELECT * FROM reservations WHERE job_id = ?", (job_id,)
            ).fetchone()
            if row is None:
                return None
            found = replace(from_row(row), quoted=quote.high, quoted_source=quote.source)
            check(found)
            made = dt.datetime.fromisoformat(row["created_at"])
            check_limits(
                cursor, limits, made, quote.high, "job", apart_from=job_id, month=found.month
            )
            cursor.execute(
                "UPDATE reservations SET quoted = ?, quoted_source = ? WHERE job_id = ?",
                (to_text(found.quoted), found.quoted_source, job_id),
            )
            return found

    def carry_over(self, job_id: str, now: dt.datetime, limits: Sequence[Limit]) -> None:
        """Move the reservation of a job that no provider has accepted to the month of `now`.

        Raises `BudgetError` where that month has no room; then the reservation stays as it was.
        """
        with self.journal.write() as cursor:
            row = cursor.execute(
                "SELECT r.*, j.snapshot FROM reservations r JOIN jobs j ON j.id = r.job_id "
                "WHERE r.job_id = ? AND r.month != ? AND j.provider_job_id IS NULL",
                (job_id, month_of(now)),
            ).fetchone()
            if row is None:
                return
            check_limits(cursor, limits, now, from_row(row).usd, "job", apart_from=job_id)
            cursor.execute(
                "UPDATE reservations SET month = ? WHERE job_id = ?", (month_of(now), job_id)
            )

    def reopen(self, job_id: str, now: dt.datetime, limits: Sequence[Limit]) -> None:
        """Reserve again, in the month of `now`, for an ended job that is resumed.

        What was settled is no longer settled. Raises `BudgetError` where that month has no room;
        then everything stays as it was.
        """
        with self.journal.write() as cursor:
            row = cursor.execute(
                "SELECT * FROM reservations WHERE job_id = ?", (job_id,)
            ).fetchone()
            if row is None:
                return
            check_limits(cursor, limits, now, from_row(row).usd, "job", apart_from=job_id)
            cursor.execute(
                "UPDATE reservations SET month = ?, settled = NULL, settled_why = NULL "
                "WHERE job_id = ?",
                (month_of(now), job_id),
            )
