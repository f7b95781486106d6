"""Deployments on a lease: written down before they are asked for, so that none runs unseen."""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from ftsdk.store.accounting import month_bounds
from ftsdk.store.journal import Journal

__all__ = ["Lease", "Leases", "leases_of"]

LeaseState = Literal["opening", "open", "closed"]


@dataclass(frozen=True)
class Lease:
    """One deployment and until when it may stand.

    `opening` means that it was asked for and no answer was written down: it may run. `why` says
    why it is closed, or what kept it from closing.
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
        """True when it should no longer stand."""
        return self.state != "closed" and self.ends_at <= now

    def cost(self, now: dt.datetime, month: str | None = None) -> Decimal | None:
        """What it has cost so far, in US dollars; None where the price is not known.

        With `month` (`2026-11`, UTC), what its hours in that calendar month cost.
        """
        return self._until(self.closed_at or now, month)

    def charge(self, now: dt.datetime, month: str | None = None) -> Decimal | None:
        """What it counts for in a budget: its whole time while it is open, what it took once closed.

        With `month`, what its hours in that calendar month count for.
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

    def begin(self, lease: Lease, first: Callable[[sqlite3.Cursor], None] | None = None) -> None:
        """Write a lease down as `opening`, before anything is asked of the provider.

        `first` runs in the same transaction; when it raises, nothing is written.
        """
        with self.journal.write() as cursor:
            if first is not None:
                first(cursor)
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

    def opened(self, lease_id: str, deployment_id: str) -> Lease:
        """The provider has it, under this id."""
        return self._change(lease_id, state="open", deployment_id=deployment_id, why="")

    def extend(
        self,
        lease_id: str,
        ends_at: dt.datetime,
        first: Callable[[sqlite3.Cursor], None] | None = None,
    ) -> Lease:
        """Let it stand until `ends_at`; a closed one stays closed.

        `first` runs in the same transaction; when it raises, nothing is written.
        """
        return self._change(lease_id, first, ends_at=ends_at.astimezone(dt.UTC).isoformat())

    def closed(self, lease_id: str, now: dt.datetime, why: str) -> Lease:
        """It no longer stands; closing twice keeps the first time and reason."""
        return self._change(lease_id, state="closed", closed_at=now.isoformat(), why=why)

    def troubled(self, lease_id: str, why: str) -> Lease:
        """Closing it did not work, for this reason."""
        return self._change(lease_id, why=why)

    def _change(
        self, lease_id: str, first: Callable[[sqlite3.Cursor], None] | None = None, **new: str
    ) -> Lease:
        """Set what is given; a closed lease stays as it is."""
        names = ("state", "deployment_id", "ends_at", "closed_at", "why")
        with self.journal.write() as cursor:
            if first is not None:
                first(cursor)
            cursor.execute(
                "UPDATE leases SET state = coalesce(?, state), "
                "deployment_id = coalesce(?, deployment_id), ends_at = coalesce(?, ends_at), "
                "closed_at = coalesce(?, closed_at), why = coalesce(?, why) "
                "WHERE id = ? AND state != 'closed'",
                (*(new.get(name) for name in names), lease_id),
            )
            row = cursor.execute("SELECT * FROM leases WHERE id = ?", (lease_id,)).fetchone()
        return _lease(row)

    def list(self, *, running: bool = False) -> list[Lease]:
        """All leases, or those that are not closed; the one that ends first comes first."""
        rows = self.journal.read(
            "SELECT * FROM leases WHERE ? = 0 OR state != 'closed' ORDER BY ends_at, id",
            (int(running),),
        )
        return [_lease(row) for row in rows]


def leases_of(cursor: sqlite3.Cursor, month: str, profile: str | None) -> list[Lease]:
    """The leases that stood, or may stand, in `month`: all, or those of one profile."""
    rows = cursor.execute(
        "SELECT * FROM leases WHERE substr(started_at, 1, 7) <= ? "
        "AND (state != 'closed' OR substr(closed_at, 1, 7) >= ?) AND (? IS NULL OR profile = ?)",
        (month, month, profile, profile),
    ).fetchall()
    return [_lease(row) for row in rows]


def _lease(row: sqlite3.Row) -> Lease:
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
