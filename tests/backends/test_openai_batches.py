"""Batches of chats at OpenAI: sent once, found again, and every outcome read."""

from __future__ import annotations

import datetime as dt
import json
import pickle
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openai", reason="needs the extra `openai`")

from ftsdk.backends.base import Context
from ftsdk.backends.openai import AzureBackend, OpenAIBackend, batch_requests
from ftsdk.backends.openai.batch_outcomes import lines_of
from ftsdk.errors import (
    BackendError,
    FtsdkError,
    NotFound,
    NotReady,
    RateLimited,
    Rejected,
    Unavailable,
    UnexpectedResponse,
    Unsupported,
)
from ftsdk.testing.lab.openai.double import OpenAIDouble
from ftsdk.types.chat import Batch, BatchState, ChatOutcome, ChatRequest, OutcomeKind
from ftsdk.types.model import ModelHandle, ModelKind
from ftsdk.util.clock import ManualClock
from tests.backends.openai_account import (
    MODEL,
    account,
    backend_of_account,
    last_of_november,
)

__all__ = ["account", "backend_of_account", "last_of_november"]  # fixtures

TAG = "ftc-0123456789"
HANDLE = ModelHandle(kind=ModelKind.HOSTED, provider="openai", id=MODEL, base_model=MODEL)


def requests(count: int = 4, **options: Any) -> list[ChatRequest]:
    return [
        ChatRequest(f"r{n}", ({"role": "user", "content": f"question {n} 東京"},), options)
        for n in range(count)
    ]


def submitted(backend: OpenAIBackend, count: int = 4, tag: str = TAG, **options: Any) -> Batch:
    return backend.batch(HANDLE, requests(count, **options), tag=tag)


def by_id(outcomes: Iterator[ChatOutcome]) -> dict[str, ChatOutcome]:
    listed = list(outcomes)
    found = {one.id: one for one in listed}
    assert len(found) == len(listed), "an outcome was given twice"
    return found


# --- submitting ---


def test_a_batch_has_the_requests_as_chat_would_send_them(
    backend: OpenAIBackend, double: OpenAIDouble
) -> None:
    batch = submitted(backend, 2, temperature=0, max_tokens=9, extra_body={"own": 1}, seed=None)
    assert (batch.state, batch.tag) == (BatchState.VALIDATING, TAG)
    (file,) = [one for one in double.files.values() if one["purpose"] == "batch"]
    first = json.loads(file["content"].split(b"\n")[0])
    assert first == {
        "custom_id": "r0",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {
            "model": MODEL,
            "messages": [{"role": "user", "content": "question 0 東京"}],
            "temperature": 0,
            "max_tokens": 9,
            "own": 1,
        },
    }
    (create,) = double.asked("POST", "/batches$")
    assert create.json()["metadata"] == {"ftsdk_tag": TAG}
    assert create.json()["completion_window"] == "24h"


def test_the_file_of_requests_does_not_stay_on_the_machine(
    backend: OpenAIBackend, tmp_path: Path
) -> None:
    submitted(backend)
    assert [one for one in tmp_path.rglob("*") if one.is_file()] == []


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ([ChatRequest("", ())], "not empty"),
        ([ChatRequest("x" * 65, ())], "at most 64"),
        ([ChatRequest("a", ()), ChatRequest("a", ())], "'a': two requests"),
        ([ChatRequest("a", (), {"temprature": 1})], "'temprature'"),
        ([ChatRequest("a", (), {"stream": True})], "stream"),
        ([ChatRequest("a", (), {"extra_body": {"stream": True}})], "stream"),
        ([ChatRequest("a", (), {"temperature": float("nan")})], "JSON"),
        ([ChatRequest("a", ({"role": "user", "content": b"x"},))], "JSON"),
        ([ChatRequest("a", ({"role": "user", "content": "\ud800"},))], "JSON"),
        ([], "no requests"),
    ],
)
def test_what_a_batch_cannot_take_is_refused_by_name(
    backend: OpenAIBackend, double: OpenAIDouble, wrong: list[ChatRequest], named: str
) -> None:
    with pytest.raises(Unsupported, match=named) as caught:
        backend.batch(HANDLE, wrong, tag=TAG)
    assert caught.value.submitted == "no"
    assert double.count("POST") == 0


def test_all_faults_are_named_at_once(backend: OpenAIBackend) -> None:
    wrong = [ChatRequest("a", (), {"temprature": 1}), ChatRequest("b", (), {"top_pp": 1})]
    with pytest.raises(Unsupported, match=r"(?s)'a'.*temprature.*'b'.*top_pp"):
        backend.batch(HANDLE, wrong, tag=TAG)


def test_too_many_requests_are_refused_without_reading_them_all(
    backend: OpenAIBackend, double: OpenAIDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_requests, "MOST_REQUESTS", 20)
    read: list[Any] = []

    def endless() -> Iterator[ChatRequest]:
        for number in range(10_000):
            read.append(number)
            yield ChatRequest(str(number), ())

    with pytest.raises(Unsupported, match="more than 20 requests"):
        backend.batch(HANDLE, endless(), tag=TAG)
    assert len(read) == 21
    assert double.count("POST") == 0
    backend.batch(HANDLE, requests(20), tag=TAG)


def test_too_many_bytes_are_refused(
    backend: OpenAIBackend, double: OpenAIDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted(backend, 4)
    (file,) = double.files.values()
    size = len(file["content"])
    monkeypatch.setattr(batch_requests, "MOST_BYTES", size - 1)
    with pytest.raises(Unsupported, match=r"more than .* bytes"):
        submitted(backend, 4)
    read = iter(requests(400))
    with pytest.raises(Unsupported, match="more than"):
        backend.batch(HANDLE, read, tag=TAG)
    assert len(list(read)) == 396, "it read on"
    monkeypatch.setattr(batch_requests, "MOST_BYTES", size)
    submitted(backend, 4)


def test_limits_are_those_of_the_service() -> None:
    assert (batch_requests.MOST_REQUESTS, batch_requests.MOST_BYTES) == (50_000, 200_000_000)


def test_the_upload_is_tried_again_and_the_batch_is_not(
    backend: OpenAIBackend, double: OpenAIDouble
) -> None:
    double.faults.add("reset", method="POST", path="/files$", acted=True)
    submitted(backend)
    assert double.count("POST", "/files$") == 2
    double.faults.add("reset", method="POST", path="/batches$", acted=True)
    with pytest.raises(BackendError) as caught:
        submitted(backend, tag="second")
    assert caught.value.submitted == "maybe"
    assert double.count("POST", "/batches$") == 2
    (found,) = backend.find_batches("second")
    assert found.tag == "second"
    assert len(double.batches) == 2


def test_a_failed_upload_submits_nothing(backend: OpenAIBackend, double: OpenAIDouble) -> None:
    double.faults.add("status", method="POST", path="/files$", status=500, times=None)
    with pytest.raises(Unavailable) as caught:
        submitted(backend)
    assert caught.value.submitted == "no"
    assert double.count("POST", "/batches$") == 0


@pytest.mark.parametrize(("status", "sent"), [(400, "no"), (403, "no"), (500, "maybe")])
def test_an_error_of_the_create_call_says_whether_it_was_submitted(
    backend: OpenAIBackend, double: OpenAIDouble, status: int, sent: str
) -> None:
    double.faults.add("status", method="POST", path="/batches$", status=status)
    with pytest.raises(FtsdkError) as caught:
        submitted(backend)
    assert caught.value.submitted == sent
    assert double.count("POST", "/batches$") == 1


@pytest.mark.parametrize("behaviour", ["html", "empty", "drop"])
def test_a_reply_without_an_id_leaves_the_batch_in_doubt(
    backend: OpenAIBackend, double: OpenAIDouble, behaviour: Any
) -> None:
    double.faults.add(behaviour, method="POST", path="/batches$", acted=True, field="id")
    with pytest.raises(BackendError) as caught:
        submitted(backend)
    assert caught.value.submitted == "maybe"
    assert len(backend.find_batches(TAG)) == 1


def test_a_model_that_is_not_called_by_its_name_has_no_batches(
    backend: OpenAIBackend, double: OpenAIDouble
) -> None:
    handle = HANDLE.model_copy(update={"kind": ModelKind.NEEDS_DEPLOYMENT})
    with pytest.raises(Unsupported, match="not called by its name"):
        backend.batch(handle, requests(), tag=TAG)
    assert list(double.requests) == []


def test_a_service_without_batches_refuses_before_anything_is_sent(
    double: OpenAIDouble, clock: ManualClock, tmp_path: Path
) -> None:
    env = {"AZURE_OPENAI_ENDPOINT": double.base_url, "AZURE_OPENAI_API_KEY": "k"}
    azure = AzureBackend(Context(home=tmp_path, clock=clock, env=env))
    for ask in (
        lambda: azure.batch(HANDLE, requests(), tag=TAG),
        lambda: azure.find_batches(TAG),
        lambda: azure.get_batch("batch_1"),
        lambda: azure.batch_outcomes("batch_1"),
        lambda: azure.cancel_batch("batch_1"),
        azure.stored_chats,
    ):
        with pytest.raises(Unsupported):
            ask()
    assert list(double.requests) == []


# --- states ---


def test_a_batch_runs_to_its_end(backend: OpenAIBackend, clock: ManualClock) -> None:
    batch = submitted(backend, 10)
    clock.advance(3.5)
    running = backend.get_batch(batch.id)
    assert (running.state, running.total, running.done) == (BatchState.RUNNING, 10, 5)
    assert running.expires_at == dt.datetime(2026, 12, 1, tzinfo=dt.UTC)
    with pytest.raises(NotReady, match="in_progress"):
        backend.batch_outcomes(batch.id)
    clock.advance(60)
    ended = backend.get_batch(batch.id)
    assert (ended.state, ended.done, ended.failed) == (BatchState.COMPLETED, 10, 0)
    found = by_id(backend.batch_outcomes(batch.id))
    assert set(found) == {f"r{n}" for n in range(10)}
    answer = found["r7"].answer
    assert answer is not None
    assert "question 7 東京" in answer.text
    assert answer.latency_s is None
    assert answer.usage["total_tokens"] > 0


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("validating", BatchState.VALIDATING),
        ("in_progress", BatchState.RUNNING),
        ("finalizing", BatchState.RUNNING),
        ("cancelling", BatchState.RUNNING),
        ("failed", BatchState.FAILED),
        ("completed", BatchState.COMPLETED),
        ("expired", BatchState.EXPIRED),
        ("cancelled", BatchState.CANCELLED),
        ("compacting", BatchState.RUNNING),
    ],
)
def test_every_status_and_an_unknown_one(
    backend: OpenAIBackend, double: OpenAIDouble, word: str, state: BatchState
) -> None:
    batch = submitted(backend)
    double.batches[batch.id].forced = word
    found = backend.get_batch(batch.id)
    assert found.state is state
    assert found.raw["status"] == word


@pytest.mark.parametrize("counts", [None, [], {"total": "9", "completed": -1, "failed": None}])
def test_counts_that_are_none_are_zero(
    backend: OpenAIBackend, double: OpenAIDouble, counts: Any
) -> None:
    batch = submitted(backend)
    double.faults.add("set", method="GET", path="/batches/", field="request_counts", value=counts)
    found = backend.get_batch(batch.id)
    assert (found.total, found.done, found.failed) == (0, 0, 0)


@pytest.mark.parametrize("identity", ["", "a/b", "../files", "x" * 300, "batch 1"])
def test_an_id_of_another_shape_is_not_sent(
    backend: OpenAIBackend, double: OpenAIDouble, identity: str
) -> None:
    for ask in (backend.get_batch, backend.batch_outcomes, backend.cancel_batch):
        with pytest.raises(NotFound):
            ask(identity)
    assert list(double.requests) == []


def test_a_batch_that_does_not_exist(backend: OpenAIBackend) -> None:
    for ask in (backend.get_batch, backend.batch_outcomes, backend.cancel_batch):
        with pytest.raises(NotFound):
            ask("batch_unknown")


def test_a_reply_about_another_batch_is_unexpected(
    backend: OpenAIBackend, double: OpenAIDouble
) -> None:
    batch = submitted(backend)
    double.faults.add("set", method="GET", path="/batches/", field="id", value="batch_other")
    with pytest.raises(UnexpectedResponse, match="another batch"):
        backend.get_batch(batch.id)


@pytest.mark.parametrize("size", [3, 20, None])
def test_a_tag_is_found_on_every_page(
    backend: OpenAIBackend, double: OpenAIDouble, size: int | None
) -> None:
    first = submitted(backend, 1)
    for number in range(25):
        submitted(backend, 1, tag=f"other-{number}")
    last = submitted(backend, 1)
    double.page_size = size
    assert [one.id for one in backend.find_batches(TAG)] == [first.id, last.id]
    assert backend.find_batches("unknown") == []


# --- batches that fail ---


def failed(backend: OpenAIBackend, clock: ManualClock, batch: Batch) -> Batch:
    clock.advance(2)
    found = backend.get_batch(batch.id)
    assert found.state is BatchState.FAILED
    assert list(backend.batch_outcomes(batch.id)) == []
    return found


def test_a_model_that_batches_do_not_take(
    backend: OpenAIBackend, double: OpenAIDouble, clock: ManualClock
) -> None:
    double.batch_refuses = [MODEL]
    found = failed(backend, clock, submitted(backend, 2))
    assert found.errors[0] == (
        f"model_not_found: The provided model '{MODEL}' is not supported by the Batch API. (line 1)"
    )
    assert found.done == 0


def test_the_limit_of_enqueued_tokens(
    backend: OpenAIBackend, double: OpenAIDouble, clock: ManualClock
) -> None:
    first = submitted(backend, 2)
    double.batch_token_limit = double.batches[first.id].tokens
    found = failed(backend, clock, submitted(backend, 2))
    assert found.errors[0].startswith("token_limit_exceeded: Enqueued token limit reached")
    clock.advance(60)
    assert backend.get_batch(first.id).state is BatchState.COMPLETED
    submitted(backend, 2, tag="later")
    clock.advance(60)
    assert backend.find_batches("later")[0].state is BatchState.COMPLETED


@pytest.mark.parametrize("after_s", [0, 3, 60])
def test_the_double_answers_in_the_sdks_own_types(
    backend: OpenAIBackend, double: OpenAIDouble, clock: ManualClock, after_s: float
) -> None:
    from openai.types import Batch as Published

    double.batch_errors = {"r1": "server_error"}
    for refuses in ([], [MODEL]):
        double.batch_refuses = refuses
        raw = submitted(backend, 4).raw
        clock.advance(after_s)
        raw = backend.get_batch(raw["id"]).raw
        assert set(raw) <= set(Published.model_fields)
        Published.model_validate(raw, strict=True)


# --- what is billed ---


def test_what_was_done_is_billed_as_part_of_a_batch(
    backend: OpenAIBackend, double: OpenAIDouble, clock: ManualClock
) -> None:
    double.batch_errors = {"r1": "server_error"}
    double.batch_s, double.batch_expires_s = 100.0, 51.0
    batch = ended(backend, clock, 10)
    billed = double.meter.of(MODEL)
    assert (batch.done, batch.failed) == (4, 1)
    assert (billed.answers, billed.in_batches) == (4, 4)
    backend.chat(HANDLE, requests(1)[0].messages, {})
    assert (double.meter.answers, double.meter.of(MODEL).in_batches) == (5, 4)


def test_a_batch_that_failed_is_not_billed(
    backend: OpenAIBackend, double: OpenAIDouble, clock: ManualClock
) -> None:
    double.batch_refuses = [MODEL]
    failed(backend, clock, submitted(backend, 2))
    assert double.meter.answers == 0


# --- outcomes ---


def ended(backend: OpenAIBackend, clock: ManualClock, count: int = 4) -> Batch:
    batch = submitted(backend, count)
    clock.advance(100_000)
    return backend.get_batch(batch.id)


def test_errors_of_single_requests_are_named(
    backend: OpenAIBackend, double: OpenAIDouble, clock: ManualClock
) -> None:
    double.batch_errors = {
        "r0": "rate_limit_exceeded",
        "r1": "content_filter",
        "r2": "server_error",
    }
    batch = ended(backend, clock)
    assert (batch.done, batch.failed) == (1, 3)
    found = by_id(backend.batch_outcomes(batch.id))
    errors = {name: one.error for name, one in found.items() if one.error is not None}
    assert {name: type(error) for name, error in errors.items()} == {
        "r0": RateLimited, "r1": Rejected, "r2": Unavailable,
    }  # fmt: skip
    assert errors["r1"].provider_code == "content_filter"  # type: ignore[attr-defined]  # a fact
    assert errors["r1"].request_id.startswith("req_")  # type: ignore[attr-defined]  # a fact
    assert "content management policy" in str(errors["r1"])
    assert found["r3"].kind is OutcomeKind.ANSWERED
    assert found["r0"].kind is OutcomeKind.ERROR


def test_a_batch_where_every_request_fails_has_no_output_file(
    backend: OpenAIBackend, double: OpenAIDouble, clock: ManualClock
) -> None:
    double.batch_errors = {f"r{n}": "server_error" for n in range(4)}
    batch = ended(backend, clock)
    assert batch.raw["output_file_id"] is None
    assert len(by_id(backend.batch_outcomes(batch.id))) == 4


def test_an_expired_batch_has_what_was_done(
    backend: OpenAIBackend, double: OpenAIDouble, clock: ManualClock
) -> None:
    double.batch_s, double.batch_expires_s = 100.0, 51.0
    batch = ended(backend, clock, 10)
    assert (batch.state, batch.total, batch.done) == (BatchState.EXPIRED, 10, 5)
    assert set(by_id(backend.batch_outcomes(batch.id))) == {f"r{n}" for n in range(5)}


def test_a_cancelled_batch_has_what_was_done(
    backend: OpenAIBackend, double: OpenAIDouble, clock: ManualClock
) -> None:
    batch = submitted(backend, 10)
    clock.advance(3.5)
    backend.cancel_batch(batch.id)
    backend.cancel_batch(batch.id)  # it is ending: nothing is wrong
    assert backend.get_batch(batch.id).raw["status"] == "cancelling"
    clock.advance(60)
    found = backend.get_batch(batch.id)
    assert (found.state, found.done) == (BatchState.CANCELLED, 5)
    assert len(by_id(backend.batch_outcomes(batch.id))) == 5
    backend.cancel_batch(batch.id)  # it has ended


@pytest.mark.parametrize("status", [400, 409, 500])
def test_a_cancel_that_is_refused_while_the_batch_runs_is_an_error(
    backend: OpenAIBackend, double: OpenAIDouble, clock: ManualClock, status: int
) -> None:
    batch = submitted(backend)
    clock.advance(2)
    double.faults.add("status", method="POST", path="/cancel$", status=status)
    with pytest.raises(BackendError):
        backend.cancel_batch(batch.id)


def output(double: OpenAIDouble, batch: Batch) -> dict[str, Any]:
    return double.files[batch.raw["output_file_id"]]


def test_lines_that_cannot_be_read_are_named_after_all_others(
    backend: OpenAIBackend, double: OpenAIDouble, clock: ManualClock
) -> None:
    batch = ended(backend, clock)
    file = output(double, batch)
    lines = file["content"].split(b"\n")
    lines[1], lines[2] = b"{broken", b'{"response": {"status_code": 200, "body": {}}}'
    file["content"] = b"\n".join(lines)
    read: list[Any] = []
    with pytest.raises(UnexpectedResponse, match=r"line 2 of file-\w+ .*line 3 of") as caught:
        read.extend(outcome.id for outcome in backend.batch_outcomes(batch.id))
    assert read == ["r0", "r3"]
    assert batch.id in caught.value.where


@pytest.mark.parametrize(
    "line", [b'{"custom_id": "r9"}', b'{"custom_id": 7}', b"[]", b"<html>", b"\xff"]
)
def test_a_line_without_an_outcome_is_unexpected(
    backend: OpenAIBackend, double: OpenAIDouble, clock: ManualClock, line: bytes
) -> None:
    batch = ended(backend, clock)
    file = output(double, batch)
    file["content"] += line
    with pytest.raises(UnexpectedResponse, match="line 5 of"):
        list(backend.batch_outcomes(batch.id))


def test_an_answer_without_a_message_is_the_error_of_its_request(
    backend: OpenAIBackend, double: OpenAIDouble, clock: ManualClock
) -> None:
    batch = ended(backend, clock)
    file = output(double, batch)
    rows = [json.loads(line) for line in file["content"].split(b"\n") if line]
    rows[0]["response"]["body"]["choices"] = []
    file["content"] = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    found = by_id(backend.batch_outcomes(batch.id))
    assert isinstance(found["r0"].error, UnexpectedResponse)
    assert len(found) == 4


def test_requests_without_a_line_are_missed(
    backend: OpenAIBackend, double: OpenAIDouble, clock: ManualClock
) -> None:
    batch = ended(backend, clock)
    file = output(double, batch)
    file["content"] = b"\n".join(file["content"].split(b"\n")[:2]) + b"\n"
    read: list[Any] = []
    with pytest.raises(UnexpectedResponse, match="2 requests that were run have no line"):
        read.extend(backend.batch_outcomes(batch.id))
    assert len(read) == 2


def test_a_request_that_is_listed_twice_has_one_outcome(
    backend: OpenAIBackend, double: OpenAIDouble, clock: ManualClock
) -> None:
    batch = ended(backend, clock)
    file = output(double, batch)
    file["content"] += file["content"].split(b"\n")[0]
    assert len(by_id(backend.batch_outcomes(batch.id))) == 4


def test_a_file_that_was_deleted_is_not_an_empty_one(
    backend: OpenAIBackend, double: OpenAIDouble, clock: ManualClock
) -> None:
    batch = ended(backend, clock)
    del double.files[batch.raw["output_file_id"]]
    with pytest.raises(NotFound):
        list(backend.batch_outcomes(batch.id))


@pytest.mark.parametrize("code", ["rate_limit_exceeded", "internal_error", None])
def test_an_error_of_the_batch_itself_is_named(
    backend: OpenAIBackend, double: OpenAIDouble, clock: ManualClock, code: str | None
) -> None:
    batch = ended(backend, clock)
    error = {"code": code, "message": "it did not run"}
    line = {"custom_id": "r9", "response": None, "error": error}
    output(double, batch)["content"] += json.dumps(line).encode() + b"\n"
    found = by_id(backend.batch_outcomes(batch.id))["r9"]
    assert found.error is not None
    assert found.error.retryable
    assert "it did not run" in found.error.what
    assert isinstance(found.error, RateLimited if code == "rate_limit_exceeded" else Unavailable)


ODD = (None, True, -1, 1.5, "", "x", "\ud800", [], [1], {}, {"a": 1}, {"error": "x"}, 10**30)


SENDABLE = tuple(one for one in ODD if one != "\ud800")


def spoiled(value: Any, chance: random.Random) -> Any:
    """Return a JSON value in which some parts are of another kind."""
    if chance.random() < 0.08:
        return chance.choice(ODD)
    if isinstance(value, dict):
        return {k: spoiled(v, chance) for k, v in value.items() if chance.random() > 0.03}
    return [spoiled(one, chance) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize("seed", range(15))
def test_whatever_the_files_have_every_line_is_an_outcome_or_named(
    backend: OpenAIBackend, double: OpenAIDouble, clock: ManualClock, seed: int
) -> None:
    chance = random.Random(seed)
    double.batch_errors = {"r1": "content_filter", "r2": "server_error"}
    batch = ended(backend, clock, 12)
    for name in ("output_file_id", "error_file_id"):
        file = double.files[batch.raw[name]]
        lines = [json.loads(line) for line in file["content"].split(b"\n") if line]
        file["content"] = b"".join(
            json.dumps(spoiled(line, chance)).encode() + b"\n" for line in lines
        )
    read: list[ChatOutcome] = []
    named = ""
    try:
        read.extend(backend.batch_outcomes(batch.id))
    except UnexpectedResponse as error:
        named = error.what
    assert all((one.answer is None) != (one.error is None) for one in read)
    assert all(pickle.loads(pickle.dumps(one.error)) is not None for one in read if one.error)
    if len(read) < 12:
        assert "line " in named or "have no line" in named


@pytest.mark.parametrize("seed", range(15))
def test_whatever_a_batch_object_has_it_is_read_or_unexpected(
    backend: OpenAIBackend, double: OpenAIDouble, clock: ManualClock, seed: int
) -> None:
    chance = random.Random(seed)
    batch = ended(backend, clock, 2)
    for name in sorted(set(batch.raw) - {"id"}):
        double.faults.add(
            "set", method="GET", path="/batches/", field=name, value=chance.choice(SENDABLE)
        )
        found = backend.get_batch(batch.id)
        assert found.total >= 0
        assert found.state in BatchState
        assert all(isinstance(one, str) for one in found.errors)


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_records_end_at_a_line_feed_however_the_blocks_fall(size: int) -> None:
    content = '{"a": "x\u2028y\x85z"}\n\n{"b": 2}\r\n{"c": 3}'.encode()
    blocks = [content[at : at + size] for at in range(0, len(content), size)]
    assert [json.loads(line) for line in lines_of(blocks)] == [
        {"a": "x\u2028y\x85z"}, {"b": 2}, {"c": 3},
    ]  # fmt: skip
