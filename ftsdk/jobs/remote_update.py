"""What a provider's answer changes in the journal."""

from __future__ import annotations

from typing import Any

from ftsdk.types.job import JobSnapshot, RemoteJob


def updated_fields(snapshot: JobSnapshot, remote: RemoteJob) -> dict[str, Any]:
    """The fields of a snapshot that the provider's answer changes, by name."""
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
        "started_at": remote.started_at or snapshot.started_at,
        "finished_at": remote.finished_at or snapshot.finished_at,
    }


def _earlier_ids(snapshot: JobSnapshot, remote: RemoteJob) -> tuple[str, ...]:
    """The ids of the provider's job before its present one, oldest first, each once."""
    known = (*snapshot.earlier_ids, snapshot.provider_job_id, *remote.earlier_ids)
    return tuple(dict.fromkeys(one for one in known if one and one != remote.provider_job_id))
