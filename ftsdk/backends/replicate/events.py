"""Events and the training curve, read from a training and its log."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

from ftsdk.backends.hosted.coerce import as_time
from ftsdk.backends.replicate.job_mapping import status_of
from ftsdk.backends.replicate.logs import BAR, log_lines, numbers_in
from ftsdk.types.events import Event, MetricPoint


def metrics_of(lines: Iterable[str], how: str | None) -> list[MetricPoint]:
    """Return the curve that the log contains. A line without a step takes that of the last bar,
    else one more.
    """
    if how is None:
        return []
    points: dict[int, dict[str, Any]] = {}
    last = bar = 0
    for line in lines:
        bars = BAR.findall(line)
        bar = int(bars[-1][0]) if bars else bar
        values = numbers_in(line, how)
        if "train_loss" not in values and "validation_loss" not in values:
            continue
        stepped = int(values.pop("step", 0))
        only_check = "train_loss" not in values
        step = stepped or (bar if bar > last or (bar and only_check) else 0)
        step = step or (max(last, 1) if only_check else last + 1)
        last = max(last, step)
        points.setdefault(step, {"step": step}).update(values)
    return [MetricPoint.model_validate(points[step]) for step in sorted(points)]


def events_of(data: Mapping[str, Any], how: str | None) -> list[Event]:
    """Return created, started, each log line, ended. Replicate has no event feed, and lines have no
    time: they get the time at which the training started.
    """
    identity = str(data.get("id") or "")
    created = as_time(data.get("created_at")) or dt.datetime.fromtimestamp(0, dt.UTC)
    started = as_time(data.get("started_at"))
    found: list[tuple[dt.datetime, str, str, dict[str, Any]]] = [
        (created, "status", "starting", {})
    ]
    if started is not None:
        found.append((started, "status", "processing", {}))
    begun = max(created, started or created)
    for line in log_lines(data):
        if not line.strip():
            continue
        figures = numbers_in(line, how) if how is not None else {}
        found.append((begun, "metric" if figures else "log", line, dict(figures)))
    if status_of(data.get("status")).is_final:
        ended = max(begun, as_time(data.get("completed_at")) or begun)
        status = str(data.get("status"))
        found.append((ended, "error" if status == "failed" else "status", status, {}))
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
        for seq, (time, kind, text, facts) in enumerate(found, 1)
    ]
