"""What is read of a running job: progress, events, metrics, checkpoints."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from ftsdk.types.record import Record

__all__ = ["Checkpoint", "Event", "MetricPoint", "Progress"]


class Progress(Record):
    """How far training is. `fraction` is 0 to 1; `eta_s` seconds left; unknown is None."""

    fraction: float | None = None
    step: int | None = None
    total_steps: int | None = None
    epoch: float | None = None
    tokens_per_s: float | None = None
    eta_s: float | None = None
    trained_tokens: int | None = None


class Event(Record):
    """One thing that happened to a job. `seq` grows; the same event has the same `id`."""

    id: str
    seq: int
    time: dt.datetime
    kind: Literal["status", "progress", "metric", "checkpoint", "log", "warning", "error"]
    message: str = ""
    data: Mapping[str, Any] = Field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.time:%H:%M:%S}  {self.kind:<10}  {self.message}"


class MetricPoint(Record):
    """The curve at one step. Losses are means over trained tokens, in nats."""

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
    """A state of the weights that was kept. `path` for local ones, `model` for callable ones."""

    id: str
    step: int
    created_at: dt.datetime | None = None
    path: Path | None = None
    model: str | None = None
    train_loss: float | None = None
    validation_loss: float | None = None
    raw: Mapping[str, Any] = Field(default_factory=dict)
