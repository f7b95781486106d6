"""Replies of any shape: what is read from them, and what is refused by name."""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from ftsdk.backends.hosted import HostedBackend
from ftsdk.backends.hosted.coerce import (
    as_count,
    as_decimal,
    as_instant,
    as_number,
    as_text,
    as_time,
)
from ftsdk.backends.hosted.error_facts import HTTPFacts, http_facts
from ftsdk.backends.hosted.polling_rate import Pace
from ftsdk.backends.hosted.response_checks import (
    checked_id,
    json_object,
    json_value,
    nothing_sent,
    refuse_stream,
    spend_limit_error,
)
from ftsdk.errors import NotFound, Rejected, UnexpectedResponse, Unsupported
from ftsdk.types.job import RemoteJob
from ftsdk.types.status import JobStatus
from ftsdk.util.clock import ManualClock

# --- errors ---


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        ({"error": {"message": "m", "detail": "d", "title": "t", "code": "c"}}, "m", "c"),
        ({"error": {"detail": "d", "title": "t"}}, "d", ""),
        ({"error": {"message": "", "detail": "d"}}, "d", ""),
        ({"error": {"title": "t"}}, "t", ""),
        ({"error": {"message": "m"}}, "m", ""),
        ({"message": "m", "code": 5}, "m", "5"),
        ({"detail": "d"}, "d", ""),
        ({"detail": [{"loc": ["x"]}]}, '[{"loc": ["x"]}]', ""),
        ({"error": "e"}, "e", ""),
        ({"error": 5, "title": "t"}, "t", ""),
        ({}, "", ""),
        ("text", "text", ""),
        ("  <html>no</html>", "", ""),
        (None, "", ""),
        ([1], "", ""),
        ({"error": {"message": "x" * 400, "code": "y" * 90}}, "x" * 299 + "…", "y" * 79 + "…"),
    ],
)
def test_what_an_error_reply_says(body: Any, message: str, code: str) -> None:
    facts = http_facts(400, body, {})
    assert (facts.message, facts.code, facts.body) == (message, code, body)


def test_the_kind_and_the_parameter_of_an_error() -> None:
    facts = http_facts(400, {"error": {"type": "bad", "param": "seed"}}, {})
    assert (facts.kind, facts.param, facts.status) == ("bad", "seed", 400)


@pytest.mark.parametrize(
    ("headers", "request_id", "should_retry"),
    [
        ({}, None, None),
        ({"x-request-id": "a", "request-id": "b"}, "a", None),
        ({"x-request-id": "", "request-id": "b"}, "b", None),
        ({"cf-ray": "r"}, "r", None),
        ({"x-request-id": "z" * 90}, "z" * 79 + "…", None),
        ({"x-should-retry": "TRUE"}, None, True),
        ({"x-should-retry": "false"}, None, False),
        ({"x-should-retry": "perhaps"}, None, None),
    ],
)
def test_what_the_headers_say(
    headers: dict[str, str], request_id: str | None, should_retry: bool | None
) -> None:
    facts = HTTPFacts(500, headers=headers)
    assert (facts.request_id, facts.should_retry) == (request_id, should_retry)


@pytest.mark.parametrize(
    ("status", "message", "what"),
    [(402, "m", "No money: m"), (402, "", "No money"), (401, "m", None), (403, "m", None)],
)
def test_a_spent_account_is_a_refusal(status: int, message: str, what: str | None) -> None:
    error = spend_limit_error("P", "No money", "add some")(HTTPFacts(status, message))
    assert (error is None) == (what is None)
    if error is not None:
        assert isinstance(error, Rejected)
        assert (error.what, error.where, error.hint) == (what, "P, HTTP 402", "add some")


# --- replies ---


@pytest.mark.parametrize(
    ("content", "as_object", "as_value"),
    [
        (b'{"a": 1}', {"a": 1}, {"a": 1}),
        (b"[1]", None, [1]),
        (b"1", None, None),
        (b'"x"', None, None),
        (b"null", None, None),
        (b"", None, None),
        (b"{", None, None),
        (b"[" * 100_000, None, None),
    ],
)
def test_a_reply_is_json(content: bytes, as_object: Any, as_value: Any) -> None:
    for read, expected in ((json_object, as_object), (json_value, as_value)):
        if expected is not None:
            assert read(content, "P", "GET /x") == expected
            continue
        with pytest.raises(UnexpectedResponse, match="no JSON") as caught:
            read(content, "P", "GET /x")
        assert (caught.value.where, caught.value.retryable) == ("P, GET /x", True)
    with pytest.raises(UnexpectedResponse, match="a page of HTML"):
        json_value(b"  <html>", "P", "GET /x")


def test_an_id_is_safe_for_a_path() -> None:
    ids = re.compile(r"job-\w{3}")
    assert checked_id("job-abc", ids, "P", "job", "h") == "job-abc"
    for wrong in ("job-abcd", "job-ab", "xjob-abc", "job-abc\n", ""):
        with pytest.raises(NotFound, match="P has no job with such an id"):
            checked_id(wrong, ids, "P", "job", "h")
    with pytest.raises(NotFound) as caught:
        checked_id("x" * 50, ids, "P", "job", "h")
    assert caught.value.where == f"job id {'x' * 40!r}"


def test_errors_before_the_create_call_say_that_nothing_was_sent() -> None:
    error = NotFound("x")
    error.submitted = "maybe"
    with pytest.raises(NotFound), nothing_sent():
        raise error
    assert error.submitted == "no"


def test_streaming_is_refused_and_its_absence_is_not() -> None:
    with pytest.raises(Unsupported, match="does not stream") as caught:
        refuse_stream({"stream": True}, "P")
    assert caught.value.where == "stream=True, P, before anything was sent"
    for options in ({}, {"stream": False}, {"stream": None}):
        refuse_stream(options, "P")


# --- values ---

AT = dt.datetime(2026, 11, 30, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("value", "number", "count", "decimal"),
    [
        (3, 3.0, 3, Decimal(3)),
        (3.0, 3.0, 3, Decimal("3.0")),
        (3.5, 3.5, None, Decimal("3.5")),
        (0, 0.0, 0, Decimal(0)),
        (-1, -1.0, None, None),
        (-0.5, -0.5, None, None),
        (True, None, None, None),
        ("3", None, None, None),
        (float("nan"), None, None, None),
        (float("inf"), None, None, None),
        (10**400, None, None, None),
        (None, None, None, None),
    ],
)
def test_numbers(value: Any, number: Any, count: Any, decimal: Any) -> None:
    assert (as_number(value), as_count(value)) == (number, count)
    found = as_decimal(value)
    assert (found is None) == (decimal is None)
    assert found is None or found == decimal


@pytest.mark.parametrize(
    ("value", "time"),
    [
        (AT.timestamp(), AT),
        (1, dt.datetime(1970, 1, 1, 0, 0, 1, tzinfo=dt.UTC)),
        (0, None),
        (-1, None),
        (1e20, None),
        ("2026-11-30T00:00:00Z", AT),
        ("2026-11-30T00:00:00+00:00", AT),
        ("soon", None),
        ("", None),
        (None, None),
        (True, None),
    ],
)
def test_times(value: Any, time: Any) -> None:
    assert as_time(value) == time
    assert as_instant(value) == (None if isinstance(value, str) else time)


@pytest.mark.parametrize(("value", "text"), [("a", "a"), ("", None), (5, None), (None, None)])
def test_texts(value: Any, text: Any) -> None:
    assert as_text(value) == text


# --- reading many ---


def test_reads_that_can_wait_keep_the_rate() -> None:
    clock = ManualClock()
    pace = Pace(clock, per_s=2)
    begun = clock.monotonic()
    assert pace.wait(begun)
    for _ in range(3):
        pace.count()
    assert not pace.wait(begun + 1.49)
    assert pace.wait(begun + 1.5)
    assert clock.slept == [0, 1.5]
    clock.advance(10)
    assert pace.wait(clock.monotonic())
    pace.count()
    assert pace.wait(clock.monotonic() + 0.5)  # the time since is not saved up


class _Backend(HostedBackend):
    name = "p"

    def __init__(self, clock: ManualClock, waits: list[bool]) -> None:
        self.clock, self._read_at, self.read = clock, {}, list[str]()
        self.capabilities = SimpleNamespace(poll_s=30)
        self.untils: list[float] = []
        self._waits = waits
        service = SimpleNamespace(title="P")
        self.transport = SimpleNamespace(pace=SimpleNamespace(wait=self._wait), service=service)

    def _wait(self, until: float) -> bool:
        self.untils.append(until)
        return self._waits.pop(0)

    def get(self, provider_job_id: str) -> RemoteJob:
        self.read.append(provider_job_id)
        return RemoteJob(provider_job_id=provider_job_id, status="running", raw_status="read")


_Backend.__abstractmethods__ = frozenset()


def row(name: str, status: str = "running") -> RemoteJob:
    return RemoteJob(
        provider_job_id=name, status=status, raw_status="listed", error={"message": "m"},
        finished_at=AT, result_model="r",
    )  # fmt: skip


def test_three_jobs_are_read_at_once_and_the_others_at_the_rate() -> None:
    clock = ManualClock()
    made = _Backend(clock, [True, False, False])
    unread = {"a": None, "b": None, "c": None, "d": None, "e": row("e"), "f": None}
    found = list(made._read_in_turn(unread))
    assert [(job.provider_job_id, job.raw_status) for job in found] == [
        ("a", "read"), ("b", "read"), ("c", "read"), ("d", "read"), ("e", "listed"),
    ]  # fmt: skip
    assert made.untils == [clock.monotonic() + 15] * 3
    clock.advance(1)
    made._waits = [False] * 3
    made.read.clear()
    list(made._read_in_turn(unread))
    assert made.read == ["e", "f", "a"]  # those never read, then the one read longest ago


def test_a_listed_job_that_ended_is_finalizing_until_it_is_read() -> None:
    made = _Backend(ManualClock(), [])
    assert made._without_outcome(row("a")) == row("a")
    ended = made._without_outcome(row("a", "succeeded"))
    assert ended.status is JobStatus.FINALIZING
    assert ended.message == "P reports listed; its outcome is read next"
    assert (ended.error, ended.finished_at, ended.result_model, ended.cost) == (None,) * 4


@pytest.mark.parametrize(
    ("tail", "lines"), [(None, "abc"), (0, ""), (1, "c"), (3, "abc"), (4, "abc")]
)
def test_the_last_lines(tail: int | None, lines: str) -> None:
    assert HostedBackend._tail(list("abc"), tail) == list(lines)
