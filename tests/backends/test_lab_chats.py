"""The doubles' chats: limits that fill, a meter, faults at intervals, answers that vary."""

from __future__ import annotations

import json
import time
import urllib.request
from typing import Any

import pytest

from ftsdk.backends.hosted.rate_limits import duration_s
from ftsdk.testing.lab.chat_choices import choices_of
from ftsdk.testing.lab.faults import Faults
from ftsdk.testing.lab.messages import make_request
from ftsdk.testing.lab.meter import Meter, Metered, request_hash
from ftsdk.testing.lab.openai.double import KEY, OpenAIDouble
from ftsdk.testing.lab.rate_limiter import Bucket, Limiter, go_duration
from ftsdk.util.clock import ManualClock, SystemClock

MODEL = "gpt-4.1-mini-2025-04-14"


def body(text: str = "hello", **more: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], **more}


def ask(double: OpenAIDouble, asked: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        f"{double.base_url}/chat/completions",
        json.dumps(asked).encode(),
        {"Authorization": f"Bearer {KEY}"},
    )
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.load(reply)


# --- limits ----------------------------------------------------------------------------------------


def test_a_bucket_fills_at_its_rate_and_holds_a_burst() -> None:
    clock = ManualClock()
    bucket = Bucket(clock, 600, 60.0, 1.0)
    assert (bucket.capacity, bucket.remaining, bucket.reset_s) == (10, 10, 0)
    for _ in range(10):
        assert bucket.missing_s(1) == 0
        bucket.take(1)
    assert bucket.missing_s(1) == pytest.approx(0.1)
    assert bucket.reset_s == pytest.approx(1.0)
    clock.advance(0.55)
    assert bucket.remaining == 5
    clock.advance(100)
    assert bucket.remaining == 10
    bucket.take(10_000)  # more than it ever holds takes all
    assert bucket.remaining == 0


def test_a_limiter_takes_nothing_for_what_it_refuses() -> None:
    clock = ManualClock()
    limiter = Limiter(Bucket(clock, 60, 60.0, 60.0), Bucket(clock, 100, 60.0, 60.0))
    assert limiter.take(90) is None
    name, bucket, wait = limiter.take(40) or ("", None, 0.0)
    assert (name, bucket, wait) == ("tokens", limiter.tokens, pytest.approx(18.0))
    assert (limiter.requests.remaining, limiter.tokens.remaining, limiter.refused) == (59, 10, 1)
    assert limiter.openai_headers() == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-limit-tokens": "100",
        "x-ratelimit-remaining-tokens": "10",
        "x-ratelimit-reset-tokens": "54s",
    }
    assert limiter.together_headers()["x-tokenlimit-remaining"] == "10"


@pytest.mark.parametrize("seconds", [0, 0.012, 0.999, 1, 1.5, 59.999, 60, 90.25, 3600, 3725.5])
def test_durations_are_read_as_they_are_written(seconds: float) -> None:
    assert duration_s(go_duration(seconds)) == pytest.approx(seconds, abs=0.001)


def test_an_answer_takes_its_time_and_others_come_meanwhile() -> None:
    with OpenAIDouble(clock=SystemClock()) as double:
        double.answer_s = 0.2
        begun = time.monotonic()
        ask(double, body())
        assert time.monotonic() - begun >= 0.2


# --- the meter -------------------------------------------------------------------------------------


def test_the_meter_counts_what_is_paid_also_where_the_reply_is_lost() -> None:
    with OpenAIDouble() as double:
        double.faults.add("reset", path="chat", acted=True)
        double.faults.add("status", path="chat", status=503)
        for _ in range(2):
            with pytest.raises(OSError, match=r"503|reset|closed|RemoteDisconnected|Connection"):
                ask(double, body())
        ask(double, body())
        ask(double, body("another"))
        assert double.meter.answers == 3
        assert double.meter.times(body()) == 2
        assert double.meter.times(body("another")) == 1
        assert sorted(double.meter.paid().values()) == [1, 2]
        assert double.meter.of(MODEL).answers == 3
        assert double.meter.of("nobody") == Metered()


def test_labels_do_not_make_another_request() -> None:
    assert request_hash(body(metadata={"run": "1"}, store=True)) == request_hash(body())
    assert request_hash(body(seed=1)) != request_hash(body(seed=2))


def test_answers_in_a_batch_are_marked() -> None:
    meter = Meter()
    usage = {"prompt_tokens": 5, "completion_tokens": 2}
    with meter.batch():
        meter.add(body(), usage)
    meter.add(body(), usage)
    found = meter.of(MODEL)
    assert (found.answers, found.in_batches, found.prompt_tokens) == (2, 1, 10)


# --- answers ---------------------------------------------------------------------------------------


def test_noise_changes_that_share_of_the_repeats_and_not_the_first() -> None:
    with OpenAIDouble() as double:
        double.noise = 0.3
        texts = [
            [ask(double, body(f"row {row}"))["choices"][0]["message"]["content"] for _ in range(3)]
            for row in range(40)
        ]
    assert all(" (" not in first[23:] for first, *_ in texts)
    changed = sum(one != first for first, *repeats in texts for one in repeats)
    assert 10 <= changed <= 40


def test_a_named_tool_is_called_and_none_is_not() -> None:
    tools = [
        {"type": "function", "function": {"name": name, "parameters": {"properties": {}}}}
        for name in ("first", "second")
    ]
    named = {"type": "function", "function": {"name": "second"}}
    [choice] = choices_of(body(tools=tools, tool_choice=named), "text")
    assert choice["message"]["tool_calls"][0]["function"] == {"name": "second", "arguments": "{}"}
    [choice] = choices_of(body("[[tool]]", tools=tools, tool_choice="none"), "text")
    assert choice["finish_reason"] == "stop"
    [choice] = choices_of(body("[[tool]]"), "text")
    assert choice["message"]["content"] == "text"


def test_a_fault_at_intervals() -> None:
    faults = Faults()
    faults.add("close", every=3, skip=1, times=2)
    request = make_request(1, "GET", "/", {}, b"", ManualClock().now())
    hits = [faults.take(request) is not None for _ in range(12)]
    assert [number for number, hit in enumerate(hits, 1) if hit] == [4, 7]
    assert faults.waiting == 0
