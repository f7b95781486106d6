"""A double of Together's fine-tuning: uploads, jobs, events, metrics, weights, endpoints, chat.

It answers as together 3.1.1 (2026-11-04) expects and refuses what the API refuses.

Settings: `stages` (how long a job takes), `processing_s` (how long the check of a file takes),
`jobs_at_once` (a quota), `user_limit_usd`, `lists_before_visible` (a new job appears in lists late),
`capitals` (event types in capitals, as in the SDK), `download_redirects`, and those of
`ftsdk.testing.lab.chats` (`request_limit` and `token_limit` per second). To change one job: `restart`,
`fail`, `jobs[id].forced`, `jobs[id].unregistered`.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from ftsdk.testing.lab import fake_training
from ftsdk.testing.lab.base import KeyedDouble, route
from ftsdk.testing.lab.messages import Refusal, Reply, Request
from ftsdk.testing.lab.timeline import Stage, Timeline
from ftsdk.testing.lab.together.endpoints import TogetherEndpoints
from ftsdk.testing.lab.together.files import TogetherFiles
from ftsdk.testing.lab.together.jobs import FakeJob
from ftsdk.testing.lab.together.request_checks import (
    LIMITS,
    UNLISTED,
    check_create,
    check_estimate,
    refuse,
)
from ftsdk.testing.lab.together.weights import TogetherWeights

STAGES = (
    Stage("pending", 0.0),
    Stage("queued", 0.5),
    Stage("running", 2.0),
    Stage("compressing", 6.0),
    Stage("uploading", 6.5),
    Stage("completed", 7.0),
)
KEY = "lab-together-key"
_USD_PER_MTOK = {"Lora": 0.48, "Full": 1.35}
_MINIMUM_USD = 4.0


class TogetherDouble(TogetherFiles, TogetherWeights, TogetherEndpoints, KeyedDouble):
    """Together. The settings are described in the module docstring."""

    name = "together"
    own_stages = STAGES
    own_keys = (KEY, f"{KEY}-2")
    storage = "/storage/"
    rehearsal = "--provider together --model Qwen/Qwen3.5-9B"
    per_account = ("jobs", "files", "endpoints")
    settable = (
        "jobs_at_once",
        "user_limit_usd",
        "lists_before_visible",
        "processing_s",
        "provisioning_s",
        "configs",
        "capitals",
        "download_redirects",
        "request_limit",
        "token_limit",
        "burst_s",
        "answer_s",
        "noise",
    )

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.jobs_at_once: int | None = None
        self.user_limit_usd = 1000.0
        self.capitals = False
        self.jobs: dict[str, FakeJob] = {}

    def variables(self) -> dict[str, str]:
        return {"TOGETHER_BASE_URL": self.base_url, "TOGETHER_API_KEY": min(self.keys)}

    # --- refusals ---

    def wrong_key(self) -> Refusal:
        return refuse(401, "Invalid API key provided", kind="authentication_error")

    def not_found(self, request: Request) -> Reply:
        raise refuse(404, f"Not found: {request.method} {request.path}", kind="not_found_error")

    # --- before a job ---

    @route("GET", "/v1/fine-tunes/models/supported")
    def supported(self, request: Request) -> Any:
        """Return the models that can be tuned, without those that left the list and are still taken."""
        return {"models": sorted(LIMITS.keys() - UNLISTED)}

    @route("GET", "/v1/fine-tunes/models/limits")
    def limits(self, request: Request) -> Any:
        """Return the limits of a model, or of the model that a job tuned."""
        found = self._limits(request.first("model_name") or "")
        if found is None:
            return Reply(404, {"message": "The model is not available for fine-tuning"})
        return found

    def _limits(self, name: str) -> dict[str, Any] | None:
        return LIMITS.get(self._base_of(name))

    def _base_of(self, name: str) -> str:
        head = name.partition(":")[0]
        for job in self.jobs.values():
            if head in (job.id, job.output_name):
                return job.model
        return name

    def _ready(self, file_id: str) -> dict[str, Any] | str:
        """Return the file, or why no estimate can be made with it."""
        file = self._file(file_id)
        status, _ = self._processing(file)
        if status == "COMPLETED":
            return file
        return "invalid" if status == "INVALID_FORMAT" else "not_validated"

    @route("POST", "/v1/fine-tunes/estimate-price")
    def estimate(self, request: Request) -> Any:
        """Return the price of a job, in dollars."""
        body = check_estimate(request.json())
        for field, prefix in (("training_file", "train"), ("validation_file", "eval")):
            found = self._ready(body[field]) if body.get(field) else None
            if isinstance(found, str):
                reason = f"{prefix}_file_{found}"
                return {"estimation_available": False, "unavailable_reason": reason}
        train, evaluated, price = self._price(body)
        return {
            "estimation_available": True,
            "estimated_total_price": price,
            "estimated_train_token_count": train,
            "estimated_eval_token_count": evaluated,
            "user_limit": self.user_limit_usd,
            "allowed_to_proceed": price <= self.user_limit_usd,
        }

    def _price(self, body: dict[str, Any]) -> tuple[int, int, float]:
        train = fake_training.count_tokens(self._file(body["training_file"])["rows"])
        train *= int(body.get("n_epochs", 1))
        evaluated = 0
        if body.get("validation_file"):
            evaluated = fake_training.count_tokens(self._file(body["validation_file"])["rows"])
            evaluated *= int(body.get("n_evals", 0))
        rate = _USD_PER_MTOK[(body.get("training_type") or {"type": "Lora"})["type"]]
        price = (train + evaluated) * rate / 1e6
        return train, evaluated, round(max(_MINIMUM_USD, price), 4)

    # --- jobs ---

    @route("POST", "/v1/fine-tunes")
    def create(self, request: Request) -> Any:
        """Create a job. At the provider, billing starts here."""
        given = request.json()
        name = (
            (given.get("model") or given.get("from_checkpoint"))
            if isinstance(given, dict)
            else None
        )
        body = check_create(given, self._limits(str(name)) if name else None)
        for field in ("training_file", "validation_file"):
            if body.get(field) and isinstance(self._ready(body[field]), str):
                raise refuse(400, f"{field} has not been validated", param=field)
        running = [job for job in self.jobs.values() if self._is_open(job)]
        if self.jobs_at_once is not None and len(running) >= self.jobs_at_once:
            raise refuse(400, "You have reached your limit of concurrent fine-tuning jobs")
        job = self._new_job(body, self._base_of(str(name)))
        return job.summary(self.now())

    def _is_open(self, job: FakeJob) -> bool:
        return job.status(self.now()) not in ("completed", "error", "user_error", "cancelled")

    def _new_job(self, body: dict[str, Any], model: str) -> FakeJob:
        digest = self.new_id("", 32)
        job_id = f"ft-{digest[:8]}-{digest[8:12]}-{digest[12:16]}"
        file = self._file(body["training_file"])
        content = file["rows"]
        now = self.now()
        job = FakeJob(
            id=job_id,
            request=body,
            model=model,
            timeline=Timeline(now, self.stages, training="running", trained="compressing"),
            created=now,
            rows=sum(1 for _ in fake_training.rows_of(content)),
            tokens=fake_training.count_tokens(content),
            content=content,
            price_usd=self._price(body)[2],
            file_bytes=len(file["content"]),
            visible_after_lists=self.lists_before_visible,
        )
        self.jobs[job_id] = job
        return job

    def restart(self, job_id: str, *, named: bool = True) -> str:
        """Restart a job, as the platform does: a new job, and events about it on the old one.

        Returns the id of the new job. Its id is in the event when `named`.
        """
        with self._lock:
            old, now = self.jobs[job_id], self.now()
            new = self._new_job(dict(old.request), old.model)
            new.created += dt.timedelta(milliseconds=1)
            old.forced = "error"
            old.timeline.end("error", now)
            message = f"Job restarted as {new.id}" if named else "Job restarted"
            old.log.append((now, "warning", "job_restarted", message))
            old.log.append((now, "info", "refund", "The job was refunded"))
            return new.id

    def fail(self, job_id: str, message: str, *, status: str = "error") -> None:
        """End a job as failed, with this raw status."""
        with self._lock:
            kind = "job_user_error" if status == "user_error" else "job_error"
            self.jobs[job_id].forced = status
            self.jobs[job_id].timeline.end(status, self.now())
            self.jobs[job_id].log.append((self.now(), "error", kind, message))

    def _job(self, job_id: str) -> FakeJob:
        if job_id not in self.jobs:
            raise refuse(404, f"Job {job_id} not found", kind="not_found_error")
        return self.jobs[job_id]

    @route("GET", "/v1/fine-tunes")
    def list_jobs(self, request: Request) -> Any:
        """Return all jobs; Together has no pages and no filter."""
        found = []
        for job in reversed(self.jobs.values()):
            if job.visible_after_lists > 0:
                job.visible_after_lists -= 1
            else:
                found.append(job.summary(self.now()))
        return {"data": found}

    @route("GET", "/v1/fine-tunes/{job_id}")
    def get_job(self, request: Request, job_id: str) -> Any:
        """Return one job with all its fields."""
        return self._job(job_id).detail(self.now())

    @route("DELETE", "/v1/fine-tunes/{job_id}")
    def delete_job(self, request: Request, job_id: str) -> Any:
        """Delete a job and its results."""
        self._job(job_id)
        del self.jobs[job_id]
        return {"message": "Job deleted"}

    @route("POST", "/v1/fine-tunes/{job_id}/cancel")
    def cancel(self, request: Request, job_id: str) -> Any:
        """Request the cancellation of a job."""
        job, now = self._job(job_id), self.now()
        if not self._is_open(job):
            raise refuse(400, f"Job is {job.status(now)} and cannot be cancelled")
        if job.cancelled_at is None:
            job.timeline.end("cancelled", now)
            job.cancelled_at = now
            job.log.append((now, "info", "cancel_requested", "Cancel requested"))
        return job.summary(now)

    @route("GET", "/v1/fine-tunes/{job_id}/events")
    def events(self, request: Request, job_id: str) -> Any:
        """Return all events, oldest first."""
        return {"data": self._job(job_id).events(self.now(), capitals=self.capitals)}

    @route("GET", "/v1/fine-tunes/{job_id}/metrics")
    def metrics(self, request: Request, job_id: str) -> Any:
        """Return the metrics."""
        return {"metrics": self._job(job_id).metrics(self.now())}

    @route("GET", "/v1/fine-tunes/{job_id}/checkpoints")
    def checkpoints(self, request: Request, job_id: str) -> Any:
        """Return the checkpoints."""
        return {"data": self._job(job_id).checkpoints(self.now())}
