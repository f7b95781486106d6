"""A double of Replicate: files, models and versions, trainings, predictions, weights.

It answers in the shapes of the OpenAPI document (2026-03-16). There is one trainer with a published
input schema, `lab/llama-trainer`, also under the name of the catalogue's trainer.

Settings: `stages` (how long a training takes), `lists_before_visible` (a new training appears in
lists late), `trainings_at_once` (a quota), `credit` (False: HTTP 402), `page_size`. To change one
training: `fail`, `trainings[id].forced` (a raw status to report instead of the computed one).
"""

from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import urlsplit

from ftsdk.testing.lab import fake_training
from ftsdk.testing.lab.base import KeyedDouble, route
from ftsdk.testing.lab.messages import Refusal, Reply, Request
from ftsdk.testing.lab.replicate.files import ReplicateFiles
from ftsdk.testing.lab.replicate.jobs import FakeJob
from ftsdk.testing.lab.replicate.models import TRAINER, VERSION, ReplicateModels
from ftsdk.testing.lab.replicate.predictions import ReplicatePredictions
from ftsdk.testing.lab.replicate.request_checks import check_inputs, problem
from ftsdk.testing.lab.replicate.weights import ReplicateWeights
from ftsdk.testing.lab.timeline import Stage, Timeline

STAGES = (Stage("starting", 0.0), Stage("processing", 2.0), Stage("succeeded", 6.0))
KEY = "lab-replicate-key"
_PAGE = 100


class ReplicateDouble(
    ReplicateFiles, ReplicateModels, ReplicatePredictions, ReplicateWeights, KeyedDouble
):
    """Replicate. The settings are described in the module docstring."""

    name = "replicate"
    own_stages = STAGES
    own_keys = (KEY, f"{KEY}-2")
    storage = "/delivery/"
    rehearsal = f"--provider replicate --model {TRAINER} --set destination=lab/tuned"
    per_account = ("trainings", "files", "predictions")
    settable = ("credit", "trainings_at_once", "lists_before_visible", "page_size")

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.credit = True
        self.trainings_at_once: int | None = None
        self.trainings: dict[str, FakeJob] = {}

    def variables(self) -> dict[str, str]:
        return {"REPLICATE_BASE_URL": self.base_url, "REPLICATE_API_TOKEN": min(self.keys)}

    # --- refusals ---

    def wrong_key(self) -> Refusal:
        return problem(401, "Unauthenticated", "You did not pass a valid authentication token")

    def not_found(self, request: Request) -> Reply:
        raise problem(404, "Not found", f"{request.method} {request.path}")

    # --- trainings ---

    @route("POST", "/v1/models/{owner}/{name}/versions/{version}/trainings")
    def create_training(self, request: Request, owner: str, name: str, version: str) -> Any:
        """Create a training. At the provider, billing starts here."""
        self.get_version(request, owner, name, version)
        body = request.json()
        unknown = sorted(set(body) - {"destination", "input", "webhook", "webhook_events_filter"})
        if unknown:
            field = unknown[0]
            raise problem(422, "Unprocessable", f"Additional property {field}", field=field)
        destination = str(body.get("destination") or "")
        if destination not in self.models:
            raise problem(404, "Not found", "The specified training destination does not exist")
        if version != VERSION:
            raise problem(422, "Unprocessable", "The version cannot be trained")
        inputs = check_inputs(body.get("input"))
        if not self.credit:
            raise problem(402, "Insufficient credit", "You have insufficient credit to run this")
        active = [one for one in self.trainings.values() if not one.is_final(self.now())]
        if self.trainings_at_once is not None and len(active) >= self.trainings_at_once:
            raise problem(429, "Throttled", "Request was throttled. Your rate limit resets in ~30s.",
                          headers={"Retry-After": "30"})  # fmt: skip
        job = self._new_job(f"{owner}/{name}", destination, inputs)
        return Reply(201, self._training_object(job))

    def _new_job(self, model: str, destination: str, inputs: dict[str, Any]) -> FakeJob:
        job_id, now = self.new_id("", 26), self.now()
        content = self._content(inputs["train_data"])
        error = _data_error(content)
        stages = self.stages
        if error is not None:
            stages = (*stages[:2], Stage("failed", stages[1].at_s + 1))
        job = FakeJob(
            id=job_id,
            model=model,
            trainer_version=VERSION,
            destination=destination,
            request=inputs,
            timeline=Timeline(now, stages, training="processing", trained="succeeded"),
            created=now,
            version=hashlib.sha256(job_id.encode()).hexdigest(),
            content=content,
            error=error,
            visible_after_lists=self.lists_before_visible,
        )
        self.trainings[job_id] = job
        return job

    def _content(self, url: str) -> bytes | None:
        """Return the content of the file at `url`; None where the double cannot fetch it."""
        file = self.files.get(urlsplit(url).path.rpartition("/")[2])
        return file["content"] if file else (b"" if url.startswith("https://") else None)

    def fail(self, training_id: str, message: str) -> None:
        """End a training as failed."""
        with self._lock:
            job = self.trainings[training_id]
            job.error = message
            job.timeline.end("failed", self.now())

    def _training_object(self, job: FakeJob) -> dict[str, Any]:
        versions = self.models[job.destination]["versions"]
        if job.succeeded(self.now()) and job.version not in versions:
            versions.append(job.version)
        return job.object(self.now(), self.origin)

    def _training(self, training_id: str) -> FakeJob:
        if training_id not in self.trainings:
            raise problem(404, "Not found", "Training not found")
        return self.trainings[training_id]

    @route("GET", "/v1/trainings")
    def list_trainings(self, request: Request) -> Any:
        """Return a page of trainings, newest first."""
        found = []
        for job in reversed(self.trainings.values()):
            if job.visible_after_lists > 0:
                job.visible_after_lists -= 1
            else:
                found.append(job)
        begin = int(request.first("cursor") or 0)
        end = begin + (self.page_size or _PAGE)
        page, more = found[begin:end], end < len(found)
        following = f"{self.origin}/v1/trainings?cursor={end}" if more else None
        results = [self._training_object(job) for job in page]
        return {"previous": None, "next": following, "results": results}

    @route("GET", "/v1/trainings/{training_id}")
    def get_training(self, request: Request, training_id: str) -> Any:
        """Return one training."""
        return self._training_object(self._training(training_id))

    @route("POST", "/v1/trainings/{training_id}/cancel")
    def cancel(self, request: Request, training_id: str) -> Any:
        """Cancel a training; one that has ended stays as it is."""
        job = self._training(training_id)
        if not job.is_final(self.now()):
            started = job.timeline.age_s(self.now()) >= self.stages[1].at_s
            job.timeline.end("canceled" if started else "aborted", self.now())
        return self._training_object(job)


def _data_error(content: bytes | None) -> str | None:
    """Return the error with which a training on this file fails, or None."""
    if content is None:
        return "train_data could not be fetched"
    fault = _first_fault(content)
    return None if fault is None else f"line {fault[0]}: {fault[1]}"


def _first_fault(content: bytes) -> tuple[int, str] | None:
    for number, row in fake_training.rows_of(content):
        if not isinstance(row, dict):
            return number, "not a JSON object"
        if not ({"text"} <= set(row) or {"prompt", "completion"} <= set(row) or "messages" in row):
            return number, "neither text nor prompt and completion"
        if "explode" in str(row.get("completion", "")):
            return number, "the trainer does not like it"
    return None
