"""The output of a running job: progress, events, metrics and checkpoints."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from ftsdk.types.record import Record

__all__ = ["Checkpoint", "Event", "MetricPoint", "Progress"]


class Progress(Record):
    """The progress of training. `fraction` is 0 to 1, `eta_s` the seconds left; None is unknown."""

    fraction: float | None = None
    step: int | None = None
    total_steps: int | None = None
    epoch: float | None = None
    tokens_per_s: float | None = None
    eta_s: float | None = None
    trained_tokens: int | None = None


class Event(Record):
    """One event of a job. `seq` increases; the same event always has the same `id`."""

    id: str
    seq: int
    time: dt.datetime
    kind: Literal["status", "progress", "metric", "checkpoint", "log", "warning", "error"]
    message: str = ""
    data: Mapping[str, Any] = Field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.time:%H:%M:%S}  {self.kind:<10}  {self.message}"


class MetricPoint(Record):
    """The metrics at one step. Losses are means over trained tokens, in nats."""

    step: int
    epoch: float | None = None
    train_loss: float | None = None
    validation_loss: float | None = None
    train_accuracy: float | None = None
    validation_accuracy: float | None = None
    learning_rate: float | None = None
    grad_norm: float | None = None
    tokens_per_s: float | None = None
    time: dt.datetime | None = None
    raw: Mapping[str, Any] = Field(default_factory=dict)


class Checkpoint(Record):
    """A saved checkpoint: `path` for a local one, `model` for one that can be called."""

    id: str
    step: int
    created_at: dt.datetime | None = None
    path: Path | None = None
    model: str | None = None
    train_loss: float | None = None
    validation_loss: float | None = None
    raw: Mapping[str, Any] = Field(default_factory=dict)
