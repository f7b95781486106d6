"""A double of OpenAI's fine-tuning: files, uploads, jobs, events, checkpoints, models, chat.

It answers as the published API does (schema of 2026-08-21) and refuses what that refuses. With
another `service` (`azure`, `nebius`, `crusoe`) it has the quirks of that service; see `services`.

Settings: `closed` (job creation is refused), `jobs_at_once` (a quota), `stages` (how long a job
takes), `lists_before_visible` (a new job appears in lists late), `results_encoded` (base64),
`page_size` (the most items on one page, whatever is asked for), those of `batches` and
`stored_chats`, and those of `ftsdk.testing.lab.chats` (`request_limit` and `token_limit` per minute).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ftsdk.testing.lab import fake_training
from ftsdk.testing.lab.base import route
from ftsdk.testing.lab.messages import Reply, Request
from ftsdk.testing.lab.openai.batches import OpenAIBatches
from ftsdk.testing.lab.openai.files import page_of
from ftsdk.testing.lab.openai.jobs import FakeJob
from ftsdk.testing.lab.openai.request_checks import TUNABLE, check_create, refuse
from ftsdk.testing.lab.openai.services import SERVICES
from ftsdk.testing.lab.timeline import Stage, Timeline
from ftsdk.util.clock import Clock

STAGES = (
    Stage("validating_files", 0.0),
    Stage("queued", 1.0),
    Stage("running", 2.0),
    Stage("succeeded", 6.0),
)
KEY = "lab-openai-key"
_UNSAFE = "[[unsafe]]"
_MODERATED = (
    "The job failed due to an unsafe training file. This training file was blocked by our "
    "moderation system because it contains too many examples that violate our usage policies."
)


class OpenAIDouble(OpenAIBatches):
    """OpenAI, or a service with the same API. The settings are described in the module docstring."""

    name = "openai"
    rehearsal = "--provider openai --model gpt-4.1-mini-2025-04-14"
    per_account = ("jobs", "files", "uploads", "deployments", "batches", "stored")
    settable = (
        "closed",
        "jobs_at_once",
        "lists_before_visible",
        "processing_s",
        "warmup_s",
        "results_encoded",
        "any_model",
        "request_limit",
        "token_limit",
        "burst_s",
        "answer_s",
        "noise",
        "fingerprint",
        "batch_validation_s",
        "batch_s",
        "batch_expires_s",
        "batch_refuses",
        "batch_token_limit",
        "batch_errors",
        "stored_for_s",
        "page_size",
    )

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        port: int = 0,
        service: str = "openai",
        stages: Sequence[Stage] = STAGES,
        keys: Sequence[str] = (KEY, f"{KEY}-2"),
        warmup_s: float = 0.0,
    ) -> None:
        super().__init__(clock=clock, port=port)
        self.service = SERVICES[service]
        self.stages = tuple(stages)
        self.keys = set(keys)
        self.warmup_s = warmup_s
        self.closed = False
        self.jobs_at_once: int | None = None
        self.lists_before_visible = 0
        self.results_encoded = True
        self.any_model = self.service.any_model
        self.needs_deployments = self.service.is_azure
        self.has_batches = self.service.has_batches
        self.stores_chats = self.service.stores_chats

    @property
    def base_url(self) -> str:
        return self.origin + self.service.prefix

    def variables(self) -> dict[str, str]:
        return {
            self.service.url_variable: self.base_url,
            self.service.key_variable: min(self.keys),
            "OPENAI_WEBHOOK_SECRET": self.webhook_secret,
        }

    # --- authentication and routing ---

    def before(self, request: Request) -> None:
        given = request.headers.get("api-key") or request.headers.get("authorization", "")
        given = given.removeprefix("Bearer ")
        if not given:
            raise refuse(401, "You didn't provide an API key.", code=None)
        if given not in self.keys:
            masked = given[:3] + "*" * 8 + given[-4:]
            raise refuse(401, f"Incorrect API key provided: {masked}.", code="invalid_api_key")

    def not_found(self, request: Request) -> Reply:
        raise refuse(404, f"Invalid URL ({request.method} {request.path})", code="unknown_url")

    def _dispatch(self, request: Request) -> Reply:
        prefix = self.service.prefix
        if not request.path.startswith(prefix + "/"):
            return self.not_found(request)
        return super()._dispatch(replace(request, path=request.path.removeprefix(prefix)))

    # --- jobs ---

    @route("POST", "/fine_tuning/jobs")
    def create_job(self, request: Request) -> Any:
        """Create a job. Faults in its rows are reported later, as by the original."""
        if self.closed:
            raise refuse(
                403,
                "Your organization is not authorized to create fine-tuning jobs. The fine-tuning "
                "platform is winding down and is not accessible to new users.",
                code="fine_tuning_not_available",
                kind="permission_error",
            )
        body = check_create(request.json(), self.service)
        self._check_model(body)
        self._check_quota()
        for name in ("training_file", "validation_file"):
            if body.get(name) is not None and body[name] not in self.files:
                raise refuse(
                    400, f"File '{body[name]}' does not exist", code="invalid_file", param=name
                )
        return self._start_job(body).object(self.now())

    def _check_model(self, body: dict[str, Any]) -> None:
        kind = (body.get("method") or {}).get("type", "supervised")
        if self.any_model or body["model"].startswith("ft:") or ".ft-" in body["model"]:
            return
        needed = self.service.needs_field
        if needed is not None and body.get(needed) is None:
            raise refuse(400, "The base model does not support fine-tuning.", code="invalidPayload")
        if kind not in TUNABLE.get(body["model"], ()):
            raise refuse(
                400,
                f"Model {body['model']} is not available for fine-tuning with method {kind} or does "
                f"not exist. The lab tunes {', '.join(TUNABLE)}.",
                code="model_not_available",
                param="model",
            )

    def _check_quota(self) -> None:
        now = self.now()
        active = sum(
            job.status(now) not in ("succeeded", "failed", "cancelled")
            for job in self.jobs.values()
        )
        if self.jobs_at_once is not None and active >= self.jobs_at_once:
            raise refuse(
                429,
                f"This fine-tune request has been rate-limited. Your organization has reached the "
                f"maximum of {self.jobs_at_once} active requests.",
                code="daily_rate_limit_exceeded",
                kind="rate_limit_error",
                headers={"Retry-After": "60"},
            )

    def _start_job(self, body: dict[str, Any]) -> FakeJob:
        content = self.files[body["training_file"]]["content"]
        kind = (body.get("method") or {}).get("type", "supervised")
        fault = fake_training.first_fault(
            content, method="dpo" if kind == "dpo" else "sft", least=self.service.least_rows
        )
        stages, problem = self.stages, None
        if fault is not None:
            line, reason = fault
            place = f"line {line}" if line else "the file"
            problem = ("invalid_training_file", f"Invalid file format. Error at {place}: {reason}.")
            stages = (stages[0], Stage("failed", stages[1].at_s))
        job_id = self.new_id("ftjob-")
        job = FakeJob(
            id=job_id,
            request=body,
            timeline=Timeline(self.now(), stages, training="running", trained="succeeded"),
            created=self.now(),
            rows=sum(1 for _ in fake_training.rows_of(content)),
            tokens=fake_training.count_tokens(content),
            content=content,
            service=self.service,
            problem=problem,
            blocked=_UNSAFE.encode() in content,
            visible_after_lists=self.lists_before_visible,
        )
        if job.blocked and problem is None:
            job.problem = ("unsafe_file", _MODERATED)
            job.timeline.stages = (*stages[:-1], Stage("failed", stages[-1].at_s))
        self.jobs[job_id] = job
        return job

    def _job(self, job_id: str) -> FakeJob:
        if job_id not in self.jobs:
            raise refuse(
                404, f"Could not find fine tune: {job_id}", code="fine_tune_not_found",
                param="fine_tune_id",
            )  # fmt: skip
        job = self.jobs[job_id]
        if job.succeeded(self.now()) and job.result_file is None:
            content = job.results_csv(self.now(), encoded=self.results_encoded)
            file = self._store("step_metrics.csv", content, "fine-tune-results")
            job.result_file = file["id"]
        return job

    @route("GET", "/fine_tuning/jobs")
    def list_jobs(self, request: Request) -> Any:
        """Return a page of jobs, newest first, filtered by `metadata[key]=value`."""
        filters = {
            match.group(1): values[0]
            for name, values in request.query.items()
            if (match := re.fullmatch(r"metadata\[(.+)\]", name))
        }
        found = []
        for job_id in reversed(list(self.jobs)):
            job = self._job(job_id)
            if job.visible_after_lists > 0:
                job.visible_after_lists -= 1
                continue
            metadata = job.request.get("metadata") or {}
            matches = all(metadata.get(key) == value for key, value in filters.items())
            if matches or not self.service.keeps_metadata:
                found.append(job.object(self.now()))
        page, more = page_of(found, request, 20, self.page_size)
        return {"object": "list", "data": page, "has_more": more}

    @route("GET", "/fine_tuning/jobs/{job_id}")
    def get_job(self, request: Request, job_id: str) -> Any:
        """Return one job."""
        return self._job(job_id).object(self.now())

    @route("POST", "/fine_tuning/jobs/{job_id}/cancel")
    def cancel_job(self, request: Request, job_id: str) -> Any:
        """Cancel a job; refused when it has ended."""
        job = self._active(job_id, "cancel")
        job.timeline.end("cancelled", self.now())
        job.log.append((self.now(), "info", "The job was cancelled"))
        return job.object(self.now())

    @route("POST", "/fine_tuning/jobs/{job_id}/pause")
    def pause_job(self, request: Request, job_id: str) -> Any:
        """Pause a job."""
        job = self._active(job_id, "pause")
        job.timeline.pause("paused", self.now())
        job.log.append((self.now(), "info", "The job was paused"))
        return job.object(self.now())

    @route("POST", "/fine_tuning/jobs/{job_id}/resume")
    def resume_job(self, request: Request, job_id: str) -> Any:
        """Resume a paused job."""
        job = self._job(job_id)
        if job.status(self.now()) != "paused":
            raise refuse(400, "Only a paused job can be resumed.", param="fine_tuning_job_id")
        job.timeline.resume(self.now())
        job.log.append((self.now(), "info", "The job was resumed"))
        return job.object(self.now())

    def _active(self, job_id: str, action: str) -> FakeJob:
        job = self._job(job_id)
        if action != "cancel" and not self.service.can_pause:
            raise refuse(404, f"Invalid URL: there is no {action}", code="unknown_url")
        status = job.status(self.now())
        if status in ("succeeded", "failed", "cancelled"):
            raise refuse(400, f"Cannot {action} a job that has already {status}.")
        return job

    @route("GET", "/fine_tuning/jobs/{job_id}/events")
    def job_events(self, request: Request, job_id: str) -> Any:
        """Return a page of events, newest first."""
        events = self._job(job_id).events(self.now())
        page, more = page_of(events, request, 20, self.page_size)
        return {"object": "list", "data": page, "has_more": more}

    @route("GET", "/fine_tuning/jobs/{job_id}/checkpoints")
    def job_checkpoints(self, request: Request, job_id: str) -> Any:
        """Return a page of checkpoints, newest first."""
        kept = self._job(job_id).checkpoints(self.now())
        page, more = page_of(kept, request, 10, self.page_size)
        return {
            "object": "list",
            "data": page,
            "first_id": page[0]["id"] if page else None,
            "last_id": page[-1]["id"] if page else None,
            "has_more": more,
        }
