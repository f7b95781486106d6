"""`/v1/fine_tuning/jobs` and `/v1/models`: every backend's jobs by OpenAI's API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ftsdk.async_client import AsyncCheckpoint, AsyncFineTuneJob
from ftsdk.errors import UsageError
from ftsdk.serve.documents import (
    checkpoint_document,
    event_document,
    job_document,
    model_document,
    page,
)
from ftsdk.serve.problems import Problem, problem_of
from ftsdk.serve.requests import (
    HyperparameterBody,
    JobBody,
    body_of,
    known_query,
    metadata_filter,
    whole_number,
)
from ftsdk.serve.state import ServerState
from ftsdk.types.status import JobStatus


class JobRoutes:
    """The routes of jobs and models."""

    def __init__(self, state: ServerState) -> None:
        self._state = state

    async def create(self, request: Request) -> Response:
        """`POST /v1/fine_tuning/jobs`: one job at the configured provider."""
        body = await body_of(request, JobBody)
        state = self._state
        training = state.uploads.path(body.training_file, param="training_file")
        options: dict[str, Any] = {"model": body.model, "method": body.method_name}
        if body.validation_file is not None:
            options["validation"] = state.uploads.path(
                body.validation_file, param="validation_file"
            )
        if body.suffix is not None:
            options["name"] = body.suffix
        if body.seed is not None:
            options["seed"] = body.seed
        if body.metadata:
            options["tags"] = body.metadata
        options["hyperparameters"] = self._hyperparameters(body.settings(), body.method_name)
        key = request.headers.get("idempotency-key")
        job = await state.client.create_job(training, key=key, **options)
        files = {"training_file": body.training_file, "validation_file": body.validation_file}
        state.remember_files(job.id, files)
        return self._answer(job)

    def _hyperparameters(self, given: HyperparameterBody, method: str) -> dict[str, Any]:
        """The settings in our words; a multiplier becomes a rate where a backend takes rates.

        Raises `Problem` for a setting that does not translate.
        """
        found: dict[str, Any] = {}
        if given.n_epochs != "auto":
            found["epochs"] = given.n_epochs
        if given.batch_size != "auto":
            found["batch_size"] = given.batch_size
        if given.beta != "auto":
            if method != "dpo":
                raise Problem(400, "beta belongs to the method dpo.", param="hyperparameters.beta")
            found["beta"] = given.beta
        if given.learning_rate_multiplier != "auto":
            found |= self._rate(float(given.learning_rate_multiplier))
        return found

    def _rate(self, multiplier: float) -> dict[str, Any]:
        backend = self._state.client.session.backend()
        ranges = backend.capabilities.hyperparameters
        if "learning_rate_multiplier" in ranges:
            return {"learning_rate_multiplier": multiplier}
        usual = ranges["learning_rate"].default if "learning_rate" in ranges else None
        if usual is None:
            raise Problem(
                400,
                f"{backend.name} has no learning rate of its own that could be multiplied.",
                param="hyperparameters.learning_rate_multiplier",
            )
        return {"learning_rate": float(usual) * multiplier}

    async def list(self, request: Request) -> Response:
        """`GET /v1/fine_tuning/jobs`, newest first; `metadata[name]=value` filters."""
        known_query(request, "limit", "after", "metadata")
        limit = whole_number(request, "limit", 20)
        jobs = await self._state.client.list_jobs(
            tag=metadata_filter(request),
            after=request.query_params.get("after"),
            limit=limit + 1,  # one more says whether there are more
        )
        return JSONResponse(page(jobs, self._document, lambda job: job.id, after=None, limit=limit))

    async def get(self, request: Request) -> Response:
        """`GET /v1/fine_tuning/jobs/{job_id}`, as its provider reports it now."""
        job = await self._job(request)
        if not job.is_final:
            await job.refresh()
        return self._answer(job)

    async def cancel(self, request: Request) -> Response:
        """`POST /v1/fine_tuning/jobs/{job_id}/cancel`."""
        job = await self._job(request)
        return await self._acted(job.cancel)

    async def pause(self, request: Request) -> Response:
        """`POST /v1/fine_tuning/jobs/{job_id}/pause`."""
        job = await self._job(request)
        return await self._acted(job.pause)

    async def resume(self, request: Request) -> Response:
        """`POST /v1/fine_tuning/jobs/{job_id}/resume`."""
        job = await self._job(request)
        return await self._acted(job.resume)

    async def events(self, request: Request) -> Response:
        """`GET /v1/fine_tuning/jobs/{job_id}/events`, newest first."""
        known_query(request, "limit", "after")
        job = await self._job(request)
        found = list(await job.events())[::-1]
        limit = whole_number(request, "limit", 20)
        after = request.query_params.get("after")
        shown = page(found, event_document, lambda one: one.id, after=after, limit=limit)
        return JSONResponse(shown)

    async def checkpoints(self, request: Request) -> Response:
        """`GET /v1/fine_tuning/jobs/{job_id}/checkpoints`, newest first."""
        known_query(request, "limit", "after")
        job = await self._job(request)
        found = list(await job.checkpoints())[::-1]
        limit = whole_number(request, "limit", 10)
        after = request.query_params.get("after")

        def document(one: AsyncCheckpoint) -> dict[str, Any]:
            return checkpoint_document(one.record, job.snapshot)

        return JSONResponse(page(found, document, lambda one: one.id, after=after, limit=limit))

    async def models(self, _: Request) -> Response:
        """`GET /v1/models`: the models of jobs that succeeded, and the aliases."""
        jobs = await self._state.client.list_jobs(status=JobStatus.SUCCEEDED)
        found = [model_document(job.snapshot) for job in jobs]
        for alias in self._state.settings.aliases:
            job = await self._state.job_of_model(alias)
            found.append(model_document(job.snapshot, alias))
        return JSONResponse({"object": "list", "data": found})

    async def model(self, request: Request) -> Response:
        """`GET /v1/models/{model}`."""
        name = request.path_params["model"]
        job = await self._state.job_of_model(name)
        return JSONResponse(model_document(job.snapshot, name))

    async def _job(self, request: Request) -> AsyncFineTuneJob:
        return await self._state.job(request.path_params["job_id"])

    async def _acted(self, act: Callable[[], Awaitable[AsyncFineTuneJob]]) -> Response:
        """Answer with the job after `act`. Raises `Problem` (409) where its state does not allow it."""
        try:
            return self._answer(await act())
        except UsageError as error:
            message = problem_of(error).message
            raise Problem(409, message, code="not_possible") from error

    def _document(self, job: AsyncFineTuneJob) -> dict[str, Any]:
        return job_document(job.snapshot, self._state.files_of(job.id))

    def _answer(self, job: AsyncFineTuneJob) -> Response:
        document = self._document(job)
        return JSONResponse(document, headers={"x-ftsdk-status": str(job.snapshot.status)})
