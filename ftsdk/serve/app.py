"""The server as one ASGI application. `ROUTES` and `PAGE_ROUTES` are the whole of what it answers."""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from ftsdk.async_client import AsyncClient
from ftsdk.errors import FtsdkError
from ftsdk.serve.api_schema import SchemaRoutes
from ftsdk.serve.chat_routes import ChatRoutes
from ftsdk.serve.file_routes import FileRoutes
from ftsdk.serve.guard import OPEN_PATHS, Guard
from ftsdk.serve.job_routes import JobRoutes
from ftsdk.serve.needs import Need, Needs
from ftsdk.serve.page.access import Access
from ftsdk.serve.page.routes import PAGE_ROUTES, PageRoutes
from ftsdk.serve.problems import Problem, problem_of
from ftsdk.serve.settings import ServeSettings
from ftsdk.serve.state import ServerState

_log = logging.getLogger("ftsdk")
_Endpoint = Callable[[Request], Awaitable[Response]]

ROUTES: tuple[tuple[str, str, str], ...] = (
    ("GET", "/health", "health"),
    ("GET", "/openapi.json", "schema.show"),
    ("POST", "/v1/files", "files.create"),
    ("GET", "/v1/files", "files.list"),
    ("GET", "/v1/files/{file_id}", "files.get"),
    ("DELETE", "/v1/files/{file_id}", "files.delete"),
    ("GET", "/v1/files/{file_id}/content", "files.content"),
    ("POST", "/v1/fine_tuning/jobs", "jobs.create"),
    ("GET", "/v1/fine_tuning/jobs", "jobs.list"),
    ("GET", "/v1/fine_tuning/jobs/{job_id}", "jobs.get"),
    ("POST", "/v1/fine_tuning/jobs/{job_id}/cancel", "jobs.cancel"),
    ("POST", "/v1/fine_tuning/jobs/{job_id}/pause", "jobs.pause"),
    ("POST", "/v1/fine_tuning/jobs/{job_id}/resume", "jobs.resume"),
    ("GET", "/v1/fine_tuning/jobs/{job_id}/events", "jobs.events"),
    ("GET", "/v1/fine_tuning/jobs/{job_id}/checkpoints", "jobs.checkpoints"),
    ("GET", "/v1/models", "jobs.models"),
    ("GET", "/v1/models/{model:path}", "jobs.model"),
    ("POST", "/v1/chat/completions", "chats.create"),
)
"""The API: method, path, and the function that answers. All but `OPEN_PATHS` need the token."""


def needs_of_routes() -> Needs:
    """What each route needs: the API the token, the page what `PAGE_ROUTES` says."""
    api: list[tuple[str, str, Need]] = [
        (method, path, "open" if path in OPEN_PATHS else "token") for method, path, _ in ROUTES
    ]
    return Needs([*api, *((method, path, need) for method, path, _, need in PAGE_ROUTES)])


def serve_app(
    client: AsyncClient, settings: ServeSettings, *, is_closing: Callable[[], bool] = lambda: False
) -> Guard:
    """The application over the jobs of `client`; it closes the client when it ends.

    Streams of the page end soon after `is_closing` returns True.
    """
    client.session.keep_models_loaded(settings.resident)
    state = ServerState(client, settings)
    access = Access(settings, state.clock)
    pages = PageRoutes(state, access, is_closing)
    groups: dict[str, Any] = {
        "schema": SchemaRoutes(),
        "files": FileRoutes(state),
        "jobs": JobRoutes(state),
        "chats": ChatRoutes(state),
    }

    def endpoint_of(name: str) -> _Endpoint:
        group, _, function = name.partition(".")
        found: _Endpoint = _health if name == "health" else getattr(groups[group], function)
        return found

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await client.close()

    app = Starlette(
        routes=[
            *(Route(path, endpoint_of(name), methods=[method]) for method, path, name in ROUTES),
            *(
                Route(path, pages.endpoint(name, need), methods=[method])
                for method, path, name, need in PAGE_ROUTES
            ),
        ],
        exception_handlers={
            FtsdkError: _on_error,
            Problem: _on_error,
            HTTPException: _on_http,
            Exception: _on_bug,
        },
        lifespan=lifespan,
    )
    return Guard(app, settings, needs_of_routes(), access)


async def _health(_: Request) -> Response:
    return PlainTextResponse("ok")


async def _on_error(_: Request, error: Exception) -> Response:
    """The answer to one of our errors; `Problem` is itself one already."""
    if isinstance(error, FtsdkError):
        return _answer(problem_of(error))
    if isinstance(error, Problem):
        return _answer(error)
    raise error


async def _on_http(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    words = {404: "There is no such path.", 405: "That path does not take this method."}
    message = words.get(error.status_code, str(error.detail))
    answer = _answer(Problem(error.status_code, message, code="unknown_url"))
    answer.headers.update(error.headers or {})
    return answer


def _answer(problem: Problem) -> Response:
    return JSONResponse(problem.document(), status_code=problem.status, headers=problem.headers())


async def _on_bug(request: Request, error: Exception) -> Response:
    """A fault of ours: its text stays in the log, and the answer has a number to find it by."""
    number = secrets.token_hex(4)
    _log.error("error %s in %s %s", number, request.method, request.url.path, exc_info=error)
    message = f"An error inside the server; its log has it as {number}."
    return _answer(Problem(500, message, code="bug"))
