"""What the routes of the page share: checked forms, errors as pages, the bars above every page."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import anyio.to_thread
from starlette.background import BackgroundTask
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse

from ftsdk.backends.hosted.redact import mask_text
from ftsdk.errors import FtsdkError
from ftsdk.serve.needs import Need
from ftsdk.serve.page import bars
from ftsdk.serve.page.access import Access
from ftsdk.serve.page.html import Html, el
from ftsdk.serve.page.layout import View, bare_document, document, failure
from ftsdk.serve.page.watch import Watch
from ftsdk.serve.problems import Problem, problem_of
from ftsdk.serve.state import ServerState

_T = TypeVar("_T")
Page = Callable[[Request], Awaitable[Response]]
Form = Callable[[Request, FormData], Awaitable[Response]]


class RouteBase:
    """What the routes of the page share: forms are checked, errors become pages, bars come first."""

    def __init__(self, state: ServerState, access: Access, is_closing: Callable[[], bool]) -> None:
        self._state, self._access, self._is_closing = state, access, is_closing
        self._session = state.client.session
        self._watch = Watch(self._session)
        self._slow = bars.SlowReader(self._session)
        self._client = state.client._sync

    def endpoint(self, name: str, need: Need) -> Page:
        """Return what answers a route: with errors as pages, and for `form` with its token checked."""
        function = getattr(self, name)

        async def answer(request: Request) -> Response:
            try:
                if need != "form":
                    found: Response = await function(request)
                    return found
                async with request.form(max_files=1, max_fields=60) as form:
                    self._check_form(request, form)
                    return await self._sent(function, request, form)
            except (FtsdkError, Problem) as error:
                return await self._failed(request, error)

        return answer

    async def _sent(self, function: Form, request: Request, form: FormData) -> Response:
        return await function(request, form)

    def _check_form(self, request: Request, form: FormData) -> None:
        given = form.get("form_token")
        session = request.scope["ftsdk.session"]
        if not isinstance(given, str) or not self._access.is_form_token(session, given):
            raise Problem(403, "This form is too old: open the page again.", code="form_token")

    async def _failed(self, request: Request, error: FtsdkError | Problem) -> Response:
        """Return the error as a page: three lines as in the terminal, and the way back."""
        problem = error if isinstance(error, Problem) else problem_of(error)
        shown = error if isinstance(error, FtsdkError) else FtsdkError(problem.message)
        back = el("p", el("a", "All jobs", href="/"))
        if "ftsdk.session" not in request.scope:
            return self._html(bare_document("Failed", failure(shown), back), problem.status)
        view = await self._run(self._view, request)
        return self._html(document(view, "Failed", failure(shown), back), problem.status)

    async def _run(self, function: Callable[..., _T], *values: object) -> _T:
        return await anyio.to_thread.run_sync(functools.partial(function, *values))

    def _html(self, page: Html, status: int = 200) -> Response:
        refresh = BackgroundTask(self._run, self._slow.refresh)
        return HTMLResponse(mask_text(page), status_code=status, background=refresh)

    def _view(self, request: Request) -> View:
        """Return what a page needs of its request. Called in a thread."""
        session = request.scope["ftsdk.session"]
        now, slow = self._state.clock.now(), self._slow.get()
        leases = bars.running_leases(self._session)
        view = View(request.url.path, self._access.form_token(session), now)
        names = {one.job_id: self._name(one.job_id) for one in leases if one.job_id is not None}
        costs = bars.costs_bar(view, leases, names)
        dates = bars.dates_bar(self._session.today, slow)
        month = bars.month_words(slow, now)
        return View(view.path, view.form_token, now, bars.joined(costs, dates), month)

    def _name(self, job_id: str) -> str:
        found = self._session.journal.get(job_id)
        return found.name or found.id


def redirect(path: str) -> Response:
    """Return an answer that leads to another page."""
    return RedirectResponse(path, status_code=303)


def streamed(events: AsyncIterator[bytes]) -> Response:
    """Return server-sent events."""
    return StreamingResponse(events, media_type="text/event-stream")
