"""The changes that a provider's response makes to a journaled job."""

from __future__ import annotations

from typing import Any

from ftsdk.types.job import JobSnapshot, RemoteJob


def updated_fields(snapshot: JobSnapshot, remote: RemoteJob) -> dict[str, Any]:
    """Return the snapshot fields to update from the provider's response, by name."""
    return {
        "provider_job_id": remote.provider_job_id,
        "earlier_ids": _earlier_ids(snapshot, remote),
        "status": remote.status,
        "raw_status": remote.raw_status,
        "message": remote.message,
        "error": remote.error,
        "progress": remote.progress or snapshot.progress,
        "cost": remote.cost or snapshot.cost,
        "trained_tokens": remote.trained_tokens or snapshot.trained_tokens,
        "result_model": remote.result_model or snapshot.result_model,
        "started_at": remote.started_at or snapshot.started_at,
        "finished_at": remote.finished_at or snapshot.finished_at,
    }


def _earlier_ids(snapshot: JobSnapshot, remote: RemoteJob) -> tuple[str, ...]:
    """Return the provider's ids before the current one, oldest first, without repeats."""
    known = (*snapshot.earlier_ids, snapshot.provider_job_id, *remote.earlier_ids)
    return tuple(dict.fromkeys(name for name in known if name and name != remote.provider_job_id))
