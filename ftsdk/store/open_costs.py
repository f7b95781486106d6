"""What may cost money now: open deployments, and jobs that are billed by the hour under a cap."""

from __future__ import annotations

from ftsdk.store.journal import Journal
from ftsdk.store.leases import Leases
from ftsdk.store.reservations import Reservations


def profiles_with_costs(journal: Journal) -> list[str | None]:
    """The profiles under which something is deployed, or runs with a cap; None is no profile."""
    leases = {lease.profile for lease in Leases(journal).list(running=True)}
    jobs = {job.profile for job, _ in Reservations(journal).capped()}
    return sorted(leases | jobs, key=lambda name: name or "")
