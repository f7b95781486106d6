"""A double of Replicate: files, models and versions, trainings, predictions, weights.

Shapes are those of its OpenAPI text (2026-03-16). There is one trainer, `lab/llama-trainer`, with a
published input schema. What it can be told: `stages` (how long a training takes),
`lists_before_visible`, `trainings_at_once` (a quota), `credit` (False: HTTP 402), `page_size`; and to
a training: `fail`, `trainings[id]["forced"]` (a status shown instead of the computed one).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from ftsdk.testing.lab import fake_training
from ftsdk.testing.lab.base import route
from ftsdk.testing.lab.replicate.library import TRAINER, VERSION, ReplicateLibrary
from ftsdk.testing.lab.replicate.predictions import ReplicateRunning
from ftsdk.testing.lab.replicate.request_checks import check_inputs, iso, problem
from ftsdk.testing.lab.timeline import Stage, Timeline
from ftsdk.testing.lab.wire import Reply, Request
from ftsdk.util.clock import Clock

__all__ = ["STAGES", "TRAINER", "VERSION", "ReplicateDouble"]

STAGES = (Stage("starting", 0.0), Stage("processing", 2.0), Stage("succeeded", 6.0))
KEY = "lab-replicate-key"
_FINAL = ("succeeded", "failed", "canceled", "aborted")


class ReplicateDouble(ReplicateLibrary, ReplicateRunning):
    """See the module's docstring."""

    name = "replicate"
    rehearsal = f"--provider replicate --model {TRAINER} --set destination=lab/tuned"
    settable = ("credit", "trainings_at_once", "lists_before_visible", "page_size")

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        port: int = 0,
        stages: Sequence[Stage] = STAGES,
        keys: Sequence[str] = (KEY,),
    ) -> None:
        super().__init__(clock=clock, port=port)
        self.stages = tuple(stages)
        self.keys = set(keys)
        self.credit = True
        self.trainings_at_once: int | None = None
        self.lists_before_visible = 0
        self.page_size = 100
        self.trainings: dict[str, dict[str, Any]] = {}

    def variables(self) -> dict[str, str]:
        return {"REPLICATE_BASE_URL": self.base_url, "REPLICATE_API_TOKEN": min(self.keys)}

    # --- the door ---

    def before(self, request: Request) -> None:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if request.path.startswith("/delivery/"):
            if given:
                self.violations.append("the key was sent to the delivery of weights")
            return
        if given not in self.keys:
            raise problem(401, "Unauthenticated", "You did not pass a valid authentication token")

    def not_here(self, request: Request) -> Reply:
        raise problem(404, "Not found", f"{request.method} {request.path}")

    # --- trainings ---

    @route("POST", "/v1/models/{owner}/{name}/versions/{version}/trainings")
    def create_training(self, request: Request, owner: str, name: str, version: str) -> Any:
        """Create a training: here money would begin to flow."""
        self.get_version(request, owner, name, version)
        body = request.json()
        odd = sorted(set(body) - {"destination", "input", "webhook", "webhook_events_filter"})
        if odd:
            raise problem(422, "Unprocessable", f"Additional property {odd[0]}", field=odd[0])
        destination = str(body.get("destination") or "")
        if destination not in self.models:
            raise problem(404, "Not found", "The specified training destination does not exist")
        if version != VERSION:
            raise problem(422, "Unprocessable", "The version cannot be trained")
        inputs = check_inputs(body.get("input"))
        if not self.credit:
            raise problem(402, "Insufficient credit", "You have insufficient credit to run this")
        active = [one for one in self.trainings.values() if self._word(one) not in _FINAL]
        if self.trainings_at_once is not None and len(active) >= self.trainings_at_once:
            raise problem(429, "Throttled", "Request was throttled. Your rate limit resets in ~30s.",
                          headers={"Retry-After": "30"})  # fmt: skip
        return Reply(201, self._shown(self._new(f"{owner}/{name}", destination, inputs)))

    def _new(self, model: str, destination: str, inputs: dict[str, Any]) -> dict[str, Any]:
        identity = self.new_id("", 26)
        now, content = self.now(), self._content(inputs["train_data"])
        training: dict[str, Any] = {
            "id": identity,
            "model": model,
            "destination": destination,
            "input": inputs,
            "content": content,
            "created": now,
            "timeline": Timeline(now, self.stages, training="processing", trained="succeeded"),
            "hidden": self.lists_before_visible,
            "version": hashlib.sha256(identity.encode()).hexdigest(),
            "error": None,
            "forced": None,
        }
        fault = None if content is None else _first_fault(content)
        if content is None or fault is not None:
            said = (
                "train_data could not be fetched"
                if fault is None
                else f"line {fault[0]}: {fault[1]}"
            )
            training["error"] = said
            training["timeline"].stages = (
                *self.stages[:2],
                Stage("failed", self.stages[1].at_s + 1),
            )
        self.trainings[identity] = training
        return training

    def _content(self, url: str) -> bytes | None:
        """What lies at the URL, where it is one of ours."""
        file = self.files.get(urlsplit(url).path.rpartition("/")[2])
        return file["content"] if file else (b"" if url.startswith("https://") else None)

    def _word(self, training: Mapping[str, Any]) -> str:
        return str(
            training["timeline"].word(self.now())
            if training["forced"] is None
            else training["forced"]
        )

    def fail(self, training_id: str, message: str) -> None:
        """Let a training end in failure."""
        with self._lock:
            training = self.trainings[training_id]
            training["error"] = message
            training["timeline"].end("failed", self.now())

    def _shown(self, training: Mapping[str, Any]) -> dict[str, Any]:
        word, timeline, now = self._word(training), training["timeline"], self.now()
        identity = training["id"]
        started = timeline.start_of("processing")
        started = (
            started if started is not None and started <= now and timeline.age_s(now) >= 2 else None
        )
        done = word in _FINAL
        ended = timeline.start_of(word) if done else None
        if word == "succeeded" and training["version"] not in self._versions(training):
            self.models[training["destination"]]["versions"].append(training["version"])
        seconds = 0.0
        if started is not None and ended is not None:
            seconds = (ended - started).total_seconds()
        told = {
            "id": identity,
            "model": training["model"],
            "version": VERSION,
            "input": training["input"],
            "output": None,
            "logs": self._logs(training) if started is not None else "",
            "error": training["error"] if word == "failed" else None,
            "status": word,
            "source": "api",
            "created_at": iso(training["created"]),
            "started_at": None if started is None else iso(started),
            "completed_at": None if ended is None else iso(ended),
            "metrics": {"predict_time": seconds, "total_time": seconds + 2} if done else {},
            "urls": {
                "get": f"{self.origin}/v1/predictions/{identity}",
                "cancel": f"{self.origin}/v1/trainings/{identity}/cancel",
            },
        }
        if word == "succeeded":
            told["output"] = {
                "version": f"{training['destination']}:{training['version']}",
                "weights": f"{self.origin}/delivery/{identity}/weights.zip",
            }
        return told

    def _versions(self, training: Mapping[str, Any]) -> list[str]:
        found: list[str] = self.models[training["destination"]]["versions"]
        return found

    def _logs(self, training: Mapping[str, Any]) -> str:
        """What a trainer on top of transformers prints: a bar and a line of figures each step."""
        steps = 12
        lines = ["Downloading weights", "Starting training"]
        epochs = float(training["input"].get("num_train_epochs", 1))
        for point in fake_training.curve(int(training["input"].get("seed", 0)), steps,
                                 training["timeline"].fraction(self.now())):  # fmt: skip
            step = int(point["step"])
            epoch = round(point["share"] * epochs, 2)
            lines.append(f"{step * 100 // steps:3d}%|####  | {step}/{steps} [00:01<00:05, 1.2it/s]")
            lines.append(f"{{'loss': {point['loss']}, 'learning_rate': 2e-05, 'epoch': {epoch}}}")
        if training["error"]:
            lines.append(f"Traceback: {training['error']}")
        return "\n".join(lines) + "\n"

    def _training(self, training_id: str) -> dict[str, Any]:
        if training_id not in self.trainings:
            raise problem(404, "Not found", "Training not found")
        return self.trainings[training_id]

    @route("GET", "/v1/trainings")
    def list_trainings(self, request: Request) -> Any:
        """A page of trainings, newest first."""
        shown = []
        for training in reversed(self.trainings.values()):
            if training["hidden"] > 0:
                training["hidden"] -= 1
            else:
                shown.append(training)
        begin = int(request.first("cursor") or 0)
        page = shown[begin : begin + self.page_size]
        more = begin + self.page_size < len(shown)
        following = f"{self.origin}/v1/trainings?cursor={begin + self.page_size}" if more else None
        return {"previous": None, "next": following, "results": [self._shown(one) for one in page]}

    @route("GET", "/v1/trainings/{training_id}")
    def get_training(self, request: Request, training_id: str) -> Any:
        """One training."""
        return self._shown(self._training(training_id))

    @route("POST", "/v1/trainings/{training_id}/cancel")
    def cancel(self, request: Request, training_id: str) -> Any:
        """Stop a training; one that ended stays as it is."""
        training = self._training(training_id)
        if self._word(training) not in _FINAL:
            begun = training["timeline"].age_s(self.now()) >= self.stages[1].at_s
            training["timeline"].end("canceled" if begun else "aborted", self.now())
        return self._shown(training)


def _first_fault(content: bytes) -> tuple[int, str] | None:
    for number, row in fake_training.rows_of(content):
        if not isinstance(row, dict):
            return number, "not a JSON object"
        if not ({"text"} <= set(row) or {"prompt", "completion"} <= set(row) or "messages" in row):
            return number, "neither text nor prompt and completion"
        if "explode" in str(row.get("completion", "")):
            return number, "the trainer does not like it"
    return None
