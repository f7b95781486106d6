"""A double of Together's fine-tuning: the upload exchange, jobs, feeds, weights, endpoints, chat.

It answers as together 3.1.1 (2026-11-04) expects and refuses what the API refuses. What it can be
told: `stages` (how long a job takes), `processing_s` (how long the check of a file takes),
`jobs_at_once` (a quota), `user_limit_usd`, `lists_before_visible` (a new job shows late),
`capitals` (event types as the SDK's own list has them), `download_redirects`; and to a job:
`restart`, `fail`, `jobs[id].forced`, `jobs[id].unregistered`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from ftsdk.testing.lab import fake_training
from ftsdk.testing.lab.base import route
from ftsdk.testing.lab.timeline import Stage, Timeline
from ftsdk.testing.lab.together.endpoints import Endpoints
from ftsdk.testing.lab.together.files import TogetherFiles
from ftsdk.testing.lab.together.jobs import PretendTogetherJob
from ftsdk.testing.lab.together.request_checks import LIMITS, check_create, check_estimate, refuse
from ftsdk.testing.lab.together.weights import TogetherWeights
from ftsdk.testing.lab.wire import Reply, Request
from ftsdk.util.clock import Clock

__all__ = ["STAGES", "TogetherDouble"]

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


class TogetherDouble(TogetherFiles, TogetherWeights, Endpoints):
    """See the module's docstring."""

    name = "together"
    rehearsal = "--provider together --model Qwen/Qwen3.5-9B"
    settable = (
        "jobs_at_once",
        "user_limit_usd",
        "lists_before_visible",
        "processing_s",
        "provisioning_s",
        "configs",
        "capitals",
        "download_redirects",
    )

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
        self.jobs_at_once: int | None = None
        self.user_limit_usd = 1000.0
        self.lists_before_visible = 0
        self.capitals = False
        self.jobs: dict[str, PretendTogetherJob] = {}

    def variables(self) -> dict[str, str]:
        return {"TOGETHER_BASE_URL": self.base_url, "TOGETHER_API_KEY": min(self.keys)}

    # --- the door ---

    def before(self, request: Request) -> None:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if request.path.startswith("/storage/"):
            if given:
                self.violations.append(f"the key was sent to storage: {request.method}")
            return
        if given not in self.keys:
            raise refuse(401, "Invalid API key provided", kind="authentication_error")

    def not_here(self, request: Request) -> Reply:
        raise refuse(404, f"Not found: {request.method} {request.path}", kind="not_found_error")

    # --- before a job ---

    @route("GET", "/v1/fine-tunes/models/supported")
    def supported(self, request: Request) -> Any:
        """What can be tuned."""
        return {"models": sorted(LIMITS)}

    @route("GET", "/v1/fine-tunes/models/limits")
    def limits(self, request: Request) -> Any:
        """A model's limits, or those of the model a job was made from."""
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
        """The file, or why there is no estimate with it."""
        file = self._file(file_id)
        status, _ = self._processing(file)
        if status == "COMPLETED":
            return file
        return "invalid" if status == "INVALID_FORMAT" else "not_validated"

    @route("POST", "/v1/fine-tunes/estimate-price")
    def estimate(self, request: Request) -> Any:
        """The price of a job, in dollars."""
        body = check_estimate(request.json())
        for field, word in (("training_file", "train"), ("validation_file", "eval")):
            found = self._ready(body[field]) if body.get(field) else None
            if isinstance(found, str):
                reason = f"{word}_file_{found}"
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
        """Create a job: here money would begin to flow."""
        sent = request.json()
        name = sent.get("model") or sent.get("from_checkpoint") if isinstance(sent, dict) else None
        body = check_create(sent, self._limits(str(name)) if name else None)
        for field in ("training_file", "validation_file"):
            if body.get(field) and isinstance(self._ready(body[field]), str):
                raise refuse(400, f"{field} has not been validated", param=field)
        running = [job for job in self.jobs.values() if self._is_open(job)]
        if self.jobs_at_once is not None and len(running) >= self.jobs_at_once:
            raise refuse(400, "You have reached your limit of concurrent fine-tuning jobs")
        job = self._new_job(body, self._base_of(str(name)))
        return job.truncated(self.now())

    def _is_open(self, job: PretendTogetherJob) -> bool:
        return job.status(self.now()) not in ("completed", "error", "user_error", "cancelled")

    def _new_job(self, body: dict[str, Any], model: str) -> PretendTogetherJob:
        digest = self.new_id("", 32)
        job_id = f"ft-{digest[:8]}-{digest[8:12]}-{digest[12:16]}"
        file = self._file(body["training_file"])
        content = file["rows"]
        now = self.now()
        job = PretendTogetherJob(
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
        """The platform restarts a job: it goes on under a new id, with events on the old one."""
        with self._lock:
            old, now = self.jobs[job_id], self.now()
            new = self._new_job(dict(old.request), old.model)
            new.created += dt.timedelta(milliseconds=1)
            old.forced = "error"
            old.timeline.end("error", now)
            told = f"Job restarted as {new.id}" if named else "Job restarted"
            old.log.append((now, "warning", "job_restarted", told))
            old.log.append((now, "info", "refund", "The job was refunded"))
            return new.id

    def fail(self, job_id: str, message: str, *, word: str = "error") -> None:
        """Let a job end in failure."""
        with self._lock:
            kind = "job_user_error" if word == "user_error" else "job_error"
            self.jobs[job_id].forced = word
            self.jobs[job_id].timeline.end(word, self.now())
            self.jobs[job_id].log.append((self.now(), "error", kind, message))

    def _job(self, job_id: str) -> PretendTogetherJob:
        if job_id not in self.jobs:
            raise refuse(404, f"Job {job_id} not found", kind="not_found_error")
        return self.jobs[job_id]

    @route("GET", "/v1/fine-tunes")
    def list_jobs(self, request: Request) -> Any:
        """All jobs, without pages and without filter."""
        shown = []
        for job in reversed(self.jobs.values()):
            if job.visible_after_lists > 0:
                job.visible_after_lists -= 1
            else:
                shown.append(job.truncated(self.now()))
        return {"data": shown}

    @route("GET", "/v1/fine-tunes/{job_id}")
    def get_job(self, request: Request, job_id: str) -> Any:
        """One job, whole."""
        return self._job(job_id).whole(self.now())

    @route("DELETE", "/v1/fine-tunes/{job_id}")
    def delete_job(self, request: Request, job_id: str) -> Any:
        """Remove a job with all it made."""
        self._job(job_id)
        del self.jobs[job_id]
        return {"message": "Job deleted"}

    @route("POST", "/v1/fine-tunes/{job_id}/cancel")
    def cancel(self, request: Request, job_id: str) -> Any:
        """Ask a job to stop."""
        job, now = self._job(job_id), self.now()
        if not self._is_open(job):
            raise refuse(400, f"Job is {job.status(now)} and cannot be cancelled")
        if job.cancelled_at is None:
            job.timeline.end("cancelled", now)
            job.cancelled_at = now
            job.log.append((now, "info", "cancel_requested", "Cancel requested"))
        return job.truncated(now)

    @route("GET", "/v1/fine-tunes/{job_id}/events")
    def events(self, request: Request, job_id: str) -> Any:
        """All events, oldest first."""
        return {"data": self._job(job_id).events(self.now(), capitals=self.capitals)}

    @route("GET", "/v1/fine-tunes/{job_id}/metrics")
    def metrics(self, request: Request, job_id: str) -> Any:
        """The curve."""
        return {"metrics": self._job(job_id).metrics(self.now())}

    @route("GET", "/v1/fine-tunes/{job_id}/checkpoints")
    def checkpoints(self, request: Request, job_id: str) -> Any:
        """The kept states."""
        return {"data": self._job(job_id).checkpoints(self.now())}
