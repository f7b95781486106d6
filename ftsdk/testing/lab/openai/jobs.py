"""A simulated OpenAI fine-tuning job: its object, events, checkpoints and result file."""

from __future__ import annotations

import base64
import datetime as dt
import math
from dataclasses import dataclass, field
from typing import Any

from ftsdk.testing.lab.fake_training import curve
from ftsdk.testing.lab.openai.services import Service
from ftsdk.testing.lab.timeline import Timeline

_STEPS_PER_AZURE_EVENT = 10


@dataclass
class FakeJob:
    """The state of one job; everything the API returns is computed from the clock."""

    id: str
    request: dict[str, Any]
    timeline: Timeline
    created: dt.datetime
    rows: int
    tokens: int
    content: bytes
    service: Service = field(default_factory=Service)
    problem: tuple[str, str] | None = None
    """Error code and message with which validation fails."""
    blocked: bool = False
    """True when moderation blocks the model after training."""
    visible_after_lists: int = 0
    result_file: str | None = None
    forced: str | None = None
    """A raw status to report instead of the computed one."""
    log: list[tuple[dt.datetime, str, str]] = field(default_factory=list)
    """Events caused by API calls: time, level, message."""

    @property
    def kind(self) -> str:
        """`supervised`, `dpo` or `reinforcement`."""
        return str((self.request.get("method") or {}).get("type", "supervised"))

    @property
    def requested(self) -> dict[str, Any]:
        """The hyperparameters of the request, from both places where they may be."""
        method = self.request.get("method") or {}
        inner = (method.get(self.kind) or {}).get("hyperparameters") or {}
        return {**(self.request.get("hyperparameters") or {}), **inner}

    @property
    def resolved(self) -> dict[str, Any]:
        """The hyperparameters, with `auto` replaced by values."""
        rows = max(1, self.rows)
        auto = {
            "n_epochs": min(25, max(1, 3 if rows * 3 >= 100 else math.ceil(100 / rows))),
            "batch_size": max(1, round(rows * 0.002)),
            "learning_rate_multiplier": 1.8,
        }
        if self.kind == "dpo":
            auto["beta"] = 0.1
        return {
            k: self.requested[k] if self.requested.get(k, "auto") != "auto" else v
            for k, v in auto.items()
        }

    @property
    def steps(self) -> int:
        """Number of training steps."""
        resolved = self.resolved
        batches = math.ceil(self.rows / int(resolved["batch_size"]))
        return max(1, batches * int(resolved["n_epochs"]))

    @property
    def model_id(self) -> str:
        """The name that the tuned model has, or will have."""
        tail = self.id.rpartition("-")[2][:8]
        suffix = self.request.get("suffix") or ""
        if self.service.is_azure:
            return f"{self.request['model']}.ft-{tail}" + (f"-{suffix}" if suffix else "")
        return f"ft:{self.request['model']}:lab:{suffix}:{tail}"

    def status(self, now: dt.datetime) -> str:
        """Return OpenAI's raw status."""
        return self.timeline.status(now) if self.forced is None else self.forced

    def succeeded(self, now: dt.datetime) -> bool:
        """Return whether the tuned model exists."""
        return self.status(now) == "succeeded"

    # --- as the API returns it ---

    def object(self, now: dt.datetime) -> dict[str, Any]:
        """Return the `fine_tuning.job` object."""
        status, done = self.status(now), self.succeeded(now)
        final = status in ("succeeded", "failed", "cancelled")
        finished = self.timeline.start_of(status) if final else None
        started = status not in ("validating_files", "queued", "pending")
        hyperparameters = (
            self.resolved if started else {k: self.requested.get(k, "auto") for k in self.resolved}
        )
        error: Any = None
        if status == "failed":
            code, message = self.problem or ("server_error", "an error of the service")
            error = {"code": code, "message": message, "param": "training_file"}
        shape = {
            "object": "fine_tuning.job",
            "id": self.id,
            "model": self.request["model"],
            "created_at": int(self.created.timestamp()),
            "finished_at": None if finished is None else int(finished.timestamp()),
            "fine_tuned_model": self.model_id if done and self.service.names_result else None,
            "organization_id": "org-lab",
            "result_files": [self.result_file] if done and self.result_file else [],
            "status": status,
            "validation_file": self.request.get("validation_file"),
            "training_file": self.request["training_file"],
            "hyperparameters": hyperparameters,
            "trained_tokens": self.tokens * self.resolved["n_epochs"] if done else None,
            "error": error,
            "seed": self.request.get("seed") or 0,
            "estimated_finish": None,
            "integrations": self.request.get("integrations") or [],
            "method": {"type": self.kind, self.kind: {"hyperparameters": hyperparameters}},
            "metadata": self.request.get("metadata"),
        }
        if not self.service.keeps_metadata:
            del shape["metadata"]
        if self.service.suffix_field is not None:
            shape[self.service.suffix_field] = self.request.get("suffix")
        if not self.service.takes_method:
            del shape["method"]
        return self._as_azure(shape) if self.service.is_azure else shape

    def _as_azure(self, shape: dict[str, Any]) -> dict[str, Any]:
        """Apply Azure's quirks: null fields, an empty error, no method, no token count."""
        shape["organization_id"] = None
        shape["result_files"] = shape["result_files"] or None
        shape["error"] = shape["error"] or {}
        shape["trained_tokens"] = None
        if self.kind == "supervised":
            del shape["method"]
        return shape

    def events(self, now: dt.datetime) -> list[dict[str, Any]]:
        """Return all events so far, newest first."""
        entries: list[tuple[dt.datetime, str, str, dict[str, Any] | None]] = [
            (at, "info", text, data) for at, text, data in self._metric_events(now)
        ]
        entries += [(at, "info", text, None) for at, text in self._stage_messages(now)]
        entries += [(at, level, text, None) for at, level, text in self.log]
        entries.sort(key=lambda one: one[0])
        events = [
            {
                "object": "fine_tuning.job.event",
                "id": f"ftevent-{self.id[6:]}-{number}",
                "created_at": int(at.timestamp()),
                "level": level,
                "message": text,
                "type": "message" if data is None else "metrics",
                "data": data or {},
            }
            for number, (at, level, text, data) in enumerate(entries)
        ]
        return events[::-1]

    def _stage_messages(self, now: dt.datetime) -> list[tuple[dt.datetime, str]]:
        file = self.request["training_file"]
        messages = {
            "validating_files": [
                f"Created fine-tuning job: {self.id}",
                f"Validating training file: {file}",
            ],
            "queued": ["Files validated, moving job to queued state"],
            "running": ["Fine-tuning job started"],
            "succeeded": [
                f"New fine-tuned model created: {self.model_id}",
                "The job has successfully completed",
            ],
        }
        if self.problem:
            messages["failed"] = [f"The job failed: {self.problem[1]}"]
        found = []
        for stage in self.timeline.reached(now):
            at = self.timeline.start_of(stage.status)
            if at is None:
                continue
            found += [(at, text) for text in messages.get(stage.status, [])]
            if self.service.is_azure and stage.status == "succeeded":
                billed = self.tokens * self.resolved["n_epochs"]
                found.append((at, f"Training tokens billed: {billed}"))
        return found

    def points(self, now: dt.datetime) -> list[dict[str, float]]:
        """Return the loss curve so far."""
        return curve(self.request.get("seed") or 0, self.steps, self.timeline.fraction(now))

    def _metric_events(
        self, now: dt.datetime
    ) -> list[tuple[dt.datetime, str, dict[str, Any] | None]]:
        begin, end = self.timeline.start_of("running"), self.timeline.start_of("succeeded")
        if begin is None:
            return []
        length = (end - begin).total_seconds() if end else 1.0
        found: list[tuple[dt.datetime, str, dict[str, Any] | None]] = []
        for point in self.points(now):
            at = begin + dt.timedelta(seconds=length * point["share"])
            text = f"Step {point['step']}/{self.steps}: training loss={point['loss']:.2f}"
            data: dict[str, Any] = {
                "step": point["step"],
                "total_steps": self.steps,
                "train_loss": point["loss"],
                "train_mean_token_accuracy": point["accuracy"],
            }
            if self.request.get("validation_file"):
                data["valid_loss"] = round(point["loss"] + 0.12, 5)
                text += f", validation loss={data['valid_loss']:.2f}"
            if not self.service.is_azure:
                found.append((at, text, data))
            elif point["step"] % _STEPS_PER_AZURE_EVENT == 0:
                found.append((at, text, None))
        return found

    def checkpoints(self, now: dt.datetime) -> list[dict[str, Any]]:
        """Return the checkpoints of the last three epochs, newest first. The newest is the model itself."""
        if not self.succeeded(now):
            return []
        epochs, points = self.resolved["n_epochs"], self.points(now)
        found = []
        for epoch in range(epochs, max(0, epochs - 3), -1):
            step = max(1, round(self.steps * epoch / epochs))
            name = self.model_id if epoch == epochs else f"{self.model_id}:ckpt-step-{step}"
            found.append(
                {
                    "object": "fine_tuning.job.checkpoint",
                    "id": f"ftckpt_{self.id[6:]}{step}",
                    "created_at": int((self.timeline.start_of("succeeded") or now).timestamp()),
                    "fine_tuned_model_checkpoint": name if self.service.names_result else None,
                    "fine_tuning_job_id": self.id,
                    "metrics": {
                        "step": step,
                        "train_loss": points[step - 1]["loss"],
                        "train_mean_token_accuracy": points[step - 1]["accuracy"],
                    },
                    "step_number": step,
                }
            )
        return found

    def results_csv(self, now: dt.datetime, *, encoded: bool) -> bytes:
        """Return the result file: CSV, encoded in base64 as OpenAI sends it, or plain."""
        validation = (
            "validation_mean_token_accuracy"
            if self.service.is_azure
            else "valid_mean_token_accuracy"
        )
        lines = [f"step,train_loss,train_accuracy,valid_loss,{validation}"]
        with_validation = bool(self.request.get("validation_file"))
        for point in self.points(now):
            valid = (
                f"{point['loss'] + 0.12:.5f},{point['accuracy']:.5f}" if with_validation else ","
            )
            lines.append(f"{point['step']},{point['loss']},{point['accuracy']},{valid}")
        plain = ("\n".join(lines) + "\n").encode()
        return base64.b64encode(plain) if encoded else plain
