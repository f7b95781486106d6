"""Our records as the objects of OpenAI's API."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from ftsdk.serve.problems import Problem
from ftsdk.types.answer import ChatAnswer, ChatChoice
from ftsdk.types.events import Checkpoint, Event
from ftsdk.types.job import JobSnapshot
from ftsdk.types.status import JobStatus

_Entry = TypeVar("_Entry")

STATUS: Mapping[JobStatus, str] = {
    JobStatus.CREATED: "queued",
    JobStatus.SUBMITTING: "queued",
    JobStatus.IN_DOUBT: "queued",
    JobStatus.VALIDATING: "validating_files",
    JobStatus.QUEUED: "queued",
    JobStatus.RUNNING: "running",
    JobStatus.FINALIZING: "running",
    JobStatus.PAUSED: "running",
    JobStatus.CANCELLING: "running",
    JobStatus.UNKNOWN: "running",
    JobStatus.SUCCEEDED: "succeeded",
    JobStatus.FAILED: "failed",
    JobStatus.CANCELLED: "cancelled",
}
"""OpenAI has six words for a status; ours is in the header `x-ftsdk-status`."""

_METHODS = {"sft": "supervised", "dpo": "dpo"}
_LEVELS = {"warning": "warn", "error": "error"}


def model_name(snapshot: JobSnapshot) -> str:
    """The name of a job's model in this API: `ft:BASE:ftsdk:NAME:JOB`."""
    name = (snapshot.name or "").replace(":", "-")
    return f"ft:{snapshot.model.replace(':', '-')}:ftsdk:{name}:{snapshot.id}"


def job_document(snapshot: JobSnapshot, files: Mapping[str, Any]) -> dict[str, Any]:
    """A `fine_tuning.job`. `files` are the ids of the files that it was created from."""
    given = snapshot.spec.get("hyperparameters") or {}
    hyperparameters = {
        "n_epochs": given.get("epochs") or "auto",
        "batch_size": given.get("batch_size") or "auto",
        "learning_rate_multiplier": given.get("learning_rate_multiplier") or "auto",
    }
    method = _METHODS.get(snapshot.method, snapshot.method)
    error = None
    if snapshot.error is not None:
        error = {
            "code": str(snapshot.error.get("code") or "error"),
            "message": str(snapshot.error.get("what") or ""),
            "param": None,
        }
    succeeded = snapshot.status is JobStatus.SUCCEEDED
    return {
        "id": snapshot.id,
        "object": "fine_tuning.job",
        "created_at": int(snapshot.created_at.timestamp()),
        "finished_at": _seconds(snapshot.finished_at),
        "estimated_finish": None,
        "model": snapshot.model,
        "fine_tuned_model": model_name(snapshot) if succeeded else None,
        "organization_id": snapshot.provider,
        "status": STATUS[snapshot.status],
        "error": error,
        "hyperparameters": hyperparameters,
        "method": {"type": method, method: {"hyperparameters": hyperparameters}},
        "training_file": files.get("training_file") or "",
        "validation_file": files.get("validation_file"),
        "result_files": [],
        "trained_tokens": snapshot.trained_tokens,
        "seed": snapshot.spec.get("seed") or 0,
        "integrations": [],
        "metadata": dict(snapshot.tags),
    }


def _seconds(time: Any) -> int | None:
    return None if time is None else int(time.timestamp())


def event_document(event: Event) -> dict[str, Any]:
    """A `fine_tuning.job.event`."""
    return {
        "id": event.id,
        "object": "fine_tuning.job.event",
        "created_at": int(event.time.timestamp()),
        "level": _LEVELS.get(event.kind, "info"),
        "message": event.message or event.kind,
        "type": "metrics" if event.kind == "metric" else "message",
        "data": dict(event.data),
    }


def checkpoint_document(checkpoint: Checkpoint, snapshot: JobSnapshot) -> dict[str, Any]:
    """A `fine_tuning.job.checkpoint`."""
    metrics = {
        "step": checkpoint.step,
        "train_loss": checkpoint.train_loss,
        "valid_loss": checkpoint.validation_loss,
    }
    return {
        "id": checkpoint.id,
        "object": "fine_tuning.job.checkpoint",
        "created_at": _seconds(checkpoint.created_at) or int(snapshot.created_at.timestamp()),
        "fine_tuned_model_checkpoint": checkpoint.model_id
        or f"{model_name(snapshot)}:ckpt-step-{checkpoint.step}",
        "fine_tuning_job_id": snapshot.id,
        "step_number": checkpoint.step,
        "metrics": {name: value for name, value in metrics.items() if value is not None},
    }


def model_document(snapshot: JobSnapshot, name: str | None = None) -> dict[str, Any]:
    """A `model`."""
    ended = snapshot.finished_at or snapshot.created_at
    return {
        "id": name or model_name(snapshot),
        "object": "model",
        "created": int(ended.timestamp()),
        "owned_by": snapshot.provider,
    }


def page(
    found: Sequence[_Entry],
    document: Callable[[_Entry], Mapping[str, Any]],
    identity: Callable[[_Entry], str],
    *,
    after: str | None,
    limit: int,
) -> dict[str, Any]:
    """A page of a list: the entries behind the one with the id `after`, at most `limit`.

    Only these are made into documents. Raises `Problem` where the list has no such id.
    """
    start = 0
    if after is not None:
        start = next((k + 1 for k, one in enumerate(found) if identity(one) == after), -1)
    if start < 0:
        raise Problem(404, f"The list has no {after!r}.", code="not_found", param="after")
    rows = [dict(document(one)) for one in found[start : start + limit]]
    return {
        "object": "list",
        "data": rows,
        "first_id": rows[0]["id"] if rows else "",
        "last_id": rows[-1]["id"] if rows else "",
        "has_more": start + limit < len(found),
    }


# --- chat ---------------------------------------------------------------------------------------


def completion_document(
    answer: ChatAnswer, *, identity: str, created: int, model: str
) -> dict[str, Any]:
    """A `chat.completion`."""
    choices: list[dict[str, Any]] = [
        {
            "index": index,
            "message": {"refusal": choice.refusal, **choice.message, "role": "assistant"},
            "finish_reason": choice.finish_reason or "stop",
            "logprobs": choice.logprobs,
        }
        for index, choice in enumerate(answer.choices or (_first_choice(answer),))
    ]
    document = {
        "id": identity,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": choices,
        "usage": usage_document(answer),
    }
    if answer.fingerprint is not None:
        document["system_fingerprint"] = answer.fingerprint
    return document


def _first_choice(answer: ChatAnswer) -> ChatChoice:
    return ChatChoice(
        text=answer.text,
        message=answer.message,
        finish_reason=answer.finish_reason,
        refusal=answer.refusal,
    )


def usage_document(answer: ChatAnswer) -> dict[str, int]:
    """The tokens of a request and its answer; 0 where the provider does not count."""
    prompt = answer.usage.get("prompt_tokens", 0)
    completion = answer.usage.get("completion_tokens", 0)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def chunk_document(
    delta: Mapping[str, Any],
    *,
    identity: str,
    created: int,
    model: str,
    finish_reason: str | None = None,
) -> dict[str, Any]:
    """A `chat.completion.chunk`."""
    choice = {"index": 0, "delta": dict(delta), "finish_reason": finish_reason, "logprobs": None}
    return {
        "id": identity,
        "object": "chat.completion.chunk",
        "created": created,
        "model": model,
        "choices": [choice],
    }
