"""A simulated Replicate training: its object and its log."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from ftsdk.testing.lab.fake_training import curve
from ftsdk.testing.lab.replicate.request_checks import iso
from ftsdk.testing.lab.timeline import Timeline

FINAL_STATUSES = ("succeeded", "failed", "canceled", "aborted")
_STEPS = 12


@dataclass
class FakeJob:
    """The state of one training; everything the API returns is computed from the clock."""

    id: str
    model: str
    trainer_version: str
    destination: str
    request: dict[str, Any]
    """The `input` of the create call."""
    timeline: Timeline
    created: dt.datetime
    version: str
    """Id of the model version that the training makes."""
    content: bytes | None
    """The training file; None where it could not be fetched."""
    error: str | None = None
    visible_after_lists: int = 0
    forced: str | None = None
    """A raw status to report instead of the computed one."""

    def status(self, now: dt.datetime) -> str:
        """Return Replicate's raw status."""
        return self.timeline.status(now) if self.forced is None else self.forced

    def succeeded(self, now: dt.datetime) -> bool:
        """Return whether the tuned version exists."""
        return self.status(now) == "succeeded"

    def is_final(self, now: dt.datetime) -> bool:
        """Return whether the training has ended."""
        return self.status(now) in FINAL_STATUSES

    def object(self, now: dt.datetime, origin: str) -> dict[str, Any]:
        """Return the training object; its URLs begin with `origin`."""
        status = self.status(now)
        started = self._started(now)
        ended = self.timeline.start_of(status) if self.is_final(now) else None
        seconds = (ended - started).total_seconds() if started and ended else 0.0
        shape = {
            "id": self.id,
            "model": self.model,
            "version": self.trainer_version,
            "input": self.request,
            "output": None,
            "logs": "" if started is None else self.logs(now),
            "error": self.error if status == "failed" else None,
            "status": status,
            "source": "api",
            "created_at": iso(self.created),
            "started_at": None if started is None else iso(started),
            "completed_at": None if ended is None else iso(ended),
            "metrics": {"predict_time": seconds, "total_time": seconds + 2}
            if self.is_final(now)
            else {},
            "urls": {
                "get": f"{origin}/v1/predictions/{self.id}",
                "cancel": f"{origin}/v1/trainings/{self.id}/cancel",
            },
        }
        if status == "succeeded":
            shape["output"] = {
                "version": f"{self.destination}:{self.version}",
                "weights": f"{origin}/delivery/{self.id}/weights.zip",
            }
        return shape

    def _started(self, now: dt.datetime) -> dt.datetime | None:
        started = self.timeline.start_of("processing")
        if started is None or started > now or self.timeline.age_s(now) < 2:
            return None
        return started

    def logs(self, now: dt.datetime) -> str:
        """Return what a transformers trainer prints: a bar and a line of figures for each step."""
        lines = ["Downloading weights", "Starting training"]
        epochs = float(self.request.get("num_train_epochs", 1))
        seed = int(self.request.get("seed", 0))
        for point in curve(seed, _STEPS, self.timeline.fraction(now)):
            step = int(point["step"])
            epoch = round(point["share"] * epochs, 2)
            percent = step * 100 // _STEPS
            lines.append(f"{percent:3d}%|####  | {step}/{_STEPS} [00:01<00:05, 1.2it/s]")
            lines.append(f"{{'loss': {point['loss']}, 'learning_rate': 2e-05, 'epoch': {epoch}}}")
        if self.error:
            lines.append(f"Traceback: {self.error}")
        return "\n".join(lines) + "\n"
