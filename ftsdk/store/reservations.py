"""Money reserved for jobs, written in the transaction that journals the job.

The transaction is `BEGIN IMMEDIATE`, so only one process at a time checks the limits and reserves.
"""

from __future__ import annotations

import datetime as dt
import logging
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal

from ftsdk.errors import StoreError, UnknownJob
from ftsdk.store.accounting import Charge, Month, Reservation, charge_for, month_of
from ftsdk.store.hooks import BeingSent, InsertHook, may_be_sent
from ftsdk.store.job_rows import UnreadableJob
from ftsdk.store.journal import Journal
from ftsdk.store.leases import Leases
from ftsdk.store.limits import Limit, check_limits
from ftsdk.store.open_costs import CAPPED
from ftsdk.store.reservation_rows import IN_MONTH, from_row, insert, to_text, with_jobs
from ftsdk.types.cost import Cost
from ftsdk.types.job import JobSnapshot
from ftsdk.types.status import JobStatus

_log = logging.getLogger("ftsdk")


def reservation_hook(
    reservation: Reservation,
    limits: Sequence[Limit],
    being_sent: BeingSent = may_be_sent,
) -> InsertHook:
    """Return a hook for `Journal.add` that checks the limits and reserves the amount.

    It raises `BudgetError` when a monthly limit would be exceeded, or when there is a limit and the
    cost of this job or of an earlier one is unknown.
    """

    def hook(cursor: sqlite3.Cursor, snapshot: JobSnapshot) -> None:
        now = snapshot.created_at
        mine = replace(reservation, job_id=snapshot.id, month=month_of(now))
        check_limits(
            cursor, limits, now, mine.cost.high, "job", being_sent=being_sent, excluding=snapshot.id
        )
        insert(cursor, mine, now)

    return hook


def sending_hook(
    limits: Callable[[], Sequence[Limit]],
    clock: Callable[[], dt.datetime],
    being_sent: BeingSent,
) -> InsertHook:
    """Return a hook for `Journal.change` that reserves again for a job which is sent now.

    A job that was never sent counts nothing, so others may have used up the month meanwhile. It
    raises `BudgetError` when a limit of the present month would be exceeded.
    """

    def hook(cursor: sqlite3.Cursor, snapshot: JobSnapshot) -> None:
        row = cursor.execute(
            "SELECT * FROM reservations WHERE job_id = ?", (snapshot.id,)
        ).fetchone()
        if row is None:
            return
        amount, now = from_row(row).usd, clock()
        check_limits(
            cursor, limits(), now, amount, "job", being_sent=being_sent, excluding=snapshot.id
        )
        cursor.execute(
            "UPDATE reservations SET month = ? WHERE job_id = ?", (month_of(now), snapshot.id)
        )

    return hook


class Reservations:
    """The reservations of a journal, and what its jobs count for in a month."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    # --- reading ---

    def all(self) -> list[tuple[JobSnapshot | UnreadableJob, Reservation | None]]:
        """Return every job with its reservation, newest first; None for jobs older than budgets.

        Jobs that cannot be read are the last.
        """
        found = {}
        for row in self.journal.read("SELECT * FROM reservations"):
            found[row["job_id"]] = from_row(row)
        unreadable: list[UnreadableJob] = []
        jobs = self.journal.list(unreadable=unreadable)
        every: list[JobSnapshot | UnreadableJob] = [*jobs, *unreadable]
        return [(job, found.get(job.id)) for job in every]

    def get(self, job_id: str) -> Reservation | None:
        """Return the reservation of one job, if there is one."""
        rows = self.journal.read("SELECT * FROM reservations WHERE job_id = ?", (job_id,))
        return from_row(rows[0]) if rows else None

    def capped(self) -> list[tuple[JobSnapshot, Reservation]]:
        """Return the running jobs that are billed by the hour and have a cap.

        A job that cannot be read is logged, since nobody can watch its cap.
        """
        rows = self.journal.read("SELECT r.*, j.id, j.provider, j.status, j.snapshot" + CAPPED)
        running: list[tuple[JobSnapshot, Reservation]] = []
        for job, found in with_jobs(rows):
            if not isinstance(job, JobSnapshot):
                _log.warning("the cap of job %s is not watched: %s", job.id, job.error().what)
            elif not job.status.is_final:
                running.append((job, found))
        return running

    def month(self, now: dt.datetime, profile: str | None = None) -> Month:
        """Return the totals of the calendar month of `now`, for all profiles or for one."""
        month, total = month_of(now), Month()
        for job, reservation in with_jobs(self.journal.read(IN_MONTH, (month, profile, profile))):
            total = total.plus(self.charge(job, reservation, now))
        unreadable: list[StoreError] = []
        leases = Leases(self.journal).list(unreadable=unreadable)
        for _ in unreadable:
            total = total.plus(Charge(None, False, "its lease cannot be read"))
        for lease in leases:
            until = lease.closed_at or max(lease.ends_at, now)
            in_month = month_of(lease.started_at) <= month <= month_of(until)
            if in_month and profile in (None, lease.profile):
                whole, so_far = lease.charge(now, month), lease.cost(now, month)
                total = total.plus(Charge(so_far, True, "so far"))
                if whole is not None and so_far is not None:
                    total = total.plus(Charge(whole - so_far, False, "until its lease ends"))
        return self._with_chats(total, month, profile)

    def _with_chats(self, total: Month, month: str, profile: str | None) -> Month:
        rows = self.journal.read(
            "SELECT spent, held, unknown FROM chats WHERE month = ? AND (? IS NULL OR profile = ?)",
            (month, profile, profile),
        )
        for row in rows:
            total = total.plus(Charge(Decimal(row["spent"]), True, "tokens that were used"))
            total = total.plus(Charge(Decimal(row["held"]), False, "the rest of a run"))
            total = replace(total, unknown=total.unknown + bool(row["unknown"]))
        return total

    def spent(self, now: dt.datetime, profile: str | None = None) -> tuple[Decimal, int]:
        """Return the sum of the known charges in the month of `now`, and the number of unknown ones.

        The sum is in US dollars; jobs and deployments count.
        """
        total = self.month(now, profile)
        return total.spent + total.reserved, total.unknown

    def charge(
        self, job: JobSnapshot | UnreadableJob, reservation: Reservation | None, now: dt.datetime
    ) -> Charge:
        """Return what a job of this journal counts for in its month."""
        return charge_for(job, reservation, now, being_sent=self._is_being_sent(job))

    def _is_being_sent(self, job: JobSnapshot | UnreadableJob) -> bool:
        return job.status is JobStatus.CREATED and self.journal.is_being_sent(job.id)

    # --- changing ---

    def settle(self, job_id: str, usd: Decimal, why: str) -> None:
        """Record what a job cost; this takes precedence over the estimate and the provider's bill.

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
                    f"There is no reservation for {job.id}: the job is older than budgets",
                    where=str(self.journal.path),
                    hint="`ftsdk costs` shows the cost that the provider reports",
                )

    def requote(
        self,
        job_id: str,
        quote: Cost,
        limits: Sequence[Limit],
        check: Callable[[Reservation], None],
    ) -> Reservation | None:
        """Reserve the provider's quote instead of the estimate, which is kept for comparison.

        Returns the new reservation, or None for a job without one. `check` is called with it inside
        the transaction. When `check` raises or a monthly limit is exceeded, the old reservation is
        kept. A quote without an amount exceeds every limit.
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
                cursor,
                limits,
                made,
                quote.high,
                "job",
                being_sent=self.journal.is_being_sent,
                excluding=job_id,
                month=found.month,
            )
            cursor.execute(
                "UPDATE reservations SET quoted = ?, quoted_source = ? WHERE job_id = ?",
                (to_text(found.quoted), found.quoted_source, job_id),
            )
            return found

    def set_cap(self, job_id: str, cap: Decimal | None) -> None:
        """Replace the cap of a job, in US dollars; None removes it."""
        with self.journal.write() as cursor:
            cursor.execute(
                "UPDATE reservations SET cap = ? WHERE job_id = ?", (to_text(cap), job_id)
            )

    def carry_over(
        self, job_id: str, now: dt.datetime, limits: Sequence[Limit], profile: str | None
    ) -> None:
        """Move the reservation of a job that was not accepted yet to the month of `now` and `profile`.

        A job that was never sent is checked against the limits in any case. Raises `BudgetError` when
        that month's limits would be exceeded; nothing is changed then.
        """
        with self.journal.write() as cursor:
            row = cursor.execute(
                "SELECT r.*, j.snapshot FROM reservations r JOIN jobs j ON j.id = r.job_id "
                "WHERE r.job_id = ? AND (r.month != ? OR r.profile IS NOT ? OR j.status = ?) "
                "AND j.provider_job_id IS NULL",
                (job_id, month_of(now), profile, JobStatus.CREATED.value),
            ).fetchone()
            if row is None:
                return
            self._check(cursor, limits, now, row)
            cursor.execute(
                "UPDATE reservations SET month = ?, profile = ? WHERE job_id = ?",
                (month_of(now), profile, job_id),
            )

    def _check(
        self, cursor: sqlite3.Cursor, limits: Sequence[Limit], now: dt.datetime, row: sqlite3.Row
    ) -> None:
        check_limits(
            cursor,
            limits,
            now,
            from_row(row).usd,
            "job",
            being_sent=self.journal.is_being_sent,
            excluding=row["job_id"],
        )

    def reopen(self, job_id: str, now: dt.datetime, limits: Sequence[Limit]) -> None:
        """Reserve again, in the month of `now`, for an ended job that is resumed.

        This clears a settled amount. Raises `BudgetError` when that month's limits would be
        exceeded; nothing is changed then.
        """
        with self.journal.write() as cursor:
            row = cursor.execute(
                "SELECT * FROM reservations WHERE job_id = ?", (job_id,)
            ).fetchone()
            if row is None:
                return
            self._check(cursor, limits, now, row)
            cursor.execute(
                "UPDATE reservations SET month = ?, settled = NULL, settled_why = NULL "
                "WHERE job_id = ?",
                (month_of(now), job_id),
            )
