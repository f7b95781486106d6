"""Every route of the API and of the page, by every method: who is refused, and that no secret comes out."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

pytest.importorskip("starlette", reason="needs ftsdk[serve]; not installed: starlette")
pytest.importorskip("python_multipart", reason="needs ftsdk[serve]")

import ftsdk  # after the skips
from ftsdk.backends.hosted.redact import remember  # as above
from ftsdk.config import Config  # as above
from ftsdk.serve.app import serve_app  # as above
from ftsdk.serve.settings import ServeSettings  # as above
from ftsdk.util.clock import ManualClock  # as above

TOKEN = "the-token-of-this-server"
SECRETS = {
    "OPENAI_API_KEY": "sk-proj-planted0123456789abcdef",
    "TOGETHER_API_KEY": "tgp_v1_planted0123456789abcdef",
    "HF_TOKEN": "hf_planted0123456789abcdefghij",
    "OPENAI_WEBHOOK_SECRET": "whsec_planted0123456789abcdef",
    "AWS_ACCESS_KEY_ID": "AKIAPLANTED012345678",
    "UPLOAD_URL": "https://store.example/rows?X-Amz-Signature=planted0123456789abcdef",
}
HIDDEN = [TOKEN, *(value.rpartition("=")[2] for value in SECRETS.values())]
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "FOO")
HOSTS = (
    "", "evil.example", "evil.example:8765", "127.0.0.1", "localhost", "127.0.0.1:80", "127.0.0.1:8765.evil",
    "127.0.0.1.evil:8765", "localhost.:8765", "127.1:8765", "2130706433:8765", "0.0.0.0:8765", "[::]:8765",
    "user@127.0.0.1:8765", "127.0.0.1:8765, evil.example", "192.168.1.2:8765", "[::ffff:127.0.0.1]:8765",
)  # fmt: skip
_Headers = list[tuple[bytes, bytes]]


class Server:
    """An application, and requests to all of its routes."""

    def __init__(self, home: Path) -> None:
        config = Config(env={}, data={"provider": "fake", "model": "fake-1"})
        self.clock = ManualClock()
        self.client = ftsdk.AsyncClient(home=home, env=SECRETS, clock=self.clock, config=config)
        rows = [
            {
                "messages": [
                    {"role": "user", "content": f"{n}?"},
                    {"role": "assistant", "content": "x"},
                ]
            }
            for n in range(10)
        ]
        self.job = self.client._sync.create_job(rows)
        self.clock.advance(3600)
        self.job.refresh()
        self.app = serve_app(
            self.client, ServeSettings(TOKEN, home / "serve"), is_closing=lambda: True
        )
        self.needs = dict(self.app.needs.table)
        access = self.app.access
        session = access.session_by_token(TOKEN)
        assert session is not None
        self.cookie = f"{access.cookie}={session}".encode()

    def paths(self) -> list[str]:
        return sorted({path for _, path in self.needs})

    def real(self, path: str) -> str:
        """The path of a route, with things that exist."""
        found = path.replace("{job_id}", self.job.id).replace("{model:path}", self.job.id)
        found = found.replace("{name}", "page.css").replace("{report_id}", "0" * 24)
        return found.replace("{file_id}", "file-0").replace("{lease_id}", "lease-0")

    def allowed(self, host: bytes = b"127.0.0.1:8765") -> _Headers:
        """The headers of someone who may do all: the token, a session, and our own page."""
        return [
            (b"host", host), (b"authorization", f"Bearer {TOKEN}".encode()), (b"cookie", self.cookie),
            (b"origin", b"http://127.0.0.1:8765"), (b"sec-fetch-site", b"same-origin"),
        ]  # fmt: skip

    async def ask(self, method: str, path: str, headers: _Headers) -> tuple[int, bytes]:
        """The status of an answer, and its headers and body."""
        status, seen = 0, [b""]
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method,
            "scheme": "http", "path": path, "raw_path": path.encode(), "query_string": b"",
            "headers": headers, "server": ("127.0.0.1", 8765), "client": ("127.0.0.1", 5),
        }  # fmt: skip
        messages = iter([{"type": "http.request", "body": b"{}"}])

        async def receive() -> Any:
            return next(messages, {"type": "http.disconnect"})

        async def send(message: Any) -> None:
            nonlocal status
            status = message.get("status", status)
            seen.extend(part for pair in message.get("headers", ()) for part in pair)
            seen.append(message.get("body", b""))

        try:
            await self.app(scope, receive, send)
        except Exception:
            if status != 500:  # Starlette raises again what it has answered, for the server's log
                raise
        return status, b"\n".join(seen)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("every"))
    for value in SECRETS.values():
        remember(value)  # as every key is that a backend reads
    yield made
    anyio.run(made.client.close)


def everywhere(
    server: Server,
    act: Callable[[str, str, str], Awaitable[None]],
    methods: tuple[str, ...] = METHODS,
) -> None:
    """Do something with each route and method, and a path that is no route."""

    async def run() -> None:
        for path in [*server.paths(), "/nowhere", "/v1/nowhere"]:
            for method in methods:
                await act(method, path, server.real(path))

    anyio.run(run)


def test_the_table_has_every_route_of_the_application(server: Server) -> None:
    routes = {
        (method, route.path)
        for route in server.app._app.routes  # type: ignore[attr-defined]  # an application of Starlette
        for method in route.methods - {"HEAD"}
    }
    assert routes == set(server.needs)
    assert len(routes) >= 27


def test_who_has_nothing_gets_nothing(server: Server) -> None:
    """Only what is open is answered, by its own method alone; a cookie opens no API, a token no page."""
    origin = [(b"host", b"127.0.0.1:8765"), (b"origin", b"http://127.0.0.1:8765")]
    cookie = (b"cookie", server.cookie)
    wrong = (b"authorization", b"Bearer wrong")
    right = (b"authorization", f"Bearer {TOKEN}".encode())

    async def act(method: str, path: str, real: str) -> None:
        need = server.needs.get(("GET" if method == "HEAD" else method, path), "token")
        for headers in ([], [wrong], [(b"cookie", server.cookie[:-4] + b"0000")]):
            status, _ = await server.ask(method, real, [*origin, *headers])
            assert (status < 400) == (need == "open" and method in ("GET", "HEAD")) or (
                need == "open" and status in (400, 401, 404)
            ), (method, path, status)
        if need == "token":
            status, _ = await server.ask(method, real, [*origin, cookie])
            assert status == 401, (method, path)
        if need in ("page", "form"):
            status, _ = await server.ask(method, real, [*origin, right])
            assert status == 401, (method, path)

    everywhere(server, act)


def test_no_other_host_is_answered(server: Server) -> None:
    async def act(method: str, path: str, real: str) -> None:
        for host in HOSTS:
            status, _ = await server.ask(method, real, server.allowed(host.encode()))
            assert status == 421, (method, path, host)
        none = [one for one in server.allowed() if one[0] != b"host"]
        assert (await server.ask(method, real, none))[0] == 421
        twice = [*server.allowed(), (b"host", b"127.0.0.1:8765")]
        assert (await server.ask(method, real, twice))[0] == 400

    everywhere(server, act, ("GET", "POST", "DELETE"))


def test_no_other_origin_is_answered(server: Server) -> None:
    origins = (
        b"http://evil.example",
        b"null",
        b"",
        b"http://localhost:8766",
        b"http://127.0.0.1:8765.evil",
    )

    async def act(method: str, path: str, real: str) -> None:
        for origin in origins:
            headers = [one for one in server.allowed() if one[0] != b"origin"]
            status, _ = await server.ask(method, real, [*headers, (b"origin", origin)])
            assert status == 403, (method, path, origin)

    everywhere(server, act, ("GET", "POST", "DELETE"))


def test_a_form_without_its_token_does_nothing(server: Server) -> None:
    forms = [(method, path) for (method, path), need in server.needs.items() if need == "form"]
    assert forms

    async def run() -> None:
        for method, path in forms:
            status, _ = await server.ask(method, server.real(path), server.allowed())
            assert status in (400, 403), (method, path)

    anyio.run(run)


# --- secrets ----------------------------------------------------------------------------------------


def leaks(text: str | bytes) -> list[str]:
    """The secrets in a text, but for the first letters by which people recognise them."""
    whole = text if isinstance(text, bytes) else text.encode()
    return [secret for secret in HIDDEN if secret.encode() in whole]


def test_no_answer_and_no_log_has_a_secret(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    statuses: set[int] = set()

    async def act(method: str, path: str, real: str) -> None:
        status, answer = await server.ask(method, real, server.allowed())
        statuses.add(status)
        assert leaks(answer) == [], (method, path)

    with caplog.at_level(logging.DEBUG):
        everywhere(server, act)
    assert {200, 400, 404, 405} <= statuses
    assert leaks(caplog.text) == []


@pytest.mark.parametrize("kind", ["bug", "provider", "disk", "store"])
def test_an_error_with_secrets_in_it_shows_none(
    server: Server, kind: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each route fails with an error whose text has all secrets."""
    text = f"refused Bearer {TOKEN} with {' and '.join(SECRETS.values())}"
    error: Exception = {
        "bug": RuntimeError(text), "disk": OSError(5, text),
        "provider": ftsdk.Unavailable(text, where=text, hint=text), "store": ftsdk.StoreError(text),
    }[kind]  # fmt: skip

    async def fails(*_: Any) -> None:
        raise error

    for route in server.app._app.routes:  # type: ignore[attr-defined]  # as above
        monkeypatch.setattr(route, "app", fails)
    failed = 0

    async def act(method: str, path: str, real: str) -> None:
        nonlocal failed
        status, answer = await server.ask(method, real, server.allowed())
        failed += status >= 500
        assert leaks(answer) == [], (method, path)

    with caplog.at_level(logging.DEBUG):
        everywhere(server, act, ("GET", "POST", "DELETE"))
    assert failed >= len(server.needs) - 1
    assert leaks(caplog.text) == []
    assert kind not in ("bug", "disk") or "Traceback" in caplog.text
