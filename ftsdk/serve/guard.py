"""What is checked before every route: the Host header, the origin of a page, who asks, the size of a body.

A web page in a browser on this machine can reach a server on loopback: by a name that resolves to it,
or with a form. So the token is asked for on loopback too, and other hosts and origins are refused. The API
takes the token and no cookie; the page takes its cookie and no token.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any
from urllib.parse import quote

from ftsdk.serve.needs import Need, Needs
from ftsdk.serve.page.access import Access
from ftsdk.serve.problems import Problem
from ftsdk.serve.settings import ServeSettings

_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_App = Callable[[_Scope, _Receive, _Send], Awaitable[None]]

OPEN_PATHS = frozenset({"/health"})
"""Paths that are answered without a token; they say nothing."""
UPLOAD_PATHS = frozenset({"/v1/files", "/new/plan"})
SESSION = "ftsdk.session"
"""Where the scope of a request has the session of the page."""
_POLICY = b"content-security-policy"
_ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"cache-control", b"no-store"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_API_HEADERS = (
    *_ALWAYS,
    (b"referrer-policy", b"no-referrer"),
    (
        b"content-security-policy",
        b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
)
_PAGE_HEADERS = (
    *_ALWAYS,
    # `no-referrer` would make browsers send `Origin: null` with our own forms.
    (b"referrer-policy", b"same-origin"),
    (
        b"content-security-policy",
        (
            b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
            b"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        ),
    ),
)


class SignInFirst(Exception):
    """A page was asked for without a session."""

    def __init__(self, next_: str) -> None:
        super().__init__(next_)
        self.next = next_


class Guard:
    """An ASGI application around another one."""

    def __init__(self, app: _App, settings: ServeSettings, needs: Needs, access: Access) -> None:
        self._app, self._settings, self.needs, self.access = app, settings, needs, access

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Answer the request, or pass it on."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        need = self.needs.of(scope["method"], scope["path"])
        own = _API_HEADERS if need == "token" else _PAGE_HEADERS

        async def with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                given = list(message.get("headers", ()))
                has_policy = any(name == _POLICY for name, _ in given)  # a report has its own
                more = [one for one in own if not has_policy or one[0] != _POLICY]
                message["headers"] = [*given, *more]
            await send(message)

        try:
            limit = self._check(scope, need)
            await self._app(scope, _bounded(receive, limit), with_headers)
        except Problem as problem:
            await _answer(problem, with_headers)
        except SignInFirst as first:
            target = f"/sign-in?next={quote(first.next, safe='')}".encode()
            headers = [(b"location", target), (b"content-length", b"0")]
            await with_headers({"type": "http.response.start", "status": 303, "headers": headers})
            await with_headers({"type": "http.response.body", "body": b""})

    def _check(self, scope: _Scope, need: Need) -> int:
        """Return how many bytes the body may have. Raises `Problem` for a request that is refused."""
        headers = _single(scope["headers"], _CHECKED)
        settings = self._settings
        if headers.get(b"host", "").lower() not in settings.allowed_hosts:
            raise Problem(421, "This server does not answer for that host.", code="wrong_host")
        origin = headers.get(b"origin")
        if origin is not None and origin.partition("://")[2].lower() not in settings.allowed_hosts:
            raise Problem(403, "Pages of other origins are not answered.", code="wrong_origin")
        if need == "token":
            self._check_token(headers.get(b"authorization", ""))
        elif need != "open":
            self._check_session(scope, headers, need)
        if scope["method"] not in _SAFE and need in ("open", "form"):
            _check_own_form(headers)
        is_upload = scope["method"] == "POST" and scope["path"] in UPLOAD_PATHS
        limit = settings.max_file_bytes if is_upload else settings.max_body_bytes
        length = headers.get(b"content-length", "0")
        if not length.isdigit() or int(length) > limit:
            raise Problem(413, f"A body may have {limit:,} bytes here.", code="too_large")
        return limit

    def _check_session(self, scope: _Scope, headers: Mapping[bytes, str], need: Need) -> None:
        session = self.access.session_of(headers.get(b"cookie", ""))
        if session is not None:
            scope[SESSION] = session
            return
        if need == "page" and "text/html" in headers.get(b"accept", ""):
            query = scope.get("query_string", b"").decode("latin-1")
            raise SignInFirst(scope["path"] + (f"?{query}" if query else ""))
        raise Problem(401, "Sign in first: open / in a browser.", code="not_signed_in")

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


_SAFE = frozenset({"GET", "HEAD"})
_CHECKED = (
    b"host", b"origin", b"authorization", b"content-length", b"cookie", b"accept", b"sec-fetch-site",
)  # fmt: skip


def _check_own_form(headers: Mapping[bytes, str]) -> None:
    """Raise `Problem` unless a form comes from a page of this server."""
    site = headers.get(b"sec-fetch-site")
    if site not in (None, "same-origin") or (site is None and b"origin" not in headers):
        raise Problem(403, "This form does not come from this server's page.", code="wrong_origin")


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
