"""One pretended fine-tuning job of Together: its object, events, metrics, checkpoints and weights."""

from __future__ import annotations

import datetime as dt
import hashlib
import math
from dataclasses import dataclass, field
from typing import Any

from ftsdk.testing.lab.fake_training import curve
from ftsdk.testing.lab.timeline import Timeline

__all__ = ["STORY", "PretendTogetherJob"]

STORY = (
    ("pending", "job_pending", "Job created"),
    ("queued", "job_start", "Job started"),
    ("running", "training_start", "Training started"),
    ("compressing", "training_complete", "Training complete"),
    ("compressing", "model_compressing", "Compressing model"),
    ("uploading", "model_uploading", "Uploading model"),
    ("completed", "model_upload_complete", "Model upload complete"),
    ("completed", "job_complete", "Job complete"),
)
"""What a job says at the beginning of each stage."""


@dataclass
class PretendTogetherJob:
    """What the double keeps of a job; everything shown is computed from the clock."""

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
    """A status that is shown instead of the computed one."""
    unregistered: bool = False
    """The upload to the registry failed: no object ids."""
    cancelled_at: dt.datetime | None = None
    log: list[tuple[dt.datetime, str, str, str]] = field(default_factory=list)
    """What was done to it from outside: time, level, type, message."""

    def status(self, now: dt.datetime) -> str:
        """Together's word for where the job stands."""
        if self.forced is not None:
            return self.forced
        if self.cancelled_at is not None:
            waited = (now - self.cancelled_at).total_seconds()
            return "cancelled" if waited >= self.cancel_s else "cancel_requested"
        return self.timeline.word(now)

    def completed(self, now: dt.datetime) -> bool:
        """True once the model is there."""
        return self.status(now) == "completed"

    @property
    def epochs(self) -> int:
        """Epochs asked for."""
        return int(self.request.get("n_epochs", 1))

    @property
    def steps(self) -> int:
        """Steps of the whole training."""
        batch = self.request.get("batch_size", "max")
        size = 32 if batch == "max" else int(batch)
        return max(4, math.ceil(self.rows / size) * self.epochs)

    @property
    def training_type(self) -> dict[str, Any]:
        """LoRA where nothing was said."""
        return dict(
            self.request.get("training_type")
            or {"type": "Lora", "lora_r": 16, "lora_alpha": 32, "lora_dropout": 0.0,
                "lora_trainable_modules": "all-linear"}
        )  # fmt: skip

    @property
    def is_lora(self) -> bool:
        """True for an adapter."""
        return bool(self.training_type["type"] == "Lora")

    @property
    def output_name(self) -> str:
        """The name the tuned model has, or would have."""
        base = self.model.rpartition("/")[2]
        suffix = self.request.get("suffix")
        tail = self.id.rpartition("-")[2][:8]
        return f"lab/{base}-{suffix}-{tail}" if suffix else f"lab/{base}-{tail}"

    def object_id(self, kind: str = "model") -> str:
        """The registry's id of the model or the adapter."""
        return "ml_" + hashlib.sha256(f"{self.id}:{kind}".encode()).hexdigest()[:20]

    # --- as the API tells it ---

    def truncated(self, now: dt.datetime) -> dict[str, Any]:
        """The shape of create, list and cancel."""
        status = self.status(now)
        kept = ("training_file", "validation_file", "packing", "max_seq_length", "suffix",
                "n_epochs", "n_evals", "n_checkpoints", "learning_rate", "lr_scheduler",
                "warmup_ratio", "max_grad_norm", "weight_decay", "random_seed", "from_checkpoint",
                "training_method", "wandb_project_name", "wandb_name")  # fmt: skip
        told: dict[str, Any] = {
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
            **{name: self.request[name] for name in kept if name in self.request},
        }
        if isinstance(self.request.get("batch_size"), int):
            told["batch_size"] = self.request["batch_size"]
        if self.timeline.fraction(now) > 0:
            told["token_count"] = self.tokens * self.epochs
            # Together gives a whole number whose unit it does not tell.
            told["total_price"] = round(self.price_usd * 1000)
        if status in ("queued", "running"):
            told["progress"] = {"estimate_available": True, "seconds_remaining": self._left(now)}
        return told

    def whole(self, now: dt.datetime) -> dict[str, Any]:
        """The shape of a single job."""
        done = self.timeline.fraction(now)
        told = {
            **self.truncated(now),
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
            told["model_output_path"] = f"s3://lab/{self.id}/model"
            if not self.unregistered:
                told |= self._registered()
        return told

    def _registered(self) -> dict[str, Any]:
        name = self.output_name.partition("/")[2]
        told: dict[str, Any] = {
            "model_object_id": self.object_id(),
            "model_object_name": f"lab-project/{name}",
            "model_object_revision_id": "rv_1",
        }
        if self.is_lora:
            told |= {
                "adapter_object_id": self.object_id("adapter"),
                "adapter_object_name": f"lab-project/{name}-adapter",
                "adapter_object_revision_id": "rv_1",
            }
        return told

    def _updated(self, now: dt.datetime) -> dt.datetime:
        if self.forced is not None:
            return self.created
        if self.cancelled_at is not None:
            return self.cancelled_at
        return self.timeline.start_of(self.timeline.word(now)) or self.created

    def _left(self, now: dt.datetime) -> int:
        word = self.timeline.word(now)
        later = [s.at_s for s in self.timeline.stages if s.at_s > self.timeline.age_s(now)]
        return max(0, round(later[0] - self.timeline.age_s(now))) if later and word else 0

    # --- feeds ---

    def events(self, now: dt.datetime, *, capitals: bool = False) -> list[dict[str, Any]]:
        """All events so far, oldest first."""
        told: list[tuple[dt.datetime, str, str, str, int]] = []
        for word, kind, text in STORY:
            at = self.timeline.start_of(word)
            if at is not None and at <= now and word in {s.word for s in self._reached(now)}:
                told.append((at, "info", kind, text, 0))
        for epoch in range(1, int(self.timeline.fraction(now) * self.epochs + 1e-9) + 1):
            at, step = self._instant(epoch / self.epochs), self.steps * epoch // self.epochs
            told.append((at, "info", "epoch_complete", f"Epoch {epoch} complete", step))
            told.append((at, "info", "checkpoint_save", f"Checkpoint saved at step {step}", step))
        told += [(at, level, kind, text, 0) for at, level, kind, text in self.log]
        told.sort(key=lambda one: one[0])
        return [self._event(*one, capitals=capitals) for one in told]

    def _reached(self, now: dt.datetime) -> list[Any]:
        until = min(now, self.cancelled_at) if self.cancelled_at else now
        return self.timeline.reached(until)

    def _event(
        self, at: dt.datetime, level: str, kind: str, text: str, step: int, *, capitals: bool
    ) -> dict[str, Any]:
        shown = {"model_compressing": "COMPRESSING_MODEL"}.get(kind, kind.upper())
        return {
            "object": "fine-tune-event",
            "created_at": _iso(at),
            "level": level,
            "message": text,
            "type": shown if capitals else kind,
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
        """The curve, training and evaluation as rows of their own."""
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
        """The kept states; the last one twice for LoRA, merged and adapter."""
        told: list[dict[str, Any]] = []
        done = int(self.timeline.fraction(now) * self.epochs + 1e-9)
        for epoch in range(1, done + 1):
            step = self.steps * epoch // self.epochs
            kinds = ["adapter", "model"] if self.is_lora and epoch == self.epochs else ["model"]
            told += [
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
        return told


def _iso(instant: dt.datetime) -> str:
    return instant.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
