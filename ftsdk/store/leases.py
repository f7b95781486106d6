"""Deployments on a lease: written down before they are asked for, so that none runs unseen."""

from __future__ import annotations

import datetime as dt
import sqlite3
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from ftsdk.store.journal import Journal

__all__ = ["Lease", "Leases"]

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
    deployment_id: str | None = None
    usd_per_hour: Decimal | None = None
    closed_at: dt.datetime | None = None
    why: str = ""

    def is_over(self, now: dt.datetime) -> bool:
        """True when it should no longer stand."""
        return self.state != "closed" and self.ends_at <= now

    def cost(self, now: dt.datetime) -> Decimal | None:
        """What it has cost so far, in US dollars; None where the price is not known."""
        if self.usd_per_hour is None:
            return None
        seconds = ((self.closed_at or now) - self.started_at).total_seconds()
        return self.usd_per_hour * Decimal(str(max(0.0, seconds))) / 3600


class Leases:
    """The leases of a journal."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    def begin(self, lease: Lease) -> None:
        """Write a lease down as `opening`, before anything is asked of the provider."""
        with self.journal.write() as cursor:
            cursor.execute(
                "INSERT INTO leases (id, job_id, provider, model, deployment_id, usd_per_hour, "
                "state, started_at, ends_at, why) VALUES (?, ?, ?, ?, ?, ?, 'opening', ?, ?, '')",
                (
                    lease.id,
                    lease.job_id,
                    lease.provider,
                    lease.model,
                    lease.deployment_id,
                    None if lease.usd_per_hour is None else f"{lease.usd_per_hour:f}",
                    lease.started_at.isoformat(),
                    lease.ends_at.isoformat(),
                ),
            )

    def opened(self, lease_id: str, deployment_id: str) -> Lease:
        """The provider has it, under this id."""
        return self._set(lease_id, "state = 'open', deployment_id = ?", (deployment_id,))

    def extend(self, lease_id: str, ends_at: dt.datetime) -> Lease:
        """Let it stand until `ends_at`; a closed one stays closed."""
        return self._set(lease_id, "ends_at = ?", (ends_at.isoformat(),))

    def closed(self, lease_id: str, now: dt.datetime, why: str) -> Lease:
        """It no longer stands; closing twice keeps the first time and reason."""
        return self._set(
            lease_id, "state = 'closed', closed_at = ?, why = ?", (now.isoformat(), why)
        )

    def troubled(self, lease_id: str, why: str) -> Lease:
        """Closing it did not work, for this reason."""
        return self._set(lease_id, "why = ?", (why,))

    def _set(self, lease_id: str, change: str, values: tuple[str, ...]) -> Lease:
        with self.journal.write() as cursor:
            cursor.execute(
                f"UPDATE leases SET {change} WHERE id = ? AND state != 'closed'",  # noqa: S608  # our own words
                (*values, lease_id),
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
        deployment_id=row["deployment_id"],
        usd_per_hour=None if price is None else Decimal(price),
        closed_at=None if closed is None else dt.datetime.fromisoformat(closed),
        why=row["why"],
    )
