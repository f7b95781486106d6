"""Map OpenAI's job object to a `RemoteJob`; one table of statuses, nothing taken for granted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftsdk.backends.hosted import scrub, unexpected_response
from ftsdk.backends.hosted.coerce import as_count, as_instant
from ftsdk.backends.openai.profiles import Profile
from ftsdk.types.job import FileRole, RemoteJob
from ftsdk.types.status import JobStatus

TAG_KEY = "ftsdk_submission"
"""The key of the job's tag in its `metadata`."""

STATUSES: Mapping[str, JobStatus] = {
    "validating_files": JobStatus.VALIDATING,
    "pending": JobStatus.QUEUED,
    "notrunning": JobStatus.QUEUED,
    "created": JobStatus.QUEUED,
    "queued": JobStatus.QUEUED,
    "running": JobStatus.RUNNING,
    "pausing": JobStatus.RUNNING,
    "paused": JobStatus.PAUSED,
    "resuming": JobStatus.QUEUED,
    "succeeded": JobStatus.SUCCEEDED,
    "failed": JobStatus.FAILED,
    "cancelling": JobStatus.CANCELLING,
    "canceling": JobStatus.CANCELLING,
    "cancelled": JobStatus.CANCELLED,
    "canceled": JobStatus.CANCELLED,
}
"""Every raw status seen at OpenAI and Azure (schema of 2026-08-21, its pause example, Microsoft's
azd client @ae35809f). Any other is `unknown`, which is never final.
"""


def status_of(raw: Mapping[str, Any], profile: Profile) -> JobStatus:
    """Return the job's status. `succeeded` means that the result exists."""
    word = raw.get("status")
    status = STATUSES.get(word.lower(), JobStatus.UNKNOWN) if isinstance(word, str) else None
    if status is None:
        return JobStatus.UNKNOWN
    if status is JobStatus.SUCCEEDED and profile.result != "adapter" and not result_of(raw):
        return JobStatus.FINALIZING
    return status


def result_of(raw: Mapping[str, Any]) -> str | None:
    """Return the tuned model's name, once the provider gives one."""
    name = raw.get("fine_tuned_model")
    return name if isinstance(name, str) and name.strip() else None


def files_of(raw: Mapping[str, Any]) -> dict[str, FileRole]:
    """Return the files that a job names, in the order training, validation, results."""
    results = raw.get("result_files")
    named: list[tuple[Any, FileRole]] = [
        (raw.get("training_file"), "training"),
        (raw.get("validation_file"), "validation"),
        *((one, "result") for one in (results if isinstance(results, list) else ())),
    ]
    found: dict[str, FileRole] = {}
    for file_id, role in named:
        if isinstance(file_id, str) and file_id:
            found.setdefault(file_id, role)
    return found


def remote_job(
    raw: Mapping[str, Any], profile: Profile, *, action: str, asked_for: str | None = None
) -> RemoteJob:
    """Return a job object as a `RemoteJob`.

    Raises `UnexpectedResponse` for an id of another shape, or of another job than `asked_for`.
    """
    identity = raw.get("id")
    if not isinstance(identity, str) or not profile.id_ok(identity):
        raise unexpected_response(profile.title, action, "it has no job id of the right shape")
    if asked_for is not None and identity != asked_for:
        raise unexpected_response(profile.title, action, "it is about another job")
    error = error_of(raw)
    finished = as_instant(raw.get("finished_at"))
    status = status_of(raw, profile)
    model = raw.get("model")
    return RemoteJob(
        provider_job_id=identity,
        status=status,
        raw_status=str(raw.get("status") or ""),
        model=model if isinstance(model, str) else None,
        tag=tag_of(raw),
        message="" if error is None else str(error.get("message", "")),
        error=error,
        created_at=as_instant(raw.get("created_at")),
        finished_at=finished if status.is_final else None,
        trained_tokens=as_count(raw.get("trained_tokens")),
        result_model=result_of(raw),
        raw=dict(raw),
    )


def tag_of(raw: Mapping[str, Any]) -> str | None:
    """Return the job's tag, from its metadata."""
    metadata = raw.get("metadata")
    tag = metadata.get(TAG_KEY) if isinstance(metadata, Mapping) else None
    return tag if isinstance(tag, str) else None


def error_of(raw: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the job's error; None for null, `{}` and an object of nulls (Azure's "no error")."""
    error = raw.get("error")
    if isinstance(error, str) and error:
        return {"message": scrub(error)}
    if not isinstance(error, Mapping):
        return None
    kept = {key: scrub(value) for key, value in error.items() if isinstance(value, str) and value}
    return kept or None
