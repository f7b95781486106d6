"""Map a run's events, metrics and checkpoints.

Works on the raw JSON, as `job_mapping` does; an unknown type or field stays in `data` and `raw`.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ftsdk.backends.hosted.coerce import as_count, as_instant, as_number, as_text, as_time
from ftsdk.backends.hosted.redact import scrub
from ftsdk.types.events import Checkpoint, Event, MetricPoint

_JOB_ID = re.compile(r"\bft-[0-9A-Za-z-]{6,64}\b")
_FIRST = dt.datetime.fromtimestamp(0, dt.UTC)

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
    """Return the type in lower case, as the API writes it; the SDK's list has capitals."""
    word = (as_text(data.get("type")) or "").lower()
    return _ALIASES.get(word, word)


def events_of(rows: Iterable[Any], job_id: str, *, first_seq: int = 1) -> list[Event]:
    """Return the events, oldest first, numbered from `first_seq`.

    Together gives no event id and no cursor: an event is identified by its `hash`, else by time,
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
    """Return what the events say of a failure: the last error, else the last error-level line."""
    said = [row for row in rows if isinstance(row, Mapping) and as_text(row.get("message"))]
    said.sort(key=lambda row: as_time(row.get("created_at")) or _FIRST)
    failures = [row for row in said if event_type(row) in _FAILURES]
    errors = [row for row in said if (as_text(row.get("level")) or "").lower().endswith("error")]
    found = failures or errors
    return scrub(found[-1]["message"], _MESSAGE) if found else ""


_BEFORE_TRAINING = frozenset(
    {
        "job_pending", "job_start", "job_stopped", "cancel_requested", "warning", "refund",
        "model_downloading", "model_download_complete", "training_data_downloading",
        "training_data_download_complete", "validation_data_downloading",
        "validation_data_download_complete", "wandb_init", "tokenized_dataset_upload_complete",
    }
)  # fmt: skip


def never_trained(rows: Iterable[Any]) -> bool:
    """Whether the events, from the job's first on, show that training did not start."""
    types = {event_type(row) for row in rows if isinstance(row, Mapping)}
    return "job_pending" in types and types <= _BEFORE_TRAINING


def was_restarted(rows: Iterable[Any]) -> bool:
    """Whether the platform restarted the job, which it does under a new id."""
    return any(isinstance(row, Mapping) and event_type(row) == "job_restarted" for row in rows)


def successor_in(rows: Iterable[Any], job_id: str) -> str | None:
    """Return the id of the job that took over, where the `job_restarted` event names it."""
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
    """Return the curve by step. Training and evaluation are separate rows and are joined here."""
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
        for theirs, ours in _METRICS.items():
            value = as_number(row.get(theirs))
            if value is not None:
                point[ours] = value
        nanoseconds = as_number(row.get("timestamp"))
        if nanoseconds is not None:
            point["time"] = as_instant(nanoseconds / 1e9)
    return [MetricPoint.model_validate(points[step]) for step in sorted(points)]


def checkpoints_of(rows: Iterable[Any], job_id: str) -> list[Checkpoint]:
    """Return the checkpoints, oldest first; the id is what `from_checkpoint` takes.

    A LoRA job lists its final state twice, merged and as an adapter: that is one checkpoint, with
    both in `raw["artifacts"]`.
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
            model_id=next((name for one in found if (name := as_text(one.get("object_id")))), None),
            raw={**found[0], "artifacts": [dict(one) for one in found]},
        )
        for step, found in sorted(by_step.items())
    ]
