"""Map Together's replies: status, job, result.

Works on the raw JSON, not on the SDK's types: those leave out `user_error`, rename every field that
begins with `model_`, and refuse what they do not know. Whatever is missing or unknown stays in
`raw`; nothing here raises for what a job says.

Sources: together 3.1.1 (2026-11-04), the OpenAPI text of 2026-04-28, docs.together.ai (2026-08).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ftsdk.backends.hosted.coerce import (
    as_count,
    as_number,
    as_text,
    as_time,
)
from ftsdk.types.cost import Cost
from ftsdk.types.events import Progress
from ftsdk.types.job import RemoteJob
from ftsdk.types.model import ModelHandle, ModelKind
from ftsdk.types.status import JobStatus

STATUSES: Mapping[str, JobStatus] = {
    "pending": JobStatus.QUEUED,
    "queued": JobStatus.QUEUED,
    "running": JobStatus.RUNNING,
    "compressing": JobStatus.FINALIZING,
    "uploading": JobStatus.FINALIZING,
    "completed": JobStatus.SUCCEEDED,
    "cancel_requested": JobStatus.CANCELLING,
    "cancelled": JobStatus.CANCELLED,
    "error": JobStatus.FAILED,
    "user_error": JobStatus.FAILED,
}
"""Together's ten statuses; any other is `unknown`, which is never final."""

_RESULT_FIELDS = ("model_object_id", "adapter_object_id", "model_output_name", "model_output_path")
_TAG = re.compile(r"(?:^|[^0-9a-z])(ft[0-9a-hjkmnp-tv-z]{12})(?![0-9a-z])")


def status_of(word: Any) -> JobStatus:
    """Return our status for Together's."""
    return STATUSES.get(str(word).lower(), JobStatus.UNKNOWN)


def has_result(data: Mapping[str, Any]) -> bool:
    """Whether the job names what it made."""
    return any(as_text(data.get(name)) for name in _RESULT_FIELDS)


def result_id(data: Mapping[str, Any]) -> str | None:
    """Return the result's id: that of the registry before the output name, merged before adapter.

    Deploying takes the registry's id, which is missing when the upload to the registry failed.
    """
    return next((v for name in _RESULT_FIELDS if (v := as_text(data.get(name)))), None)


def remote_job(data: Mapping[str, Any], *, message: str = "") -> RemoteJob:
    """Return a job object, whole or from a list. `message` is what its events say of a failure."""
    word = as_text(data.get("status")) or ""
    status = status_of(word)
    if status is JobStatus.SUCCEEDED and not has_result(data):
        # Completed, but without a result yet: a handle is never filled early.
        status = JobStatus.FINALIZING
    failed = status is JobStatus.FAILED
    if failed and not message:
        message = f"Together reports {word} without a reason"
    return RemoteJob(
        provider_job_id=as_text(data.get("id")) or "",
        status=status,
        raw_status=word,
        model=as_text(data.get("model")) or as_text(data.get("from_checkpoint")),
        tag=tag_of(data),
        message=message or _early_stop(data),
        error={"message": message, "kind": word} if failed else None,
        progress=progress_of(data),
        created_at=as_time(data.get("created_at")),
        finished_at=as_time(data.get("updated_at")) if status.is_final else None,
        trained_tokens=as_count(data.get("token_count")),
        result_model=result_id(data) if status is JobStatus.SUCCEEDED else None,
        raw=dict(data),
    )


def tag_of(data: Mapping[str, Any]) -> str | None:
    """Return the job's tag, from the suffix or from the output name, which contains it."""
    for name in ("suffix", "model_output_name"):
        found = _TAG.search((as_text(data.get(name)) or "").lower())
        if found is not None:
            return found.group(1)
    return None


def _early_stop(data: Mapping[str, Any]) -> str:
    if data.get("early_stopped") is not True:
        return ""
    step = as_count(data.get("early_stopping_best_step"))
    return "stopped early" if step is None else f"stopped early; best at step {step}"


def progress_of(data: Mapping[str, Any]) -> Progress | None:
    """Return steps where Together reports them, else epochs. Its `seconds_remaining` is to the next
    state.
    """
    total, done = as_count(data.get("total_steps")), as_count(data.get("steps_completed"))
    epochs, of = as_number(data.get("epochs_completed")), as_number(data.get("n_epochs"))
    fraction = None
    if total and done is not None:
        fraction = min(1.0, done / total)
    elif of and epochs is not None:
        fraction = min(1.0, epochs / of)
    estimate = data.get("progress")
    eta = None
    if isinstance(estimate, Mapping) and estimate.get("estimate_available") is True:
        eta = as_number(estimate.get("seconds_remaining"))
    if fraction is None and eta is None:
        return None
    return Progress(
        fraction=fraction,
        step=done,
        total_steps=total,
        epoch=epochs,
        eta_s=eta if data.get("status") == "running" else None,
        trained_tokens=as_count(data.get("token_count")),
    )


def result_handle(data: Mapping[str, Any], *, hosting: Cost | None = None) -> ModelHandle:
    """Return the handle of a job with a result. It needs a dedicated endpoint to be called."""
    training = data.get("training_type")
    lora = training if isinstance(training, Mapping) and training.get("type") == "Lora" else None
    return ModelHandle(
        kind=ModelKind.NEEDS_DEPLOYMENT,
        provider="together",
        id=result_id(data) or "",
        base_model=as_text(data.get("model")) or "unknown",
        adapter=None
        if lora is None
        else {
            "rank": lora.get("lora_r"),
            "alpha": lora.get("lora_alpha"),
            "dropout": lora.get("lora_dropout"),
            "target_modules": lora.get("lora_trainable_modules"),
        },
        callable_now=False,
        running_cost=hosting or Cost(),
        raw=dict(data),
    )
