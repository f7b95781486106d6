"""Aliases with shares: who asks which model, that both answers are kept, and what that may not do."""

from __future__ import annotations

import json
import random
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

pytest.importorskip("starlette", reason="needs ftsdk[serve]; not installed: starlette")
pytest.importorskip("python_multipart", reason="needs ftsdk[serve]")
httpx = pytest.importorskip("httpx", reason="needs ftsdk[openai]; not installed: httpx")

import ftsdk  # noqa: E402  # after the skips
from ftsdk.config import Config  # noqa: E402  # as above
from ftsdk.errors import UsageError  # noqa: E402  # as above
from ftsdk.serve.aliases import Share, choose, parse_alias  # noqa: E402  # as above
from ftsdk.serve.answer_log import AnswerLog  # noqa: E402  # as above
from ftsdk.serve.app import serve_app  # noqa: E402  # as above
from ftsdk.serve.settings import ServeSettings  # noqa: E402  # as above
from ftsdk.util.clock import ManualClock  # noqa: E402  # as above

TOKEN = "a-token-of-this-test"
KEY = "sk-proj-0123456789abcdefghij"
SHARES = (Share("a", 90), Share("b", 10))


# --- which model ------------------------------------------------------------------------------------


def test_an_alias_is_a_job_or_jobs_with_shares() -> None:
    assert parse_alias("support:2") == (Share("support:2", 100),)
    assert parse_alias("a:90, b:10") == SHARES
    assert parse_alias("ft:x:y:1:5,b:95") == (Share("ft:x:y:1", 5), Share("b", 95))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a,b", "'a' is not JOB:PERCENT"),
        ("a:90,b:9", "add up to 99"),
        ("a:90,b:20", "add up to 110"),
        ("a:50,a:50", "given twice"),
        ("a:-10,b:110", "'a:-10' is not"),
        ("a:50,:50", "':50' is not"),
        ("a:100,", "'' is not"),
        ("a:9e1,b:10", "'a:9e1' is not"),
    ],
)
def test_other_shares_are_refused(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        parse_alias(text)


def test_a_user_always_asks_the_same_model_and_the_shares_are_kept() -> None:
    def never(_: int) -> int:
        raise AssertionError("drawn by lot")

    users = [f"user-{number}" for number in range(4000)]
    chosen = {user: choose("alias", SHARES, user, never).job for user in users}
    assert {user: choose("alias", SHARES, user, never).job for user in users} == chosen
    assert 0.08 < Counter(chosen.values())["b"] / len(users) < 0.12
    more = (Share("a", 70), Share("b", 30))
    moved = {user for user in users if choose("alias", more, user, never).job != chosen[user]}
    assert {chosen[user] for user in moved} == {"a"}, "a user went back to the old model"
    assert 0.17 < len(moved) / len(users) < 0.23
    other = sum(choose("another", SHARES, user, never).job != chosen[user] for user in users)
    assert other > 0, "the same users try every new model"


def test_without_a_user_the_lot_decides() -> None:
    draw = random.Random(7).randrange
    found = Counter(choose("alias", SHARES, None, draw).job for _ in range(4000))
    assert 0.08 < found["b"] / 4000 < 0.12
    assert [choose("alias", SHARES, None, lambda _, n=n: n).job for n in (0, 89, 90, 99)] == list(
        "aabb"
    )


# --- through the server -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A home with two models: one answers in lower case, the other one in upper case."""
    home = tmp_path_factory.mktemp("aliases")
    clock, ids = ManualClock(), []
    with ftsdk.Client(home=home, env={}, clock=clock, config=Config(env={})) as client:
        for shape in (str.lower, str.upper):
            rows = [
                {
                    "messages": [
                        {"role": "user", "content": f"say {n}"},
                        {"role": "assistant", "content": shape(f"Answer {n}")},
                    ]
                }
                for n in range(12)
            ]
            job = client.create_job(rows, provider="fake", model="fake-1")
            clock.advance(3600)
            assert job.refresh().status == "succeeded"
            ids.append(job.id)
    return home, ids


class Served:
    """An application with one alias, asked without a network."""

    def __init__(
        self, home: Path, ids: list[str], log: Path | None, draw: Callable[[int], int]
    ) -> None:
        self.ids, self.log = ids, log
        config = Config(data={"provider": "fake", "model": "fake-1"})
        self.client = ftsdk.AsyncClient(home=home, env={"OPENAI_API_KEY": KEY}, config=config)
        self.app = serve_app(
            self.client,
            ServeSettings(
                TOKEN, home / "serve", aliases={"ft:old": f"{ids[0]}:90,{ids[1]}:10"},
                answer_log=log, draw=draw,
            ),
        )  # fmt: skip

    def ask(self, *, headers: dict[str, str] | None = None, **body: Any) -> Any:
        body = {"model": "ft:old", "messages": [{"role": "user", "content": "say 7"}], **body}

        async def run() -> Any:
            transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(
                transport=transport,
                base_url="http://127.0.0.1:8765",
                headers={"authorization": f"Bearer {TOKEN}", **(headers or {})},
            ) as client:
                return await client.post("/v1/chat/completions", json=body)

        return anyio.run(run)

    def records(self) -> list[dict[str, Any]]:
        assert self.log is not None
        return [json.loads(line) for line in self.log.read_bytes().split(b"\n") if line]


@pytest.fixture
def serve(jobs: tuple[Path, list[str]]) -> Iterator[Callable[..., Served]]:
    made: list[Served] = []

    def make(log: Path | None = None, draw: Callable[[int], int] = lambda _: 0) -> Served:
        made.append(Served(*jobs, log, draw))
        return made[-1]

    yield make
    for one in made:
        anyio.run(one.client.close)


def text_of(answer: Any) -> str:
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["message"]["content"])


def test_the_shares_decide_who_answers(serve: Callable[..., Served]) -> None:
    first, second = serve(), serve(draw=lambda _: 95)
    answer = first.ask()
    assert (text_of(answer), answer.headers["x-ftsdk-job"]) == ("answer 7", first.ids[0])
    answer = second.ask()
    assert (text_of(answer), answer.headers["x-ftsdk-job"]) == ("ANSWER 7", first.ids[1])
    for who in ({"user": "u-1"}, {"safety_identifier": "u-1", "user": "other"}):
        assert text_of(first.ask(**who)) == text_of(second.ask(**who)), "drawn for a known user"
    known = {"x-ftsdk-user": "u-1"}
    assert text_of(first.ask(headers=known, user="x")) == text_of(second.ask(user="u-1"))


@pytest.mark.parametrize("stream", [False, True])
def test_both_answers_are_kept(serve: Callable[..., Served], tmp_path: Path, stream: bool) -> None:
    log = tmp_path / "answers.jsonl"
    log.touch(mode=0o644)
    served = serve(log)
    secret = [{"role": "user", "content": f"say 7 {TOKEN} and {KEY}"}]
    answer = served.ask(stream=stream, messages=secret, user="someone@example.com")
    assert answer.status_code == 200
    if stream:
        assert answer.text.strip().endswith("data: [DONE]")
    [record] = served.records()
    assert record["model"] == "ft:old"
    first, second = record["answers"]
    assert (first["job"], first["sent"], first["message"]["content"]) == (
        served.ids[0], True, "answer 7",
    )  # fmt: skip
    assert (second["job"], second["sent"], second["message"]["content"]) == (
        served.ids[1], False, "ANSWER 7",
    )  # fmt: skip
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    written = log.read_text()
    assert [one for one in (TOKEN, KEY, "someone@example.com") if one in written] == []


def test_the_other_model_is_asked_after_the_first_answer_has_been_sent(
    serve: Callable[..., Served], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And when it fails, or the file cannot be written, nobody sees it but the log."""
    from ftsdk.backends.fake import FakeBackend

    log = tmp_path / "answers.jsonl"
    served, real, happened = serve(log), FakeBackend.chat, list[str]()

    def chat(self: FakeBackend, handle: Any, messages: Any, options: Any) -> Any:
        happened.append(handle.job_id)
        if handle.job_id == served.ids[1]:
            raise ftsdk.Unavailable("out of order", where="the test")
        return real(self, handle, messages, options)

    monkeypatch.setattr(FakeBackend, "chat", chat)
    body = json.dumps({"model": "ft:old", "messages": [{"role": "user", "content": "say 7"}]})
    headers = [
        (b"host", b"127.0.0.1:8765"), (b"authorization", f"Bearer {TOKEN}".encode()),
    ]  # fmt: skip
    scope = {
        "type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": headers,
        "query_string": b"", "raw_path": b"/v1/chat/completions", "asgi": {"version": "3.0"},
    }  # fmt: skip

    async def receive() -> Any:
        return {"type": "http.request", "body": body.encode(), "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body"):
            happened.append("sent")

    anyio.run(served.app, scope, receive, send)
    assert happened == [served.ids[0], "sent", served.ids[1]]
    error = served.records()[0]["answers"][1]["error"]
    assert error == {"code": "unavailable", "what": "out of order"}

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(AnswerLog, "write", full)
    assert text_of(served.ask()) == "answer 7"


def test_one_model_or_no_log_asks_once(
    serve: Callable[..., Served], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ftsdk.backends.fake import FakeBackend

    real, asked = FakeBackend.chat, list[str]()

    def chat(self: FakeBackend, handle: Any, messages: Any, options: Any) -> Any:
        asked.append(handle.job_id)
        return real(self, handle, messages, options)

    monkeypatch.setattr(FakeBackend, "chat", chat)
    served = serve(tmp_path / "answers.jsonl")
    served.ask(model=served.ids[1])
    serve().ask()
    assert asked == [served.ids[1], served.ids[0]]
    assert served.records() == []


def test_a_log_that_cannot_be_written_is_refused_at_the_start(
    serve: Callable[..., Served], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        serve(tmp_path / "nowhere" / "answers.jsonl")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="cannot be written"):
        serve(tmp_path / "link")


def test_json_is_promised_only_by_a_backend_that_can(
    serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    import dataclasses

    from ftsdk.backends.fake import FakeBackend

    served = serve()
    for wanted in ({"type": "json_object"}, {"type": "json_schema", "json_schema": {"name": "x"}}):
        answer = served.ask(response_format=wanted)
        error = answer.json()["error"]
        assert (answer.status_code, error["param"]) == (400, "response_format")
        assert wanted["type"] in error["message"]
    assert text_of(served.ask(response_format={"type": "text"})) == "answer 7"
    able = dataclasses.replace(FakeBackend.capabilities, json_mode=True)
    monkeypatch.setattr(FakeBackend, "capabilities", able)
    assert text_of(served.ask(response_format={"type": "json_object"})) == "answer 7"


def test_a_local_model_refuses_each_parameter_that_it_does_not_take(tmp_path: Path) -> None:
    """Before the model is loaded: there is none in this folder."""
    from ftsdk.backends.local.inference import chat

    for name in ("presence_penalty", "logit_bias", "n", "response_format"):
        with pytest.raises(ftsdk.Unsupported, match=f"does not take {name}"):
            chat(tmp_path, [{"role": "user", "content": "x"}], {name: 2, "max_tokens": 3})
