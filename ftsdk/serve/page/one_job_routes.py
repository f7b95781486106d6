"""The routes of one job: its page, its stream, and what can be done with it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from ftsdk.async_client import AsyncFineTuneJob
from ftsdk.errors import UsageError
from ftsdk.serve.page import bars, words
from ftsdk.serve.page.chat import answers
from ftsdk.serve.page.html import Html
from ftsdk.serve.page.job_extras import Extras
from ftsdk.serve.page.job_page import JobFacts, job_page, job_update
from ftsdk.serve.page.jobs_page import needs_decision
from ftsdk.serve.page.layout import View, card, document
from ftsdk.serve.page.live import Update, stream
from ftsdk.serve.page.route_base import RouteBase, redirect, streamed
from ftsdk.serve.problems import Problem
from ftsdk.types.job import JobSnapshot
from ftsdk.util.iterators import close

_ID = re.compile(r"ftj_[0-9A-Z]{26}")
_FIRST_WAIT_S = 1.0
_MOST_CHARACTERS = 20_000


class OneJobRoutes(RouteBase):
    """One job."""

    def __init__(self, *values: Any) -> None:
        super().__init__(*values)
        self._extras = Extras(self._client)

    def _job(self, request: Request) -> JobSnapshot:
        """The job of a request. Raises `Problem` for an id of another shape, and `UnknownJob`."""
        job_id = request.path_params["job_id"]
        if not _ID.fullmatch(job_id):
            raise Problem(404, f"There is no job {job_id[:64]!r}.", code="not_found")
        return self._session.journal.get(job_id)

    async def job(self, request: Request) -> Response:
        """`GET /jobs/{job_id}`."""
        return self._html(await self._run(self._job_page, request))

    def _job_page(self, request: Request) -> Html:
        job = self._job(request)
        if not job.status.is_final:
            self._watch.ask(wait_s=_FIRST_WAIT_S)
            job = self._watch.current(self._session.journal.get(job.id))
        course = self._watch.course(job, wait_s=_FIRST_WAIT_S)
        return job_page(job, course, self._job_facts(job, self._view(request)))

    def _job_facts(self, job: JobSnapshot, view: View) -> JobFacts:
        leases = [one for one in bars.running_leases(self._session) if one.job_id == job.id]
        return JobFacts(
            self._session,
            view,
            needs_decision=needs_decision(self._session, job),
            silence=self._watch.silent.get(job.provider),
            per_hour=leases[0].usd_per_hour if leases else None,
            hosted=leases[0].cost(view.now) if leases else None,
        )

    async def live_job(self, request: Request) -> Response:
        """`GET /live/jobs/{job_id}`: the parts of the page as they change, until the job has ended."""
        first = await self._run(self._job, request)
        view = await self._run(self._view, request)
        status = first.status

        def read() -> Update:
            nonlocal status
            self._watch.ask()
            job = self._watch.current(self._session.journal.get(first.id))
            course = self._watch.course(job, wait_s=0.2)
            now = View(view.path, view.form_token, self._state.clock.now())
            update = job_update(job, course, self._job_facts(job, now), status)
            status = job.status
            return update

        return streamed(stream(read, self._is_closing))

    # --- parts that are fetched after the page ---

    async def portability(self, request: Request) -> Response:
        """`GET /jobs/{job_id}/portability`."""
        job = await self._run(self._job, request)
        found = await self._run(self._extras.portability, job)
        return await self._part(request, "Where it can go", found)

    async def rows(self, request: Request) -> Response:
        """`GET /jobs/{job_id}/rows`: a row as the model was shown it."""
        job = await self._run(self._job, request)
        at = request.query_params.get("at", "0")
        place = int(at) if at.isascii() and at.isdigit() and len(at) < 10 else 0
        return await self._part(request, "Data", await self._run(self._extras.rows, job, place))

    async def _part(self, request: Request, title: str, part: Html) -> Response:
        """Return a part alone to the page's script, and as a page to who follows a link."""
        if request.headers.get("sec-fetch-dest", "document") != "document":
            return self._html(part)
        view = await self._run(self._view, request)
        return self._html(document(view, title, card(title, part)))

    # --- what can be done ---

    async def cancel(self, request: Request, _: FormData) -> Response:
        """`POST /jobs/{job_id}/cancel`."""
        return await self._done(request, lambda job: job.cancel())

    async def pause(self, request: Request, _: FormData) -> Response:
        """`POST /jobs/{job_id}/pause`."""
        return await self._done(request, lambda job: job.pause())

    async def resume(self, request: Request, _: FormData) -> Response:
        """`POST /jobs/{job_id}/resume`."""
        return await self._done(request, lambda job: job.resume())

    async def _done(
        self, request: Request, act: Callable[[AsyncFineTuneJob], Awaitable[Any]]
    ) -> Response:
        job = await self._run(self._job, request)
        await act(await self._state.client.get_job(job.id))
        return redirect(f"/jobs/{job.id}")

    async def resolve(self, request: Request, form: FormData) -> Response:
        """`POST /jobs/{job_id}/resolve`: look again for a job in doubt, or decide it."""
        job = await self._run(self._job, request)
        client, how = self._state.client, form.get("how")
        if how == "look":
            await client.reconcile(job.id)
        elif how == "adopt":
            await client.resolve(job.id, adopt=str(form.get("adopt", "")).strip())
        elif how == "again":
            await client.resolve(job.id, send_again=True)
        elif how == "give-up":
            await client.resolve(job.id, give_up=True)
        else:
            raise UsageError("The form does not say what to do", where=words.title_of(job))
        return redirect(f"/jobs/{job.id}")

    async def chat(self, request: Request, form: FormData) -> Response:
        """`POST /jobs/{job_id}/chat`: both answers, as they come."""
        job = await self._run(self._job, request)
        message = str(form.get("message", ""))
        if not message.strip() or len(message) > _MOST_CHARACTERS:
            raise UsageError(
                f"A message has 1 to {_MOST_CHARACTERS:,} characters", where="the page"
            )
        try:
            self._state.chats.acquire_nowait()
        except anyio.WouldBlock as error:
            raise Problem(429, "Too many chats run here now: ask again in a moment.") from error
        return streamed(self._answers(job, message))

    async def _answers(self, job: JobSnapshot, message: str) -> AsyncIterator[bytes]:
        pieces = answers(self._client, job, message)
        try:
            while (
                piece := await anyio.to_thread.run_sync(partial(next, pieces, None))
            ) is not None:
                yield piece
        finally:
            self._state.chats.release()
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(close, pieces)
