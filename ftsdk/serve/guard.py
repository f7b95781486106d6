"""What is checked before every route: the Host header, the origin of a page, the token, the size of a body.

A web page in a browser on this machine can reach a server on loopback: by a name that resolves to it,
or with a form. So the token is asked for on loopback too, and other hosts and origins are refused.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from ftsdk.serve.problems import Problem
from ftsdk.serve.settings import ServeSettings

_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_App = Callable[[_Scope, _Receive, _Send], Awaitable[None]]

OPEN_PATHS = frozenset({"/health"})
"""Paths that are answered without a token; they say nothing."""
UPLOAD_PATH = "/v1/files"
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (
        b"content-security-policy",
        b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
)


class Guard:
    """An ASGI application around another one."""

    def __init__(self, app: _App, settings: ServeSettings) -> None:
        self._app, self._settings = app, settings

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Answer the request, or pass it on."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        try:
            limit = self._check(scope)
            await self._app(scope, _bounded(receive, limit), with_headers)
        except Problem as problem:
            await _answer(problem, with_headers)

    def _check(self, scope: _Scope) -> int:
        """Return how many bytes the body may have. Raises `Problem` for a request that is refused."""
        headers = _single(
            scope["headers"], (b"host", b"origin", b"authorization", b"content-length")
        )
        settings = self._settings
        if headers.get(b"host", "").lower() not in settings.allowed_hosts:
            raise Problem(421, "This server does not answer for that host.", code="wrong_host")
        origin = headers.get(b"origin")
        if origin is not None and origin.partition("://")[2].lower() not in settings.allowed_hosts:
            raise Problem(403, "Pages of other origins are not answered.", code="wrong_origin")
        if scope["path"] not in OPEN_PATHS:
            self._check_token(headers.get(b"authorization", ""))
        is_upload = scope["method"] == "POST" and scope["path"] == UPLOAD_PATH
        limit = settings.max_file_bytes if is_upload else settings.max_body_bytes
        length = headers.get(b"content-length", "0")
        if not length.isdigit() or int(length) > limit:
            raise Problem(413, f"A body may have {limit:,} bytes here.", code="too_large")
        return limit

    def _check_token(self, authorization: str) -> None:
        scheme, _, given = authorization.partition(" ")
        token = self._settings.token
        right = hmac.compare_digest(given.strip().encode(), token.encode())
        if scheme.lower() != "bearer" or not right:
            raise Problem(
                401,
                "The API key is not this server's token; `ftsdk serve` shows it when it starts.",
                code="invalid_api_key",
            )


def _single(headers: Iterable[tuple[bytes, bytes]], names: Iterable[bytes]) -> dict[bytes, str]:
    """The values of these headers. Raises `Problem` where one is given twice."""
    found: dict[bytes, str] = {}
    for name, value in headers:
        if name in names:
            if name in found:
                raise Problem(400, f"The header {name.decode()} is given twice.")
            found[name] = value.decode("latin-1")
    return found


def _bounded(receive: _Receive, limit: int) -> _Receive:
    """`receive`, which raises `Problem` once the body is longer than `limit` bytes."""
    seen = 0

    async def counted() -> MutableMapping[str, Any]:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise Problem(413, f"A body may have {limit:,} bytes here.", code="too_large")
        return message

    return counted


async def _answer(problem: Problem, send: _Send) -> None:
    body = json.dumps(problem.document()).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(name.encode(), value.encode()) for name, value in problem.headers().items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
