"""Map events and checkpoints, and merge the curve from events, checkpoints and result files."""

from __future__ import annotations

import base64
import binascii
import csv
import io
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ftsdk.backends.hosted import scrub
from ftsdk.backends.hosted.coerce import as_count, as_instant, as_number
from ftsdk.types.events import Checkpoint, Event, MetricPoint
from ftsdk.util.clock import parse_time

_STEP = re.compile(r"^Step (\d+)(?:/(\d+))?: training loss=([-+.\deEnaif]+)(.*)$")
_VALIDATION = re.compile(r"validation loss=([-+.\deEnaif]+)")
_BILLED = re.compile(r"Training tokens billed:\s*([\d,]+)")
_STATUS_WORDS = re.compile(
    r"(?i)\b(created|queued|validat|started|succe|completed|cancel|paus|resum|fail|moderation)"
)
_EPOCH = parse_time("1970-01-01T00:00:00+00:00")

_NAMES: Mapping[str, tuple[str, ...]] = {
    "train_loss": ("train_loss",),
    "validation_loss": ("full_valid_loss", "valid_loss", "validation_loss"),
    "train_accuracy": ("train_mean_token_accuracy", "train_accuracy"),
    "validation_accuracy": (
        "full_valid_mean_token_accuracy",
        "full_validation_mean_token_accuracy",
        "valid_mean_token_accuracy",
        "validation_mean_token_accuracy",
        "valid_accuracy",
    ),
}
"""Our field, and its names in the sources, old and new (guides of 2024 to 2026, Azure)."""


def event(raw: Mapping[str, Any], seq: int) -> Event:
    """Return one event; `seq` is its position from the start."""
    message = scrub(raw.get("message") or "", 500)
    data = raw.get("data")
    data = dict(data) if isinstance(data, Mapping) else {}
    step = _STEP.match(message)
    level = raw.get("level")
    if raw.get("type") == "metrics" or step:
        kind = "metric"
    elif level == "error":
        kind = "error"
    elif level in ("warn", "warning"):
        kind = "warning"
    else:
        kind = "status" if _STATUS_WORDS.search(message) else "log"
    if step and "step" not in data:
        data = {**data, **_from_text(step)}
    return Event.model_validate(
        {
            "id": str(raw.get("id")),
            "seq": seq,
            "time": as_instant(raw.get("created_at")) or _EPOCH,
            "kind": kind,
            "message": message,
            "data": data,
        }
    )


def _from_text(match: re.Match[str]) -> dict[str, Any]:
    values: dict[str, Any] = {"step": int(match.group(1)), "train_loss": number(match.group(3))}
    if match.group(2):
        values["total_steps"] = int(match.group(2))
    validation = _VALIDATION.search(match.group(4))
    if validation:
        values["valid_loss"] = number(validation.group(1))
    return values


def number(value: Any) -> float | None:
    """Return a finite number from a JSON value or a CSV cell; None for anything else."""
    try:
        return as_number(float(value) if isinstance(value, str) else value)
    except ValueError:
        return None


def _point(step: Any, facts: Mapping[str, Any]) -> MetricPoint | None:
    count = as_count(number(step))
    if count is None:
        return None
    values: dict[str, Any] = {}
    for ours, names in _NAMES.items():
        found = [number(facts.get(name)) for name in names]
        values[ours] = next((value for value in found if value is not None), None)
    if all(value is None for value in values.values()):
        return None
    return MetricPoint(step=count, **values, raw={str(k): v for k, v in facts.items()})


def points_from_events(events: Iterable[Event]) -> list[MetricPoint]:
    """Return the points that events of kind `metric` carry."""
    found = []
    for one in events:
        if one.kind == "metric":
            point = _point(one.data.get("step"), one.data)
            if point is not None:
                found.append(point.model_copy(update={"time": one.time}))
    return found


def points_from_checkpoints(raws: Iterable[Mapping[str, Any]]) -> list[MetricPoint]:
    """Return the points that checkpoints carry."""
    found = []
    for raw in raws:
        metrics = raw.get("metrics")
        if isinstance(metrics, Mapping):
            point = _point(metrics.get("step", raw.get("step_number")), metrics)
            if point is not None:
                found.append(point)
    return found


def points_from_csv(content: bytes) -> list[MetricPoint]:
    """Return the points of a result file: CSV, plain or in base64."""
    rows = csv.DictReader(io.StringIO(_plain(content)))
    found = []
    for row in rows:
        facts = {str(k).strip(): v for k, v in row.items() if k is not None}
        point = _point(facts.get("step"), facts)
        if point is not None:
            found.append(point)
    return found


def _plain(content: bytes) -> str:
    text = content.removeprefix(b"\xef\xbb\xbf")
    if b"," not in text[:4096]:  # base64 has no comma, the header of a result file has
        try:
            text = base64.b64decode(b"".join(text.split()), validate=True)
        except (binascii.Error, ValueError):
            text = content
    return text.decode("utf-8", "replace")


def merged(*sources: Iterable[MetricPoint]) -> list[MetricPoint]:
    """Return one curve by step; later sources win, earlier ones fill the gaps."""
    by_step: dict[int, MetricPoint] = {}
    for feed in sources:
        for point in feed:
            old = by_step.get(point.step)
            known = {} if old is None else old.model_dump(exclude_none=True)
            fresh = point.model_dump(exclude_none=True)
            raw = {**known.pop("raw", {}), **fresh.pop("raw", {})}
            by_step[point.step] = MetricPoint(**{**known, **fresh, "raw": raw})
    return [by_step[step] for step in sorted(by_step)]


def checkpoint(raw: Mapping[str, Any]) -> Checkpoint | None:
    """Return one checkpoint; None without an id or a step."""
    metrics = raw.get("metrics")
    metrics = metrics if isinstance(metrics, Mapping) else {}
    step = as_count(number(raw.get("step_number", metrics.get("step"))))
    identity = raw.get("id")
    if step is None or not isinstance(identity, str):
        return None
    point = _point(step, metrics)
    model = raw.get("fine_tuned_model_checkpoint")
    return Checkpoint(
        id=identity,
        step=step,
        created_at=as_instant(raw.get("created_at")),
        model_id=model if isinstance(model, str) else None,
        train_loss=None if point is None else point.train_loss,
        validation_loss=None if point is None else point.validation_loss,
        raw=dict(raw),
    )


def billed_tokens(messages: Iterable[str]) -> int | None:
    """Return the number in Azure's event "Training tokens billed: N", which no field has."""
    for message in messages:
        match = _BILLED.search(message)
        if match:
            return int(match.group(1).replace(",", ""))
    return None
