"""A run directory in the types of every backend: job, events, metrics, checkpoints."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from ftsdk.backends.local.runs.files import read_json
from ftsdk.backends.local.runs.outcome import OUTCOME_FILE
from ftsdk.backends.local.runs.run_dir import CheckpointInfo, RunDir
from ftsdk.backends.local.runs.state import Phase, RunState
from ftsdk.errors import NotFound, StoreError
from ftsdk.types.cost import Cost
from ftsdk.types.events import Checkpoint, Event, MetricPoint, Progress
from ftsdk.types.job import RemoteJob
from ftsdk.types.status import JobStatus
from ftsdk.util.clock import parse_time
from ftsdk.util.ids import submission_tag

FREE = Cost(basis="billed", low=Decimal(0), high=Decimal(0), source="your own machine")
_STATUS_OF_PHASE: Mapping[Phase, JobStatus] = {
    "not_started": JobStatus.QUEUED,
    "starting": JobStatus.QUEUED,
    "validating": JobStatus.VALIDATING,
    "running": JobStatus.RUNNING,
    "finalizing": JobStatus.FINALIZING,
    "succeeded": JobStatus.SUCCEEDED,
    "failed": JobStatus.FAILED,
    "cancelled": JobStatus.CANCELLED,
    "interrupted": JobStatus.PAUSED,
}
_KINDS = frozenset({"status", "progress", "metric", "checkpoint", "log", "warning", "error"})


def remote_job(run: RunDir) -> RemoteJob:
    """The job in its present state."""
    state, spec = run.read_state(), run.spec
    status = _STATUS_OF_PHASE[state.phase]
    if state.cancelling and not status.is_final:
        status = JobStatus.CANCELLING
    outcome = dict(state.outcome or {})
    error = None
    if status is JobStatus.FAILED:
        error = {
            "message": state.message,
            "log_tail": list(outcome.get("log_tail", ())),
            **{k: outcome.get(k) for k in ("exit_code", "signal")},
            **dict(state.error or {}),
        }
    ended = outcome.get("finished_at")
    return RemoteJob(
        provider_job_id=spec.job_id,
        status=status,
        raw_status=state.phase,
        model=spec.base_model.name,
        tag=submission_tag(spec.job_id),
        message=_message(run, state),
        error=error,
        progress=_progress(state),
        created_at=spec.created_at,
        finished_at=parse_time(ended) if ended else None,
        trained_tokens=outcome.get("trained_tokens"),
        result_model=str(run.result_path) if status is JobStatus.SUCCEEDED else None,
        cost=FREE,
        raw={"run": str(run.path), "attempt": state.attempt, "outcome": outcome},
    )


def event_of(job_id: str, raw: Mapping[str, Any]) -> Event:
    """One line of the trainer's event log."""
    return Event(
        id=f"{job_id}:{raw['seq']}",
        seq=raw["seq"],
        time=parse_time(raw["time"]),
        kind=raw["kind"] if raw["kind"] in _KINDS else "log",
        message=_line(raw),
        data={k: v for k, v in raw.items() if k not in ("seq", "time", "kind")},
    )


def metric_points(events: Iterable[Mapping[str, Any]]) -> list[MetricPoint]:
    """The metrics by step; a step that a resumed run trained again replaces the earlier one."""
    merged: dict[int, dict[str, Any]] = {}
    for raw in events:
        if raw["kind"] == "metric":
            merged.setdefault(int(raw["step"]), {}).update(raw)
    return [_metric_point(raw) for _, raw in sorted(merged.items())]


_ACCURACIES = {
    "rewards/accuracies": "train_accuracy",
    "validation_rewards/accuracies": "validation_accuracy",
}
"""Metrics of preference methods that every backend has a name for."""


def _metric_point(raw: Mapping[str, Any]) -> MetricPoint:
    known = set(MetricPoint.model_fields) - {"raw"}
    named = {_ACCURACIES[k]: v for k, v in raw.items() if k in _ACCURACIES}
    others = {k: v for k, v in raw.items() if k not in known and k not in ("seq", "kind")}
    return MetricPoint(**{k: v for k, v in raw.items() if k in known}, **named, raw=others)


def checkpoint_of(job_id: str, info: CheckpointInfo) -> Checkpoint:
    """A checkpoint on disk."""
    return Checkpoint(
        id=f"{job_id}/step-{info.step}",
        step=info.step,
        path=info.path,
        created_at=parse_time(info.time) if info.time else None,
        raw={"size_bytes": info.size_bytes},
    )


def speed_of_run(path: Path, model: str) -> tuple[str, float] | None:
    """`(adapter kind, tokens per second)` of a run that succeeded on `model`; None for any other."""
    try:
        spec = RunDir(path).spec
        outcome = read_json(path / OUTCOME_FILE) or {}
    except (NotFound, StoreError, OSError, ValueError):  # no run, or one that is damaged
        return None
    seconds, tokens = outcome.get("train_s") or 0, outcome.get("trained_tokens") or 0
    if outcome.get("outcome") != "succeeded" or spec.base_model.name != model:
        return None
    if seconds <= 0 or tokens <= 0:
        return None
    return spec.adapter_kind, tokens / seconds


def _message(run: RunDir, state: RunState) -> str:
    if state.phase != "interrupted":
        return state.message
    kept = run.checkpoints()
    last = f"from step {kept[-1].step}" if kept else "from the beginning"
    return (
        "its trainer is gone and left no outcome (the machine was restarted, or all its processes "
        f"were killed); resume continues it {last}"
    )


def _progress(state: RunState) -> Progress | None:
    known = {k: v for k, v in state.progress.items() if k in Progress.model_fields}
    return Progress(**known) if known else None


def _line(raw: Mapping[str, Any]) -> str:
    """One event as one plain line."""
    if raw.get("message"):
        return str(raw["message"])
    kind, step = raw["kind"], raw.get("step")
    if kind == "metric":
        if raw.get("validation_loss") is not None:
            more = _accuracy(raw.get("validation_rewards/accuracies"))
            return f"step {step}  validation loss {raw['validation_loss']:.4f}{more}"
        more = _accuracy(raw.get("rewards/accuracies"))
        return f"step {step}  loss {raw.get('train_loss', float('nan')):.4f}{more}"
    if kind == "progress":
        left = dt.timedelta(seconds=round(raw.get("eta_s") or 0))
        speed = raw.get("tokens_per_s") or 0
        return f"step {step}/{raw.get('total_steps')}  {speed:,.0f} tok/s  {left} left"
    if kind == "checkpoint":
        return f"checkpoint at step {step}"
    return str(raw.get("status", ""))


def _accuracy(value: float | None) -> str:
    return "" if value is None else f"  reward accuracy {value:.1%}"
