"""The routes of the page, and what each needs. `PAGE_ROUTES` is the whole of them."""

from __future__ import annotations

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from ftsdk.serve.needs import Need
from ftsdk.serve.page.assets import asset
from ftsdk.serve.page.compare_routes import CompareRoutes
from ftsdk.serve.page.create_routes import CreateRoutes
from ftsdk.serve.page.list_routes import ListRoutes
from ftsdk.serve.page.one_job_routes import OneJobRoutes
from ftsdk.serve.page.overview_routes import OverviewRoutes
from ftsdk.serve.page.route_base import redirect
from ftsdk.serve.page.sign_in import sign_in_page

PAGE_ROUTES: tuple[tuple[str, str, str, Need], ...] = (
    ("GET", "/", "jobs", "page"),
    ("GET", "/live/jobs", "live_jobs", "page"),
    ("GET", "/jobs/{job_id}", "job", "page"),
    ("GET", "/live/jobs/{job_id}", "live_job", "page"),
    ("GET", "/jobs/{job_id}/portability", "portability", "page"),
    ("GET", "/jobs/{job_id}/rows", "rows", "page"),
    ("POST", "/jobs/{job_id}/cancel", "cancel", "form"),
    ("POST", "/jobs/{job_id}/pause", "pause", "form"),
    ("POST", "/jobs/{job_id}/resume", "resume", "form"),
    ("POST", "/jobs/{job_id}/resolve", "resolve", "form"),
    ("POST", "/jobs/{job_id}/chat", "chat", "form"),
    ("GET", "/jobs/{job_id}/data", "data", "page"),
    ("GET", "/new", "new", "page"),
    ("POST", "/new/plan", "plan", "form"),
    ("POST", "/new/edit", "edit", "form"),
    ("POST", "/new", "create", "form"),
    ("GET", "/compare", "compare", "page"),
    ("GET", "/deployments", "deployments", "page"),
    ("GET", "/retirements", "retirements", "page"),
    ("GET", "/reports", "reports", "page"),
    ("GET", "/reports/{report_id}", "report", "page"),
    ("POST", "/ask", "ask", "form"),
    ("POST", "/deployments/{lease_id}/end", "end_deployment", "form"),
    ("GET", "/sign-in", "sign_in", "open"),
    ("POST", "/sign-in", "signed_in", "open"),
    ("POST", "/sign-out", "sign_out", "form"),
    ("GET", "/assets/{name}", "asset", "open"),
    ("GET", "/favicon.ico", "icon", "open"),
)
"""Method, path, the method of `PageRoutes` that answers, and what a request needs."""


class PageRoutes(ListRoutes, OneJobRoutes, CreateRoutes, CompareRoutes, OverviewRoutes):
    """All routes of the page; here are signing in, signing out, and the assets."""

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
        answer = redirect(target if is_ours else "/")
        answer.headers["set-cookie"] = self._access.set_cookie(session)
        return answer

    async def sign_out(self, request: Request, _: FormData) -> Response:
        """`POST /sign-out`: end the session."""
        self._access.close(request.scope["ftsdk.session"])
        answer = redirect("/sign-in")
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
