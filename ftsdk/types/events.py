"""The output of a running job: progress, events, metrics and checkpoints."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, PrivateAttr

from ftsdk.errors import NotReady
from ftsdk.types.model import ModelHandle
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
    """A saved checkpoint: `path` for a local one, `model_id` where the provider has a model of it.

    One from `job.checkpoints()` is bound to its job, so `model` works; one read from JSON is only data.
    """

    id: str
    step: int
    created_at: dt.datetime | None = None
    path: Path | None = None
    model_id: str | None = None
    train_loss: float | None = None
    validation_loss: float | None = None
    raw: Mapping[str, Any] = Field(default_factory=dict)

    _open: Callable[[], ModelHandle] | None = PrivateAttr(default=None)

    def opened_by(self, function: Callable[[], ModelHandle]) -> Self:
        """Return a copy whose `model` calls `function`."""
        copy = self.model_copy()
        copy._open = function
        return copy

    def model(self) -> ModelHandle:
        """Return the model as it was at this checkpoint: to chat with, download or export.

        Raises `Unsupported` where the backend has no models of checkpoints, and `NotReady` where the
        job has none yet.
        """
        if self._open is None:
            raise NotReady(
                "This checkpoint is not bound to a job; it is only data",
                where=f"checkpoint {self.id}",
                hint="get it from the job: job.checkpoints()",
            )
        return self._open()

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        state["__pydantic_private__"] = {"_open": None}
        return state

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Checkpoint):
            return NotImplemented
        return self.model_dump() == other.model_dump()  # the data, not the binding

    def __hash__(self) -> int:
        return hash((self.id, self.step))
