"""Every route, and what stands before it: host, origin, token, size; and bodies that make no sense."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

pytest.importorskip("starlette", reason="needs ftsdk[serve]; not installed: starlette")
pytest.importorskip("python_multipart", reason="needs ftsdk[serve]")
httpx = pytest.importorskip("httpx", reason="needs ftsdk[openai]; not installed: httpx")

import ftsdk  # noqa: E402  # after the skips
from ftsdk.config import Config  # noqa: E402  # as above
from ftsdk.serve import guard  # noqa: E402  # as above
from ftsdk.serve.app import ROUTES, serve_app  # noqa: E402  # as above
from ftsdk.serve.settings import ServeSettings  # noqa: E402  # as above

TOKEN = "a-token-of-this-test"
BEARER = {"authorization": f"Bearer {TOKEN}"}
PATHS = [
    (method, path.replace("{job_id}", "ftj_0").replace("{file_id}", "file-0"))
    for method, path, _ in ROUTES
]
GUARDED = [one for one in PATHS if one[1] not in guard.OPEN_PATHS]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    home = tmp_path_factory.mktemp("guarded")
    config = Config(data={"provider": "fake", "model": "fake-1"})
    client = ftsdk.AsyncClient(home=home, env={"OPENAI_API_KEY": "sk-secret-value"}, config=config)
    settings = ServeSettings(TOKEN, home / "serve", port=8765, max_body_bytes=1000)
    yield serve_app(client, settings)
    anyio.run(client.close)


def ask(app: Any, method: str, path: str, **given: Any) -> Any:
    """The answer to one request, as httpx sends it to this application."""
    base = given.pop("base", "http://127.0.0.1:8765")

    async def run() -> Any:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=base) as client:
            return await client.request(method, path, **given)

    return anyio.run(run)


@pytest.mark.parametrize(("method", "path"), GUARDED)
def test_without_the_token_nothing_is_answered(method: str, path: str, app: Any) -> None:
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {TOKEN}"}):
        answer = ask(app, method, path, headers=headers)
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "invalid_api_key"
        assert TOKEN not in answer.text


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_other_hosts_and_origins_are_refused_even_with_the_token(
    method: str, path: str, app: Any
) -> None:
    for base in ("http://evil.example:8765", "http://127.0.0.1", "http://127.0.0.1.evil:8765"):
        assert ask(app, method, path, headers=BEARER, base=base).status_code == 421
    for origin in ("http://evil.example", "null", "http://localhost:8766"):
        headers = {**BEARER, "origin": origin}
        assert ask(app, method, path, headers=headers).status_code == 403
    own = {**BEARER, "origin": "http://localhost:8765"}
    assert ask(app, method, path, headers=own).status_code not in (401, 403, 421)


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_no_body_makes_the_server_fail(method: str, path: str, app: Any) -> None:
    deep = "[" * 400 + "]" * 400
    bodies = [
        "",
        "{",
        "null",
        "[]",
        '{"model": 1}',
        '{"model": "m", "messages": "x"}',
        deep,
        "\x00",
    ]
    bodies.append(json.dumps({"model": "m", "training_file": "../../etc/passwd"}))
    for body in bodies:
        answer = ask(app, method, path, headers=BEARER, content=body.encode())
        assert answer.status_code < 500, (body, answer.text)
        assert "Traceback" not in answer.text


def test_too_many_waiting_chats_are_asked_to_come_back() -> None:
    """And a place is given back by a stream whose client went before its first piece."""
    from ftsdk.serve.chat_routes import _Stream, _Turn
    from ftsdk.serve.problems import Problem

    class State:
        def __init__(self) -> None:
            self.settings = ServeSettings(TOKEN, Path("x"), max_chats=1)
            self.chats, self.waiting = anyio.Semaphore(1), 0

    async def nothing() -> Any:
        yield b""

    async def gone(*_: Any) -> Any:
        raise ConnectionError

    async def run() -> None:
        state: Any = State()
        first = _Turn(state)
        await first.begin()
        async with anyio.create_task_group() as group:
            second = _Turn(state)
            group.start_soon(second.begin)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(Problem) as refused:
                await _Turn(state).begin()
            assert (refused.value.status, refused.value.retry_after_s) == (429, 2)
            never: Any = None  # the answer is not sent, so nothing is compared
            stream = _Stream(nothing(), first, {}, never)
            with pytest.raises((ConnectionError, ExceptionGroup)):
                await stream({"type": "http", "asgi": {}}, gone, gone)
        second.end()
        second.end()
        assert state.chats.value == 1

    anyio.run(run)


def test_a_body_that_is_too_long_is_refused_with_and_without_its_length(app: Any) -> None:
    path = "/v1/chat/completions"
    long = b'{"model": "' + b"m" * 2000 + b'"}'
    assert ask(app, "POST", path, headers=BEARER, content=long).status_code == 413

    async def pieces() -> Any:
        for start in range(0, len(long), 100):
            yield long[start : start + 100]

    assert ask(app, "POST", path, headers=BEARER, content=pieces()).status_code == 413


def test_a_file_id_is_no_path(app: Any, tmp_path: Path) -> None:
    for name in ("..%2f..%2fjournal.db", "file-..", ".meta"):
        answer = ask(app, "GET", f"/v1/files/{name}/content", headers=BEARER)
        assert answer.status_code == 404


def test_answers_have_the_headers_that_keep_them_private(app: Any) -> None:
    answer = ask(app, "GET", "/v1/models", headers=BEARER)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert "access-control-allow-origin" not in answer.headers


def test_other_methods_and_paths_have_an_error_of_the_same_shape(app: Any) -> None:
    for method, path, status in (("PUT", "/v1/files", 405), ("GET", "/v1/nothing", 404)):
        answer = ask(app, method, path, headers=BEARER)
        assert answer.status_code == status
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_a_fault_of_the_server_shows_a_number_and_no_words_of_it(
    app: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: Any) -> Any:
        raise RuntimeError("words from inside")

    monkeypatch.setattr("ftsdk.serve.uploads.Uploads.list", broken)
    answer = ask(app, "GET", "/v1/files", headers=BEARER)
    assert answer.status_code == 500
    error = answer.json()["error"]
    assert error["code"] == "bug"
    assert "words from inside" not in answer.text
    number = error["message"].rpartition(" ")[2].rstrip(".")
    assert any(number in record.getMessage() for record in caplog.records)


def test_the_settings_show_no_token() -> None:
    assert TOKEN not in repr(ServeSettings(TOKEN, Path("x")))
