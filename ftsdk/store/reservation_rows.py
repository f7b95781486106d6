"""Read and write reservations as database rows."""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

from ftsdk.errors import StoreError
from ftsdk.store.accounting import Reservation
from ftsdk.store.job_rows import UnreadableJob, read_or_report
from ftsdk.types.cost import Cost, CostBasis
from ftsdk.types.job import JobSnapshot

IN_MONTH = (
    "SELECT r.*, j.id, j.provider, j.status, j.snapshot FROM reservations r "
    "JOIN jobs j ON j.id = r.job_id WHERE r.month = ? AND (? IS NULL OR r.profile = ?)"
)


def insert(cursor: sqlite3.Cursor, reservation: Reservation, now: dt.datetime) -> None:
    """Insert a new reservation."""
    cursor.execute(
        "INSERT INTO reservations (job_id, month, profile, low, high, basis, source, usd_per_hour, "
        "cap, failed_is_free, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            reservation.job_id,
            reservation.month,
            reservation.profile,
            to_text(reservation.cost.low),
            to_text(reservation.cost.high),
            reservation.cost.basis.value,
            reservation.cost.source,
            to_text(reservation.usd_per_hour),
            to_text(reservation.cap),
            int(reservation.failed_is_free),
            now.isoformat(),
        ),
    )


def reservations_in_month(
    cursor: sqlite3.Cursor, month: str, profile: str | None
) -> list[tuple[JobSnapshot | UnreadableJob, Reservation]]:
    """Return the jobs of a calendar month with their reservations: all, or those of one profile."""
    return with_jobs(cursor.execute(IN_MONTH, (month, profile, profile)).fetchall())


def with_jobs(
    rows: Sequence[sqlite3.Row],
) -> list[tuple[JobSnapshot | UnreadableJob, Reservation]]:
    """Parse rows that have columns of `jobs` beside the reservation."""
    return [(read_or_report(row), from_row(row)) for row in rows]


def from_row(row: sqlite3.Row) -> Reservation:
    """Parse one row of `reservations`. Raises `StoreError`, which names the job."""
    try:
        return _from_row(row)
    except (ValueError, InvalidOperation) as error:
        raise StoreError(
            f"The journal's reservation of job {row['job_id']} cannot be read: {error}",
            hint="a newer ftsdk may have written it: pip install -U ftsdk",
            job_id=row["job_id"],
        ) from error


def _from_row(row: sqlite3.Row) -> Reservation:
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


def to_text(value: Decimal | None) -> str | None:
    """Format an amount for the database."""
    return None if value is None else f"{value:f}"


def _decimal(value: str | None) -> Decimal | None:
    return None if value is None else Decimal(value)
