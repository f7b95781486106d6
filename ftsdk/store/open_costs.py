"""What may cost money now: open deployments, and jobs that are billed by the hour under a cap.

Only profiles are read, since every command that acts on jobs asks this before it starts.
"""

from __future__ import annotations

from ftsdk.store.journal import Journal
from ftsdk.types.status import JobStatus

_DEPLOYED = "SELECT DISTINCT profile FROM leases WHERE state != 'closed'"
CAPPED = (
    " FROM reservations r JOIN jobs j ON j.id = r.job_id "
    "WHERE r.cap IS NOT NULL AND r.usd_per_hour IS NOT NULL AND j.provider_job_id IS NOT NULL"
)
"""Which jobs are billed by the hour under a cap; one that has ended is known by its status."""
_PROFILES = "SELECT DISTINCT r.profile, j.status" + CAPPED
_FINAL = frozenset(status.value for status in JobStatus if status.is_final)


def profiles_with_costs(journal: Journal) -> list[str | None]:
    """Return the profiles under which something is deployed, or runs with a cap; None is no profile."""
    deployed = {row["profile"] for row in journal.read(_DEPLOYED)}
    capped = {row["profile"] for row in journal.read(_PROFILES) if row["status"] not in _FINAL}
    return sorted(deployed | capped, key=lambda name: name or "")
