"""A simulated Together fine-tuning job: its object, events, metrics and checkpoints."""

from __future__ import annotations

import datetime as dt
import hashlib
import math
from dataclasses import dataclass, field
from typing import Any

from ftsdk.testing.lab.fake_training import curve
from ftsdk.testing.lab.timeline import Timeline

_STAGE_EVENTS = (
    ("pending", "job_pending", "Job created"),
    ("queued", "job_start", "Job started"),
    ("running", "training_start", "Training started"),
    ("compressing", "training_complete", "Training complete"),
    ("compressing", "model_compressing", "Compressing model"),
    ("uploading", "model_uploading", "Uploading model"),
    ("completed", "model_upload_complete", "Model upload complete"),
    ("completed", "job_complete", "Job complete"),
)
"""Events at the beginning of each stage: status, event type, message."""


@dataclass
class FakeJob:
    """The state of one job; everything the API returns is computed from the clock."""

    id: str
    request: dict[str, Any]
    model: str
    timeline: Timeline
    created: dt.datetime
    rows: int
    tokens: int
    content: bytes
    price_usd: float
    file_bytes: int
    cancel_s: float = 1.0
    visible_after_lists: int = 0
    forced: str | None = None
    """A raw status to report instead of the computed one."""
    unregistered: bool = False
    """True when the upload to the registry failed: there are no object ids."""
    cancelled_at: dt.datetime | None = None
    log: list[tuple[dt.datetime, str, str, str]] = field(default_factory=list)
    """Events caused by API calls: time, level, type, message."""

    def status(self, now: dt.datetime) -> str:
        """Return Together's raw status."""
        if self.forced is not None:
            return self.forced
        if self.cancelled_at is not None:
            waited = (now - self.cancelled_at).total_seconds()
            return "cancelled" if waited >= self.cancel_s else "cancel_requested"
        return self.timeline.status(now)

    def completed(self, now: dt.datetime) -> bool:
        """Return whether the tuned model exists."""
        return self.status(now) == "completed"

    @property
    def epochs(self) -> int:
        """Number of epochs requested."""
        return int(self.request.get("n_epochs", 1))

    @property
    def steps(self) -> int:
        """Number of training steps."""
        batch = self.request.get("batch_size", "max")
        size = 32 if batch == "max" else int(batch)
        return max(4, math.ceil(self.rows / size) * self.epochs)

    @property
    def training_type(self) -> dict[str, Any]:
        """The training type of the request; LoRA by default."""
        return dict(
            self.request.get("training_type")
            or {"type": "Lora", "lora_r": 16, "lora_alpha": 32, "lora_dropout": 0.0,
                "lora_trainable_modules": "all-linear"}
        )  # fmt: skip

    @property
    def is_lora(self) -> bool:
        """True when the job trains an adapter."""
        return bool(self.training_type["type"] == "Lora")

    @property
    def output_name(self) -> str:
        """The name that the tuned model has, or will have."""
        base = self.model.rpartition("/")[2]
        suffix = self.request.get("suffix")
        tail = self.id.rpartition("-")[2][:8]
        return f"lab/{base}-{suffix}-{tail}" if suffix else f"lab/{base}-{tail}"

    def object_id(self, kind: str = "model") -> str:
        """Return the registry's id of the model or the adapter."""
        return "ml_" + hashlib.sha256(f"{self.id}:{kind}".encode()).hexdigest()[:20]

    # --- as the API returns it ---

    def summary(self, now: dt.datetime) -> dict[str, Any]:
        """Return the job as create, list and cancel return it."""
        status = self.status(now)
        copied = ("training_file", "validation_file", "packing", "max_seq_length", "suffix",
                "n_epochs", "n_evals", "n_checkpoints", "learning_rate", "lr_scheduler",
                "warmup_ratio", "max_grad_norm", "weight_decay", "random_seed", "from_checkpoint",
                "training_method", "wandb_project_name", "wandb_name")  # fmt: skip
        shape: dict[str, Any] = {
            "id": self.id,
            "status": status,
            "created_at": _iso(self.created),
            "updated_at": _iso(self._updated(now)),
            "user_id": "user_lab",
            "model": self.model,
            "model_output_name": self.output_name,
            "adapter_output_name": f"{self.output_name}-adapter" if self.is_lora else "",
            "training_type": self.training_type,
            "events": [],
            **{name: self.request[name] for name in copied if name in self.request},
        }
        if isinstance(self.request.get("batch_size"), int):
            shape["batch_size"] = self.request["batch_size"]
        if self.timeline.fraction(now) > 0:
            shape["token_count"] = self.tokens * self.epochs
            # A whole number; Together does not document its unit.
            shape["total_price"] = round(self.price_usd * 1000)
        if status in ("queued", "running"):
            shape["progress"] = {"estimate_available": True, "seconds_remaining": self._left(now)}
        return shape

    def detail(self, now: dt.datetime) -> dict[str, Any]:
        """Return the job as reading a single job returns it."""
        done = self.timeline.fraction(now)
        shape = {
            **self.summary(now),
            "job_id": self.id,
            "batch_size": self.request.get("batch_size", "max"),
            "steps_completed": int(done * self.steps + 1e-9),
            "total_steps": self.steps,
            "epochs_completed": int(done * self.epochs + 1e-9),
            "evals_completed": int(done * int(self.request.get("n_evals", 0)) + 1e-9),
            "param_count": 8_000_000_000,
            "queue_depth": 0,
            "trainingfile_numlines": self.rows,
            "trainingfile_size": self.file_bytes,
            "events": self.events(now),
        }
        if self.completed(now):
            shape["model_output_path"] = f"s3://lab/{self.id}/model"
            if not self.unregistered:
                shape |= self._registered()
        return shape

    def _registered(self) -> dict[str, Any]:
        name = self.output_name.partition("/")[2]
        ids: dict[str, Any] = {
            "model_object_id": self.object_id(),
            "model_object_name": f"lab-project/{name}",
            "model_object_revision_id": "rv_1",
        }
        if self.is_lora:
            ids |= {
                "adapter_object_id": self.object_id("adapter"),
                "adapter_object_name": f"lab-project/{name}-adapter",
                "adapter_object_revision_id": "rv_1",
            }
        return ids

    def _updated(self, now: dt.datetime) -> dt.datetime:
        if self.forced is not None:
            return self.created
        if self.cancelled_at is not None:
            return self.cancelled_at
        return self.timeline.start_of(self.timeline.status(now)) or self.created

    def _left(self, now: dt.datetime) -> int:
        age = self.timeline.age_s(now)
        later = [stage.at_s for stage in self.timeline.stages if stage.at_s > age]
        return max(0, round(later[0] - age)) if later else 0

    # --- events and metrics ---

    def events(self, now: dt.datetime, *, capitals: bool = False) -> list[dict[str, Any]]:
        """Return all events so far, oldest first; event types in capitals if asked."""
        entries: list[tuple[dt.datetime, str, str, str, int]] = []
        reached = {stage.status for stage in self._reached(now)}
        for status, kind, text in _STAGE_EVENTS:
            at = self.timeline.start_of(status)
            if at is not None and at <= now and status in reached:
                entries.append((at, "info", kind, text, 0))
        for epoch in range(1, int(self.timeline.fraction(now) * self.epochs + 1e-9) + 1):
            at, step = self._instant(epoch / self.epochs), self.steps * epoch // self.epochs
            entries.append((at, "info", "epoch_complete", f"Epoch {epoch} complete", step))
            entries.append(
                (at, "info", "checkpoint_save", f"Checkpoint saved at step {step}", step)
            )
        entries += [(at, level, kind, text, 0) for at, level, kind, text in self.log]
        entries.sort(key=lambda one: one[0])
        return [self._event(*one, capitals=capitals) for one in entries]

    def _reached(self, now: dt.datetime) -> list[Any]:
        until = min(now, self.cancelled_at) if self.cancelled_at else now
        return self.timeline.reached(until)

    def _event(
        self, at: dt.datetime, level: str, kind: str, text: str, step: int, *, capitals: bool
    ) -> dict[str, Any]:
        in_capitals = {"model_compressing": "COMPRESSING_MODEL"}.get(kind, kind.upper())
        return {
            "object": "fine-tune-event",
            "created_at": _iso(at),
            "level": level,
            "message": text,
            "type": in_capitals if capitals else kind,
            "param_count": 0,
            "token_count": 0,
            "total_steps": self.steps,
            "wandb_url": "",
            "step": step,
            "checkpoint_path": f"s3://lab/{self.id}/{step}" if kind == "checkpoint_save" else "",
            "model_path": "",
            "training_offset": 0,
            "hash": hashlib.sha256(f"{self.id}{_iso(at)}{kind}{text}".encode()).hexdigest()[:16],
        }

    def _instant(self, share: float) -> dt.datetime:
        begin = self.timeline.start_of(self.timeline.training) or self.created
        end = self.timeline.start_of(self.timeline.trained) or begin
        return begin + (end - begin) * share

    def metrics(self, now: dt.datetime) -> list[dict[str, float]]:
        """Return the metrics; training and evaluation are separate rows."""
        rows: list[dict[str, float]] = []
        evaluations = int(self.request.get("n_evals", 0))
        every = max(1, self.steps // evaluations) if evaluations else 0
        seed = int(self.request.get("random_seed") or 42)
        for point in curve(seed, self.steps, self.timeline.fraction(now)):
            step = int(point["step"])
            at = self._instant(point["share"]).timestamp() * 1e9
            rows.append(
                {
                    "timestamp": at,
                    "train/global_step": step,
                    "train/epoch": round(point["share"] * self.epochs, 4),
                    "train/loss": point["loss"],
                    "train/grad_norm": round(point["loss"] / 2, 4),
                    "train/learning_rate": self.request.get("learning_rate", 1e-5)
                    * (1 - point["share"]),
                }
            )
            if every and step % every == 0:
                loss = round(point["loss"] + 0.12, 5)
                rows.append({"timestamp": at, "train/global_step": step, "eval/loss": loss})
        return rows

    def checkpoints(self, now: dt.datetime) -> list[dict[str, Any]]:
        """Return the checkpoints. The last one of LoRA appears twice: merged and as adapter."""
        found: list[dict[str, Any]] = []
        done = int(self.timeline.fraction(now) * self.epochs + 1e-9)
        for epoch in range(1, done + 1):
            step = self.steps * epoch // self.epochs
            kinds = ["adapter", "model"] if self.is_lora and epoch == self.epochs else ["model"]
            found += [
                {
                    "step": step,
                    "created_at": _iso(self._instant(epoch / self.epochs)),
                    "path": f"s3://lab/{self.id}/{step}/{kind}",
                    "checkpoint_type": f"{'Final' if epoch == self.epochs else 'Intermediate'}"
                    f" {kind} (step {step})",
                    "checkpoint": kind,
                }
                for kind in kinds
            ]
        return found


def _iso(instant: dt.datetime) -> str:
    return instant.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
