"""Together's answers in our words: status, job, events, metrics, checkpoints.

Works on the raw JSON, not on the SDK's types: those leave out `user_error`, rename every field that
begins with `model_`, and refuse what they do not know. Whatever is missing or odd stays in `raw`;
nothing here raises for what a job says.

Sources: together 3.1.1 (2026-11-04), the OpenAPI text of 2026-04-28, docs.together.ai (2026-08).
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ftsdk.backends.hosted.redact import scrub
from ftsdk.backends.hosted.values import (
    as_count,
    as_decimal,
    as_instant,
    as_number,
    as_text,
    as_time,
)
from ftsdk.records import (
    Checkpoint,
    Cost,
    CostBasis,
    Event,
    JobStatus,
    MetricPoint,
    ModelHandle,
    ModelKind,
    Progress,
    RemoteJob,
)

__all__ = [
    "STATUSES",
    "checkpoints_of",
    "events_of",
    "has_result",
    "metrics_of",
    "quoted_cost",
    "remote_job",
    "result_handle",
    "result_id",
    "status_of",
    "successor_in",
]

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
"""Together's ten words; any other is `unknown`, which is never final."""

_RESULT_FIELDS = ("model_object_id", "adapter_object_id", "model_output_name", "model_output_path")
_JOB_ID = re.compile(r"\bft-[0-9A-Za-z-]{6,64}\b")
_TAG = re.compile(r"(?:^|[^0-9a-z])(ft[0-9a-hjkmnp-tv-z]{12})(?![0-9a-z])")
_FIRST = dt.datetime.fromtimestamp(0, dt.UTC)


def status_of(word: Any) -> JobStatus:
    """Our status for Together's word."""
    return STATUSES.get(str(word).lower(), JobStatus.UNKNOWN)


def has_result(data: Mapping[str, Any]) -> bool:
    """True when the job names what it made."""
    return any(as_text(data.get(name)) for name in _RESULT_FIELDS)


def result_id(data: Mapping[str, Any]) -> str | None:
    """What the result is called: the registry's id before the output name, merged before adapter.

    Deploying takes the registry's id; it is missing when the upload to the registry failed.
    """
    return next((v for name in _RESULT_FIELDS if (v := as_text(data.get(name)))), None)


def remote_job(data: Mapping[str, Any], *, message: str = "") -> RemoteJob:
    """A job, whole or truncated. `message` is what its events say of a failure."""
    word = as_text(data.get("status")) or ""
    status = status_of(word)
    if status is JobStatus.SUCCEEDED and not has_result(data):
        # Said to be completed, but nothing is named yet: a handle is never filled early.
        status = JobStatus.FINALIZING
    failed = status is JobStatus.FAILED
    if failed and not message:
        message = f"Together says {word}, and no reason"
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
    """Our mark, from the suffix or from the output name, which contains it."""
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
    """Steps where Together tells them, else epochs. Its `seconds_remaining` is to the next state."""
    total, done = as_count(data.get("total_steps")), as_count(data.get("steps_completed"))
    epochs, of = as_number(data.get("epochs_completed")), as_number(data.get("n_epochs"))
    fraction = None
    if total and done is not None:
        fraction = min(1.0, done / total)
    elif of and epochs is not None:
        fraction = min(1.0, epochs / of)
    told = data.get("progress")
    eta = None
    if isinstance(told, Mapping) and told.get("estimate_available") is True:
        eta = as_number(told.get("seconds_remaining"))
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


# --- events ----------------------------------------------------------------------------------

_KINDS: Mapping[str, str] = {
    **dict.fromkeys(
        (
            "job_pending",
            "job_start",
            "job_stopped",
            "training_start",
            "training_complete",
            "job_complete",
            "cancel_requested",
            "job_restarted",
            "early_stopped",
        ),
        "status",
    ),
    **dict.fromkeys(("epoch_complete", "eval_complete"), "progress"),
    "checkpoint_save": "checkpoint",
    **dict.fromkeys(("billing_limit", "warning"), "warning"),
    **dict.fromkeys(("job_error", "job_user_error"), "error"),
}
_MESSAGE = 2_000
"""Characters of a reason that are kept."""
_ALIASES = {"compressing_model": "model_compressing"}
_FAILURES = ("job_error", "job_user_error", "billing_limit")


def event_type(data: Mapping[str, Any]) -> str:
    """The type in lower case: the API writes it so, the SDK's own list has it in capitals."""
    word = (as_text(data.get("type")) or "").lower()
    return _ALIASES.get(word, word)


def events_of(rows: Iterable[Any], job_id: str, *, first_seq: int = 1) -> list[Event]:
    """Events oldest first, numbered from `first_seq`.

    Together gives no event id and no cursor: the same event is known by its `hash`, else by time,
    type and message.
    """
    unique: dict[tuple[str, ...], Mapping[str, Any]] = {}
    for row in rows:
        if isinstance(row, Mapping):
            unique.setdefault(_identity(row), row)
    ordered = sorted(unique.items(), key=lambda item: as_time(item[1].get("created_at")) or _FIRST)
    return [
        Event.model_validate(
            {
                "id": f"{job_id}:" + ":".join(identity)[:160],
                "seq": seq,
                "time": as_time(row.get("created_at")) or _FIRST,
                "kind": _kind(row),
                "message": as_text(row.get("message")) or event_type(row),
                "data": {k: v for k, v in row.items() if v is not None},
            }
        )
        for seq, (identity, row) in enumerate(ordered, first_seq)
    ]


def _identity(row: Mapping[str, Any]) -> tuple[str, ...]:
    digest = as_text(row.get("hash"))
    if digest:
        return (digest,)
    return tuple(str(row.get(name) or "") for name in ("created_at", "type", "message"))


def _kind(row: Mapping[str, Any]) -> str:
    known = _KINDS.get(event_type(row))
    if known is not None:
        return known
    level = (as_text(row.get("level")) or "").lower()
    if level.endswith("error"):
        return "error"
    return "warning" if level.endswith("warning") else "log"


def failure_message(rows: Iterable[Any]) -> str:
    """What the events say of a failure: the last error, else the last thing said at that level."""
    said = [row for row in rows if isinstance(row, Mapping) and as_text(row.get("message"))]
    said.sort(key=lambda row: as_time(row.get("created_at")) or _FIRST)
    failures = [row for row in said if event_type(row) in _FAILURES]
    errors = [row for row in said if (as_text(row.get("level")) or "").lower().endswith("error")]
    found = failures or errors
    return scrub(found[-1]["message"], _MESSAGE) if found else ""


def was_restarted(rows: Iterable[Any]) -> bool:
    """True when the platform restarted the job, which it does under a new id."""
    return any(isinstance(row, Mapping) and event_type(row) == "job_restarted" for row in rows)


def successor_in(rows: Iterable[Any], job_id: str) -> str | None:
    """The id of the job that took over, where the `job_restarted` event names it."""
    for row in rows:
        if isinstance(row, Mapping) and event_type(row) == "job_restarted":
            for found in _JOB_ID.findall(as_text(row.get("message")) or ""):
                if found != job_id:
                    return str(found)
    return None


# --- metrics, checkpoints --------------------------------------------------------------------

_METRICS = {
    "train/loss": "train_loss",
    "eval/loss": "validation_loss",
    "train/epoch": "epoch",
    "train/learning_rate": "learning_rate",
    "train/grad_norm": "grad_norm",
    "train/accuracy": "train_accuracy",
    "eval/accuracy": "validation_accuracy",
    "train/rewards/accuracies": "train_accuracy",
    "eval/rewards/accuracies": "validation_accuracy",
}


def metrics_of(rows: Iterable[Any]) -> list[MetricPoint]:
    """The curve by step. Training and evaluation come as rows of their own and are joined here."""
    points: dict[int, dict[str, Any]] = {}
    last = 0
    for row in rows:
        if not isinstance(row, Mapping):
            continue
        found = next(
            (
                s
                for name in ("train/global_step", "eval/global_step", "global_step", "step")
                if (s := as_count(row.get(name))) is not None
            ),
            None,
        )
        last = step = last if found is None else found
        point = points.setdefault(step, {"step": step, "raw": {}})
        point["raw"].update(row)
        for wire, ours in _METRICS.items():
            value = as_number(row.get(wire))
            if value is not None:
                point[ours] = value
        nanoseconds = as_number(row.get("timestamp"))
        if nanoseconds is not None:
            point["time"] = as_instant(nanoseconds / 1e9)
    return [MetricPoint.model_validate(points[step]) for step in sorted(points)]


def checkpoints_of(rows: Iterable[Any], job_id: str) -> list[Checkpoint]:
    """Checkpoints oldest first; the id is what `from_checkpoint` takes.

    A LoRA job lists its final state twice, merged and adapter: that is one checkpoint, and both
    stand in its `raw["artifacts"]`.
    """
    by_step: dict[int, list[Mapping[str, Any]]] = {}
    for row in rows:
        step = as_count(row.get("step")) if isinstance(row, Mapping) else None
        if step is not None:
            by_step.setdefault(step, []).append(row)
    return [
        Checkpoint(
            id=f"{job_id}:{step}",
            step=step,
            created_at=as_time(found[0].get("created_at")),
            model=next((name for one in found if (name := as_text(one.get("object_id")))), None),
            raw={**found[0], "artifacts": [dict(one) for one in found]},
        )
        for step, found in sorted(by_step.items())
    ]


# --- money, result ---------------------------------------------------------------------------


def quoted_cost(estimate: Mapping[str, Any], today: dt.date) -> Cost:
    """What `estimate-price` says, in US dollars."""
    price = as_decimal(estimate.get("estimated_total_price"))
    if estimate.get("estimation_available") is False or price is None:
        return Cost(
            source="Together gave no estimate: "
            + (as_text(estimate.get("unavailable_reason")) or "no reason"),
            as_of=today,
        )
    tokens = as_count(estimate.get("estimated_train_token_count"))
    return Cost(
        basis=CostBasis.QUOTED,
        low=price,
        high=price,
        source="Together, POST /v1/fine-tunes/estimate-price",
        as_of=today,
        assumptions=(
            "packing is on; without it rows × max_seq_length are billed",
            *(() if tokens is None else (f"{tokens} training tokens, all epochs",)),
        ),
    )


def result_handle(data: Mapping[str, Any], *, hosting: Cost | None = None) -> ModelHandle:
    """The handle of a job whose `has_result` is true. It needs a dedicated endpoint to be called."""
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
