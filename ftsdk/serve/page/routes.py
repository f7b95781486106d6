"""The routes of the page, and what each needs. `PAGE_ROUTES` is the whole of them."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio.to_thread
from starlette.background import BackgroundTask
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse

from ftsdk.backends.hosted.redact import mask_text
from ftsdk.deployments.deploy import undeploy
from ftsdk.errors import FtsdkError
from ftsdk.serve.needs import Need
from ftsdk.serve.page import bars
from ftsdk.serve.page.access import Access
from ftsdk.serve.page.assets import asset
from ftsdk.serve.page.html import Html, el
from ftsdk.serve.page.job_rows import RowFacts, row_cells
from ftsdk.serve.page.jobs_page import (
    TABS,
    Filter,
    jobs_page,
    list_jobs,
    live_words,
    needs_decision,
)
from ftsdk.serve.page.layout import View, bare_document, document, failure
from ftsdk.serve.page.live import Update, stream
from ftsdk.serve.page.marks import status_word
from ftsdk.serve.page.sign_in import sign_in_page
from ftsdk.serve.page.watch import Watch
from ftsdk.serve.problems import Problem, problem_of
from ftsdk.serve.state import ServerState
from ftsdk.store.job_overview import job_counts
from ftsdk.types.job import JobSnapshot
from ftsdk.util.names import plural

PAGE_ROUTES: tuple[tuple[str, str, str, Need], ...] = (
    ("GET", "/", "jobs", "page"),
    ("GET", "/live/jobs", "live_jobs", "page"),
    ("POST", "/ask", "ask", "form"),
    ("POST", "/deployments/{lease_id}/end", "end_deployment", "form"),
    ("GET", "/sign-in", "sign_in", "open"),
    ("POST", "/sign-in", "signed_in", "open"),
    ("POST", "/sign-out", "sign_out", "form"),
    ("GET", "/assets/{name}", "asset", "open"),
    ("GET", "/favicon.ico", "icon", "open"),
)
"""Method, path, the method of `PageRoutes` that answers, and what a request needs."""

_T = TypeVar("_T")
_Page = Callable[[Request], Awaitable[Response]]
_Form = Callable[[Request, FormData], Awaitable[Response]]


class PageRoutes:
    """The routes of the page."""

    def __init__(self, state: ServerState, access: Access, is_closing: Callable[[], bool]) -> None:
        self._state, self._access, self._is_closing = state, access, is_closing
        self._session = state.client.session
        self._watch = Watch(self._session)
        self._slow = bars.SlowReader(self._session)

    def endpoint(self, name: str, need: Need) -> _Page:
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

    async def _sent(self, function: _Form, request: Request, form: FormData) -> Response:
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

    # --- the list of jobs ---

    async def jobs(self, request: Request) -> Response:
        """`GET /`."""
        return self._html(await self._run(self._jobs, request))

    def _jobs(self, request: Request) -> Html:
        wanted = _filter(request)
        listing = list_jobs(self._session, wanted)
        facts = self._row_facts(listing.undecided)
        return jobs_page(self._view(request), listing, wanted, self._watch, facts)

    def _row_facts(self, undecided: frozenset[str]) -> RowFacts:
        leases = bars.running_leases(self._session)
        return RowFacts(
            self._state.clock.now(),
            silent=self._watch.silent,
            ends=self._slow.get().ends,
            per_hour={one.job_id: one.usd_per_hour for one in leases if one.job_id is not None},
            undecided=undecided,
        )

    async def live_jobs(self, request: Request) -> Response:
        """`GET /live/jobs`: the rows of the list as they change."""
        wanted = _filter(request)
        first = await self._run(list_jobs, self._session, wanted)
        shown, before = [job.id for job in first.jobs], sum(first.counts.values())
        words = {job.id: status_word(job) for job in first.jobs}

        def read() -> Update:
            self._watch.ask()
            jobs = [self._session.journal.get(one) for one in shown]
            self._watch.fill(jobs)
            return self._list_update(jobs, words, before, wanted)

        return _streamed(stream(read, self._is_closing))

    def _list_update(
        self, jobs: list[JobSnapshot], words: dict[str, str], before: int, wanted: Filter
    ) -> Update:
        doubt = frozenset(job.id for job in jobs if needs_decision(self._session, job))
        facts = self._row_facts(doubt)
        update = Update({"live": Html(live_words(self._watch))})
        for job in jobs:
            course = self._watch.known_course(job.id)
            update.parts[f"row-{job.id}"] = row_cells(job, course, facts)
            if words[job.id] != status_word(job):
                words[job.id] = status_word(job)
                update.said.append(f"{job.name or job.id}: {words[job.id]}")
        counts = job_counts(self._session.journal)
        for tab, _, statuses in TABS:
            number = sum(
                count
                for (provider, status), count in counts.items()
                if status in statuses and wanted.provider in ("", provider)
            )
            update.parts[f"count-{tab or 'all'}"] = Html(f"{number:,}")
        new = sum(counts.values()) - before
        link = (
            el("a", f"{plural(new, 'new job')}: show", href=wanted.address()) if new > 0 else Html()
        )
        update.parts["new-jobs"] = link
        return update

    async def ask(self, _: Request, form: FormData) -> Response:
        """`POST /ask`: ask a provider that did not answer again, now."""
        provider = str(form.get("provider", ""))
        await self._run(functools.partial(self._watch.ask, provider, wait_s=3.0))
        return _to("/")

    async def end_deployment(self, request: Request, _: FormData) -> Response:
        """`POST /deployments/{lease_id}/end`: end a deployment, and with it its cost."""
        lease = request.path_params["lease_id"]
        await self._run(undeploy, self._session, lease, "ended on the page")
        return _to("/")

    # --- signing in, assets ---

    async def sign_in(self, request: Request) -> Response:
        """`GET /sign-in`: the form; with a code that was not used, a session at once."""
        code = request.query_params.get("code")
        if code is None:
            return self._html(sign_in_page(request.query_params.get("next", "/")))
        session = self._access.session_by_link(code)
        if session is None:
            return self._html(sign_in_page("/", "This link was used before, or is too old."), 401)
        return self._signed_in(session, "/")

    async def signed_in(self, request: Request) -> Response:
        """`POST /sign-in`: a session for the server's token."""
        async with request.form(max_files=0, max_fields=4) as form:
            token, target = str(form.get("token", "")), str(form.get("next", "/"))
        session = self._access.session_by_token(token)
        if session is None:
            return self._html(sign_in_page(target, "This is not the server's token."), 401)
        return self._signed_in(session, target)

    def _signed_in(self, session: str, target: str) -> Response:
        # Only a path of this server: `//host` and `/\host` are addresses of others.
        is_ours = target.startswith("/") and not target.startswith(("//", "/\\"))
        answer = _to(target if is_ours else "/")
        answer.headers["set-cookie"] = self._access.set_cookie(session)
        return answer

    async def sign_out(self, request: Request, _: FormData) -> Response:
        """`POST /sign-out`: end the session."""
        self._access.close(request.scope["ftsdk.session"])
        answer = _to("/sign-in")
        answer.headers["set-cookie"] = self._access.clear_cookie()
        return answer

    async def asset(self, request: Request) -> Response:
        """`GET /assets/{name}`: style, script or icon."""
        content, media_type = asset(request.path_params["name"])
        return Response(content, media_type=media_type)

    async def icon(self, _: Request) -> Response:
        """`GET /favicon.ico`."""
        content, media_type = asset("icon.svg")
        return Response(content, media_type=media_type)


def _filter(request: Request) -> Filter:
    given = request.query_params
    text = given.get("text", "")[:200]
    return Filter(given.get("tab", ""), given.get("provider", ""), text, given.get("after", ""))


def _to(path: str) -> Response:
    return RedirectResponse(path, status_code=303)


def _streamed(events: object) -> Response:
    return StreamingResponse(events, media_type="text/event-stream")  # type: ignore[arg-type]  # an iterator of bytes
