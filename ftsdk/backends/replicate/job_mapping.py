"""Replicate's answers in ours: status, training, log lines, events, metrics, cost.

Works on the raw JSON: the SDK (1.0.7) refuses `aborted` and drops `metrics`, where the billed
seconds are. Sources: Replicate's OpenAPI text of 2026-03-16, docs of 2026-05.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from ftsdk.backends.hosted.coerce import as_number, as_time
from ftsdk.backends.hosted.redact import scrub
from ftsdk.types.cost import Cost, CostBasis
from ftsdk.types.events import Event, MetricPoint, Progress
from ftsdk.types.job import RemoteJob
from ftsdk.types.model import ModelHandle, ModelKind
from ftsdk.types.status import JobStatus

__all__ = [
    "STATUSES",
    "cost_of",
    "events_of",
    "log_lines",
    "mark_in",
    "metrics_of",
    "remote_job",
    "result_handle",
    "status_of",
    "tells_all",
    "version_of",
    "weights_of",
]

STATUSES: Mapping[str, JobStatus] = {
    "starting": JobStatus.QUEUED,
    "processing": JobStatus.RUNNING,
    "succeeded": JobStatus.SUCCEEDED,
    "failed": JobStatus.FAILED,
    "canceled": JobStatus.CANCELLED,
    "aborted": JobStatus.CANCELLED,
}
"""Replicate's six words; any other is `unknown`. `aborted` ended before it started, so nothing was
trained and nothing failed."""

MARK = "ftsdk="
_MESSAGE = 2_000
"""Characters of a reason that are kept."""
_TAG = re.compile(r"#ftsdk=(ft[0-9a-hjkmnp-tv-z]{12})(?![0-9a-z])")
_VERSION = re.compile(r"^[\w.-]+/[\w.-]+:[0-9a-zA-Z]{6,}$")
_PAIRS = re.compile(r"['\"](\w+)['\"]: ['\"]?(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)['\"]?")
_BAR = re.compile(r"(\d+)/(\d+) \[")


def status_of(word: Any) -> JobStatus:
    """Our status for Replicate's word."""
    return STATUSES.get(str(word).lower(), JobStatus.UNKNOWN)


def _output(data: Mapping[str, Any]) -> Mapping[str, Any]:
    output = data.get("output")
    return output if isinstance(output, Mapping) else {}


def version_of(data: Mapping[str, Any]) -> str | None:
    """The version that was made, `owner/name:hash`."""
    found = _output(data).get("version")
    return found if isinstance(found, str) and _VERSION.match(found) else None


def weights_of(data: Mapping[str, Any]) -> str | None:
    """The URL of the weights; what lies there, the trainer decides."""
    output = data.get("output")
    found = output if isinstance(output, str) else _output(data).get("weights")
    return found if isinstance(found, str) and "://" in found else None


def mark_in(data: Mapping[str, Any]) -> str | None:
    """Our mark, from the data URL that is echoed in `input`."""
    given = data.get("input")
    if isinstance(given, Mapping):
        for value in given.values():
            found = _TAG.search(value) if isinstance(value, str) else None
            if found is not None:
                return found.group(1)
    return None


def remote_job(data: Mapping[str, Any], *, cost: Cost | None = None) -> RemoteJob:
    """A training."""
    word = data.get("status") if isinstance(data.get("status"), str) else ""
    status, message = status_of(word), ""
    has_result = version_of(data) is not None or weights_of(data) is not None
    if status is JobStatus.SUCCEEDED and not has_result:
        if data.get("data_removed") is True:
            message = "Replicate has removed what the training gave"
        else:
            status = JobStatus.FINALIZING  # a handle is never filled early
    if status is JobStatus.FAILED:
        said = data.get("error")
        message = scrub(said, _MESSAGE) if said else "Replicate says failed, and no reason"
    elif word == "aborted":
        message = "Replicate ended it before it started"
    return RemoteJob(
        provider_job_id=data["id"] if isinstance(data.get("id"), str) else "",
        status=status,
        raw_status=str(word),
        model=_model(data),
        tag=mark_in(data),
        message=message,
        error={"message": message, "log_tail": [scrub(one, 500) for one in log_lines(data)[-10:]]}
        if status is JobStatus.FAILED
        else None,
        progress=_progress(data),
        created_at=as_time(data.get("created_at")),
        started_at=as_time(data.get("started_at")),
        finished_at=as_time(data.get("completed_at")) if status.is_final else None,
        result_model=(version_of(data) or weights_of(data))
        if status is JobStatus.SUCCEEDED
        else None,
        cost=cost,
        raw=dict(data),
    )


def tells_all(job: RemoteJob) -> bool:
    """Whether a row of the list is all that there is to know: of one that ended, also what it cost.

    The documentation does not promise that rows have logs; those of a failure are read.
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


def _progress(data: Mapping[str, Any]) -> Progress | None:
    """The newest progress bar of the log, where there is one."""
    bars = _BAR.findall(str(data.get("logs") or "")[-4000:])
    if not bars:
        return None
    done, total = int(bars[-1][0]), int(bars[-1][1])
    if not 0 < total < 10**9 or done > total:
        return None
    return Progress(fraction=done / total, step=done, total_steps=total)


# --- logs --------------------------------------------------------------------------------------


def log_lines(data: Mapping[str, Any]) -> list[str]:
    """The log, line by line; a bar that rewrites its line counts as its newest state."""
    text = data.get("logs")
    if not isinstance(text, str) or not text:
        return []
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    return [line.rstrip("\r").rpartition("\r")[2] for line in lines]


def _numbers(line: str, how: str) -> dict[str, float]:
    """The figures of a line, by our names; empty where it has none."""
    if how == "huggingface":
        told = {key: float(value) for key, value in _PAIRS.findall(line)}
        if "loss" not in told and "eval_loss" not in told:
            return {}
        names = {
            "loss": "train_loss",
            "eval_loss": "validation_loss",
            "learning_rate": "learning_rate",
            "epoch": "epoch",
            "grad_norm": "grad_norm",
            "step": "step",
        }
        return {names[k]: v for k, v in told.items() if k in names and math.isfinite(v)}
    found = re.search(how, line[:2000])
    told = {}
    for name, text in (found.groupdict() if found else {}).items():
        try:
            value = float(text)
        except (TypeError, ValueError):
            continue
        if math.isfinite(value):
            told["train_loss" if name == "loss" else name] = value
    known = set(MetricPoint.model_fields) - {"raw", "time"}
    return {k: v for k, v in told.items() if k in known}


def metrics_of(lines: Iterable[str], how: str | None) -> list[MetricPoint]:
    """The curve that the log tells. Without a step in the line, the last bar's counts, else one up."""
    if how is None:
        return []
    points: dict[int, dict[str, Any]] = {}
    last = bar = 0
    for line in lines:
        bars = _BAR.findall(line)
        bar = int(bars[-1][0]) if bars else bar
        told = _numbers(line, how)
        if "train_loss" not in told and "validation_loss" not in told:
            continue
        stepped = int(told.pop("step", 0))
        only_check = "train_loss" not in told
        step = stepped or (bar if bar > last or (bar and only_check) else 0)
        step = step or (max(last, 1) if only_check else last + 1)
        last = max(last, step)
        points.setdefault(step, {"step": step}).update(told)
    return [MetricPoint.model_validate(points[step]) for step in sorted(points)]


def events_of(data: Mapping[str, Any], how: str | None) -> list[Event]:
    """Created, started, each log line, ended. Replicate has no event feed; lines carry no time, so
    they are told at the start of the training.
    """
    identity = str(data.get("id") or "")
    created = as_time(data.get("created_at")) or dt.datetime.fromtimestamp(0, dt.UTC)
    started = as_time(data.get("started_at"))
    told: list[tuple[dt.datetime, str, str, dict[str, Any]]] = [(created, "status", "starting", {})]
    if started is not None:
        told.append((started, "status", "processing", {}))
    begun = max(created, started or created)
    for line in log_lines(data):
        if not line.strip():
            continue
        figures = _numbers(line, how) if how is not None else {}
        told.append((begun, "metric" if figures else "log", line, dict(figures)))
    if status_of(data.get("status")).is_final:
        ended = max(begun, as_time(data.get("completed_at")) or begun)
        word = str(data.get("status"))
        told.append((ended, "error" if word == "failed" else "status", word, {}))
    return [
        Event.model_validate(
            {
                "id": f"{identity}:{seq}",
                "seq": seq,
                "time": time,
                "kind": kind,
                "message": text[:2000],
                "data": facts,
            }
        )
        for seq, (time, kind, text, facts) in enumerate(told, 1)
    ]


# --- money, result -------------------------------------------------------------------------------


def cost_of(
    data: Mapping[str, Any], usd_per_second: Decimal | None, source: str, as_of: dt.date | None
) -> Cost | None:
    """`predict_time`, the seconds billed, at the price of the hardware; None before they are told."""
    metrics = data.get("metrics")
    seconds = as_number(metrics.get("predict_time")) if isinstance(metrics, Mapping) else None
    if seconds is None or seconds < 0:
        return None
    if usd_per_second is None:
        return Cost(
            source=f"Replicate billed {seconds:g} s; the hardware, and so the price, is not known",
            assumptions=("name it in provider_options.hardware, for instance gpu-l40s",),
        )
    amount = (Decimal(str(seconds)) * usd_per_second).quantize(Decimal("0.000001"))
    return Cost(
        basis=CostBasis.BILLED,
        low=amount,
        high=amount,
        source=f"{seconds:g} s told by Replicate × ${usd_per_second} a second ({source})",
        as_of=as_of,
    )


def result_handle(data: Mapping[str, Any], *, hosting: Cost | None = None) -> ModelHandle | None:
    """The version that was made, which can be called; or the weights alone; or None."""
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
