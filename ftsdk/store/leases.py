"""Leases of deployments, recorded before the provider is asked, so that none runs unrecorded."""

from __future__ import annotations

import builtins
import datetime as dt
import logging
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Literal

from ftsdk.errors import StoreError
from ftsdk.store.accounting import month_bounds
from ftsdk.store.journal import Journal

_log = logging.getLogger("ftsdk")

LeaseState = Literal["opening", "open", "closed"]


@dataclass(frozen=True)
class Lease:
    """One deployment and when its lease ends.

    State `opening` means that the deployment was requested and no answer was recorded: it may be
    running. `why` is the reason it was closed, or the error that kept it from being closed.
    """

    id: str
    provider: str
    model: str
    started_at: dt.datetime
    ends_at: dt.datetime
    state: LeaseState = "opening"
    job_id: str | None = None
    profile: str | None = None
    deployment_id: str | None = None
    usd_per_hour: Decimal | None = None
    closed_at: dt.datetime | None = None
    why: str = ""

    def is_over(self, now: dt.datetime) -> bool:
        """Return True when the deployment should have been ended by now."""
        return self.state != "closed" and self.ends_at <= now

    def cost(self, now: dt.datetime, month: str | None = None) -> Decimal | None:
        """Return what it has cost so far, in US dollars; None where the price is not known.

        With `month` (`2026-11`, UTC), only its hours in that calendar month.
        """
        return self._until(self.closed_at or now, month)

    def charge(self, now: dt.datetime, month: str | None = None) -> Decimal | None:
        """Return what it counts for in a budget: its whole lease while open, its real time once closed.

        With `month`, only its hours in that calendar month.
        """
        return self._until(self.closed_at or max(self.ends_at, now), month)

    def _until(self, end: dt.datetime, month: str | None) -> Decimal | None:
        if self.usd_per_hour is None:
            return None
        start = self.started_at
        if month is not None:
            first, after = month_bounds(month)
            start, end = max(start, first), min(end, after)
        seconds = max(0.0, (end - start).total_seconds())
        return (self.usd_per_hour * Decimal(str(seconds)) / 3600).quantize(Decimal("0.000001"))


class Leases:
    """The leases of a journal."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    def add(self, lease: Lease, check: Callable[[sqlite3.Cursor], None] | None = None) -> None:
        """Record a lease as `opening`, before the provider is asked.

        `check` runs in the same transaction; when it raises, nothing is written.
        """
        with self.journal.write() as cursor:
            if check is not None:
                check(cursor)
            cursor.execute(
                "INSERT INTO leases (id, job_id, profile, provider, model, deployment_id, "
                "usd_per_hour, state, started_at, ends_at, why) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, 'opening', ?, ?, '')",
                (
                    lease.id,
                    lease.job_id,
                    lease.profile,
                    lease.provider,
                    lease.model,
                    lease.deployment_id,
                    None if lease.usd_per_hour is None else f"{lease.usd_per_hour:f}",
                    lease.started_at.astimezone(dt.UTC).isoformat(),
                    lease.ends_at.astimezone(dt.UTC).isoformat(),
                ),
            )

    def mark_open(self, lease_id: str, deployment_id: str) -> Lease:
        """Record that the provider has the deployment, under this id."""
        return self._change(lease_id, state="open", deployment_id=deployment_id, why="")

    def extend(
        self,
        lease_id: str,
        ends_at: dt.datetime,
        check: Callable[[sqlite3.Cursor], None] | None = None,
    ) -> Lease:
        """Extend a lease to `ends_at`; a closed one stays closed.

        `check` runs in the same transaction; when it raises, nothing is written.
        """
        return self._change(lease_id, check, ends_at=ends_at.astimezone(dt.UTC).isoformat())

    def mark_closed(self, lease_id: str, now: dt.datetime, why: str) -> Lease:
        """Record that the deployment has ended; a second call keeps the first time and reason."""
        return self._change(lease_id, state="closed", closed_at=now.isoformat(), why=why)

    def record_failure(self, lease_id: str, why: str) -> Lease:
        """Record why ending the deployment failed."""
        return self._change(lease_id, why=why)

    def _change(
        self, lease_id: str, check: Callable[[sqlite3.Cursor], None] | None = None, **new: str
    ) -> Lease:
        """Change the given columns; a closed lease stays as it is."""
        names = ("state", "deployment_id", "ends_at", "closed_at", "why")
        with self.journal.write() as cursor:
            if check is not None:
                check(cursor)
            cursor.execute(
                "UPDATE leases SET state = coalesce(?, state), "
                "deployment_id = coalesce(?, deployment_id), ends_at = coalesce(?, ends_at), "
                "closed_at = coalesce(?, closed_at), why = coalesce(?, why) "
                "WHERE id = ? AND state != 'closed'",
                (*(new.get(name) for name in names), lease_id),
            )
            row = cursor.execute("SELECT * FROM leases WHERE id = ?", (lease_id,)).fetchone()
        return _lease(row)

    def list(
        self, *, running: bool = False, unreadable: builtins.list[StoreError] | None = None
    ) -> list[Lease]:
        """Return all leases, or only those that are not closed, by end time.

        The error of a lease that cannot be read is appended to `unreadable`; without that list it is
        logged as a warning.
        """
        rows = self.journal.read(
            "SELECT * FROM leases WHERE ? = 0 OR state != 'closed' ORDER BY ends_at, id",
            (int(running),),
        )
        found = builtins.list[Lease]()
        for row in rows:
            try:
                found.append(_lease(row))
            except StoreError as error:
                if unreadable is None:
                    _log.warning("%s; it may cost money", error.what)
                else:
                    unreadable.append(error)
        return found


def leases_in_month(cursor: sqlite3.Cursor, month: str, profile: str | None) -> list[Lease]:
    """Return the leases that were or may be running in `month`: all, or those of one profile."""
    rows = cursor.execute(
        "SELECT * FROM leases WHERE substr(started_at, 1, 7) <= ? "
        "AND (state != 'closed' OR substr(closed_at, 1, 7) >= ?) AND (? IS NULL OR profile = ?)",
        (month, month, profile, profile),
    ).fetchall()
    return [_lease(row) for row in rows]


def _lease(row: sqlite3.Row) -> Lease:
    try:
        return _parsed(row)
    except (ValueError, InvalidOperation) as error:
        raise StoreError(
            f"The journal's lease {row['id']} cannot be read: {error}",
            where=f"{row['provider']}, {row['model']}",
            hint="undeploy it on the provider's site if it still runs",
        ) from error


def _parsed(row: sqlite3.Row) -> Lease:
    closed = row["closed_at"]
    price = row["usd_per_hour"]
    return Lease(
        id=row["id"],
        provider=row["provider"],
        model=row["model"],
        started_at=dt.datetime.fromisoformat(row["started_at"]),
        ends_at=dt.datetime.fromisoformat(row["ends_at"]),
        state=row["state"],
        job_id=row["job_id"],
        profile=row["profile"],
        deployment_id=row["deployment_id"],
        usd_per_hour=None if price is None else Decimal(price),
        closed_at=None if closed is None else dt.datetime.fromisoformat(closed),
        why=row["why"],
    )
