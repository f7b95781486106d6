"""Map Replicate's replies: status, training, result.

Works on the raw JSON: the SDK (1.0.7) refuses `aborted` and drops `metrics`, which has the billed
seconds. Sources: Replicate's OpenAPI text of 2026-03-16, docs of 2026-05.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ftsdk.backends.hosted.coerce import as_time
from ftsdk.backends.hosted.redact import scrub
from ftsdk.backends.replicate.logs import log_lines, progress_of
from ftsdk.types.cost import Cost
from ftsdk.types.job import RemoteJob
from ftsdk.types.model import ModelHandle, ModelKind
from ftsdk.types.status import JobStatus

STATUSES: Mapping[str, JobStatus] = {
    "starting": JobStatus.QUEUED,
    "processing": JobStatus.RUNNING,
    "succeeded": JobStatus.SUCCEEDED,
    "failed": JobStatus.FAILED,
    "canceled": JobStatus.CANCELLED,
    "aborted": JobStatus.CANCELLED,
}
"""Replicate's six statuses; any other is `unknown`. `aborted` ended before it started: nothing was
trained and nothing failed.
"""

TAG_FRAGMENT = "ftsdk="
_MESSAGE = 2_000
"""Characters of a reason that are kept."""
_TAG = re.compile(r"#ftsdk=(ft[0-9a-hjkmnp-tv-z]{12})(?![0-9a-z])")
_VERSION = re.compile(r"^[\w.-]+/[\w.-]+:[0-9a-zA-Z]{6,}$")


def status_of(word: Any) -> JobStatus:
    """Return our status for Replicate's."""
    return STATUSES.get(str(word).lower(), JobStatus.UNKNOWN)


def _output(data: Mapping[str, Any]) -> Mapping[str, Any]:
    output = data.get("output")
    return output if isinstance(output, Mapping) else {}


def version_of(data: Mapping[str, Any]) -> str | None:
    """Return the version that was made, `owner/name:hash`."""
    found = _output(data).get("version")
    return found if isinstance(found, str) and _VERSION.match(found) else None


def weights_of(data: Mapping[str, Any]) -> str | None:
    """Return the URL of the weights; their format is the trainer's choice."""
    output = data.get("output")
    found = output if isinstance(output, str) else _output(data).get("weights")
    return found if isinstance(found, str) and "://" in found else None


def tag_in(data: Mapping[str, Any]) -> str | None:
    """Return the job's tag, from the data URL in `input`."""
    given = data.get("input")
    if isinstance(given, Mapping):
        for value in given.values():
            found = _TAG.search(value) if isinstance(value, str) else None
            if found is not None:
                return found.group(1)
    return None


def remote_job(data: Mapping[str, Any], *, cost: Cost | None = None) -> RemoteJob:
    """Return a training as a `RemoteJob`."""
    word = data.get("status") if isinstance(data.get("status"), str) else ""
    status, message = status_of(word), ""
    has_result = version_of(data) is not None or weights_of(data) is not None
    if status is JobStatus.SUCCEEDED and not has_result:
        if data.get("data_removed") is True:
            message = "Replicate has removed the training's result"
        else:
            status = JobStatus.FINALIZING  # a handle is never filled early
    if status is JobStatus.FAILED:
        said = data.get("error")
        message = scrub(said, _MESSAGE) if said else "Replicate reports failed without a reason"
    elif word == "aborted":
        message = "Replicate ended it before it started"
    return RemoteJob(
        provider_job_id=data["id"] if isinstance(data.get("id"), str) else "",
        status=status,
        raw_status=str(word),
        model=_model(data),
        tag=tag_in(data),
        message=message,
        error={"message": message, "log_tail": [scrub(one, 500) for one in log_lines(data)[-10:]]}
        if status is JobStatus.FAILED
        else None,
        progress=progress_of(data),
        created_at=as_time(data.get("created_at")),
        started_at=as_time(data.get("started_at")),
        finished_at=as_time(data.get("completed_at")) if status.is_final else None,
        result_model=(version_of(data) or weights_of(data))
        if status is JobStatus.SUCCEEDED
        else None,
        cost=cost,
        raw=dict(data),
    )


def is_complete(job: RemoteJob) -> bool:
    """Whether a row of the list has everything about the job; of an ended one, also its cost.

    The documentation does not promise logs in the list; those of a failure are read separately.
    """
    if not job.status.is_final:
        return True
    metrics = job.raw.get("metrics")
    has_seconds = isinstance(metrics, Mapping) and "predict_time" in metrics
    has_logs = job.status is not JobStatus.FAILED or "logs" in job.raw
    return has_logs and (has_seconds or job.raw_status == "aborted")


def _model(data: Mapping[str, Any]) -> str | None:
    model, version = data.get("model"), data.get("version")
    if not isinstance(model, str) or not model:
        return None
    return f"{model}:{version}" if isinstance(version, str) and version else model


# --- money, result -------------------------------------------------------------------------------


def result_handle(data: Mapping[str, Any], *, hosting: Cost | None = None) -> ModelHandle | None:
    """Return the version, which can be called; or the weights alone; or None."""
    version, weights = version_of(data), weights_of(data)
    identity = version or weights
    if identity is None:
        return None
    return ModelHandle(
        kind=ModelKind.HOSTED if version else ModelKind.ADAPTER,
        provider="replicate",
        id=identity,
        base_model=_model(data) or "unknown",
        callable_now=version is not None,
        running_cost=hosting or Cost(),
        raw=dict(data),
    )
