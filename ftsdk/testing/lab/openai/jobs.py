"""One pretended fine-tuning job of OpenAI: its object, events, checkpoints and result file."""

from __future__ import annotations

import base64
import datetime as dt
import math
from dataclasses import dataclass, field
from typing import Any

from ftsdk.testing.lab.fake_training import curve
from ftsdk.testing.lab.openai.services import Service
from ftsdk.testing.lab.timeline import Timeline

__all__ = ["PretendJob"]

_POINTS_OF_OLD_AZURE = 10


@dataclass
class PretendJob:
    """What the double keeps of a job; everything shown is computed from the clock."""

    id: str
    request: dict[str, Any]
    timeline: Timeline
    created: dt.datetime
    rows: int
    tokens: int
    content: bytes
    service: Service = field(default_factory=Service)
    problem: tuple[str, str] | None = None
    """Code and message with which validation ends."""
    blocked: bool = False
    """Moderation blocks the model after training."""
    visible_after_lists: int = 0
    result_file: str | None = None
    forced: str | None = None
    """A status that is shown instead of the computed one."""
    log: list[tuple[dt.datetime, str, str]] = field(default_factory=list)
    """What was done to it from outside: time, level, message."""

    @property
    def kind(self) -> str:
        """`supervised`, `dpo` or `reinforcement`."""
        return str((self.request.get("method") or {}).get("type", "supervised"))

    @property
    def asked(self) -> dict[str, Any]:
        """The hyperparameters of the request, from either place."""
        method = self.request.get("method") or {}
        inner = (method.get(self.kind) or {}).get("hyperparameters") or {}
        return {**(self.request.get("hyperparameters") or {}), **inner}

    @property
    def settled(self) -> dict[str, Any]:
        """The hyperparameters with `auto` decided."""
        rows = max(1, self.rows)
        auto = {
            "n_epochs": min(25, max(1, 3 if rows * 3 >= 100 else math.ceil(100 / rows))),
            "batch_size": max(1, round(rows * 0.002)),
            "learning_rate_multiplier": 1.8,
        }
        if self.kind == "dpo":
            auto["beta"] = 0.1
        return {
            k: self.asked[k] if self.asked.get(k, "auto") != "auto" else v for k, v in auto.items()
        }

    @property
    def steps(self) -> int:
        """Steps of the whole training."""
        settled = self.settled
        batches = math.ceil(self.rows / int(settled["batch_size"]))
        return max(1, batches * int(settled["n_epochs"]))

    @property
    def model_id(self) -> str:
        """The name the tuned model has, or would have."""
        tail = self.id.rpartition("-")[2][:8]
        suffix = self.request.get("suffix") or ""
        if self.service.is_azure:
            return f"{self.request['model']}.ft-{tail}" + (f"-{suffix}" if suffix else "")
        return f"ft:{self.request['model']}:lab:{suffix}:{tail}"

    def status(self, now: dt.datetime) -> str:
        """OpenAI's word for where the job stands."""
        return self.timeline.word(now) if self.forced is None else self.forced

    def succeeded(self, now: dt.datetime) -> bool:
        """True once the tuned model is there."""
        return self.status(now) == "succeeded"

    # --- as the API tells it ---

    def object(self, now: dt.datetime) -> dict[str, Any]:
        """The `fine_tuning.job` object."""
        status, done = self.status(now), self.succeeded(now)
        final = status in ("succeeded", "failed", "cancelled")
        finished = self.timeline.start_of(status) if final else None
        begun = status not in ("validating_files", "queued", "pending")
        shown = self.settled if begun else {k: self.asked.get(k, "auto") for k in self.settled}
        error: Any = None
        if status == "failed":
            code, message = self.problem or ("server_error", "an error of the service")
            error = {"code": code, "message": message, "param": "training_file"}
        told = {
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
            "hyperparameters": shown,
            "trained_tokens": self.tokens * self.settled["n_epochs"] if done else None,
            "error": error,
            "seed": self.request.get("seed") or 0,
            "estimated_finish": None,
            "integrations": self.request.get("integrations") or [],
            "method": {"type": self.kind, self.kind: {"hyperparameters": shown}},
            "metadata": self.request.get("metadata"),
        }
        if not self.service.keeps_metadata:
            del told["metadata"]
        if self.service.suffix_shown_as is not None:
            told[self.service.suffix_shown_as] = self.request.get("suffix")
        if not self.service.takes_method:
            del told["method"]
        return self._as_azure(told) if self.service.is_azure else told

    def _as_azure(self, told: dict[str, Any]) -> dict[str, Any]:
        """The quirks of Azure: nulls, an empty error, no method, no token count."""
        told["organization_id"] = None
        told["result_files"] = told["result_files"] or None
        told["error"] = told["error"] or {}
        told["trained_tokens"] = None
        if self.kind == "supervised":
            del told["method"]
        return told

    def events(self, now: dt.datetime) -> list[dict[str, Any]]:
        """All events so far, newest first."""
        told: list[tuple[dt.datetime, str, str, dict[str, Any] | None]] = [
            (at, "info", text, data) for at, text, data in self._metric_events(now)
        ]
        told += [(at, "info", text, None) for at, text in self._story(now)]
        told += [(at, level, text, None) for at, level, text in self.log]
        told.sort(key=lambda one: one[0])
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
            for number, (at, level, text, data) in enumerate(told)
        ]
        return events[::-1]

    def _story(self, now: dt.datetime) -> list[tuple[dt.datetime, str]]:
        file = self.request["training_file"]
        words = {
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
            words["failed"] = [f"The job failed: {self.problem[1]}"]
        told = []
        for stage in self.timeline.reached(now):
            at = self.timeline.start_of(stage.word)
            if at is None:
                continue
            told += [(at, text) for text in words.get(stage.word, [])]
            if self.service.is_azure and stage.word == "succeeded":
                billed = self.tokens * self.settled["n_epochs"]
                told.append((at, f"Training tokens billed: {billed}"))
        return told

    def points(self, now: dt.datetime) -> list[dict[str, float]]:
        """The curve so far."""
        return curve(self.request.get("seed") or 0, self.steps, self.timeline.fraction(now))

    def _metric_events(
        self, now: dt.datetime
    ) -> list[tuple[dt.datetime, str, dict[str, Any] | None]]:
        begin, end = self.timeline.start_of("running"), self.timeline.start_of("succeeded")
        if begin is None:
            return []
        length = (end - begin).total_seconds() if end else 1.0
        told: list[tuple[dt.datetime, str, dict[str, Any] | None]] = []
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
                told.append((at, text, data))
            elif point["step"] % _POINTS_OF_OLD_AZURE == 0:
                told.append((at, text, None))
        return told

    def checkpoints(self, now: dt.datetime) -> list[dict[str, Any]]:
        """The last three epochs, newest first; the first one is the model itself."""
        if not self.succeeded(now):
            return []
        epochs, points = self.settled["n_epochs"], self.points(now)
        told = []
        for epoch in range(epochs, max(0, epochs - 3), -1):
            step = max(1, round(self.steps * epoch / epochs))
            name = self.model_id if epoch == epochs else f"{self.model_id}:ckpt-step-{step}"
            told.append(
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
        return told

    def results_csv(self, now: dt.datetime, *, encoded: bool) -> bytes:
        """The result file: CSV, in base64 as OpenAI gives it, or plain."""
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
