"""Many chats of a handle, at the doubles of OpenAI, Azure and Together, at `fake`, and with async."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import ftsdk
from ftsdk.async_client import AsyncModelHandle
from ftsdk.backends.base import Context
from ftsdk.backends.openai.backend import AzureBackend, OpenAIBackend
from ftsdk.errors import (
    AuthError,
    FtsdkError,
    NotReady,
    Rejected,
    Unavailable,
    Unsupported,
    UsageError,
)
from ftsdk.testing.lab.openai.double import OpenAIDouble
from ftsdk.testing.lab.together.double import TogetherDouble
from ftsdk.types.chat import ChatRequest, OutcomeKind
from ftsdk.types.model import ModelHandle, ModelKind
from ftsdk.util.clock import Clock, ManualClock

pytest.importorskip("openai", reason="needs the extra `openai`")
MODEL = "gpt-4.1-mini-2025-04-14"
CHAT = "chat/completions"


@pytest.fixture
def double() -> Iterator[OpenAIDouble]:
    with OpenAIDouble() as made:
        yield made


def handle_at(
    double: OpenAIDouble, home: Path, *, clock: Clock | None = None, **options: Any
) -> ModelHandle:
    """A handle of a base model, which needs no job."""
    context = Context(home=home, env=double.variables(), options=options)
    backend = OpenAIBackend(context if clock is None else replace(context, clock=clock))
    return ModelHandle(
        kind=ModelKind.HOSTED, provider="openai", id=MODEL, base_model=MODEL, callable_now=True
    ).bound_to(backend)


# --- a handle --------------------------------------------------------------------------------------


def test_answers_come_in_the_order_of_the_questions(double: OpenAIDouble, home: Path) -> None:
    double.faults.add("status", path=CHAT, status=503, times=3, every=4)
    handle = handle_at(double, home)
    questions = [f"question {number}" for number in range(40)]
    answers = list(handle.chat_many(questions, concurrency=6, max_tokens=30))
    assert [one.text for one in answers] == [
        f"(an untuned model's answer to: {q})" for q in questions
    ]
    assert sorted(one.attempts for one in answers) == [1] * 37 + [2] * 3
    assert double.meter.answers == 40
    assert all(one.json()["max_tokens"] == 30 for one in double.asked("POST", CHAT))


def test_a_conversation_is_a_text_or_messages(double: OpenAIDouble, home: Path) -> None:
    handle = handle_at(double, home)
    turns = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "two"}]
    answers = list(handle.chat_many(["one", turns], concurrency=1))
    assert [one.text for one in answers] == [
        "(an untuned model's answer to: one)", "(an untuned model's answer to: two)",
    ]  # fmt: skip
    assert double.requests[-1].json()["messages"] == turns


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("hello",), "conversations"),
        ((b"hello",), "conversations"),
        (([7],), "neither a text nor a list"),
        (([["hello"]],), "neither a text nor a list"),
        ((["hello"], {"concurrency": 0}), "concurrency"),
        ((["hello"], {"concurrency": True}), "concurrency"),
        ((["hello"], {"errors": "ignore"}), "errors"),
    ],
)
def test_wrong_arguments_are_named_and_nothing_is_sent(
    double: OpenAIDouble, home: Path, arguments: Any, said: str
) -> None:
    conversations, *options = arguments
    with pytest.raises(UsageError, match=said):
        list(handle_at(double, home).chat_many(conversations, **(options[0] if options else {})))
    assert double.count("POST", CHAT) == 0


def test_the_first_error_is_raised_after_the_answers_before_it(
    double: OpenAIDouble, home: Path
) -> None:
    double.faults.add("status", path=CHAT, status=400, skip=2)
    found = []
    with pytest.raises(Rejected):
        found.extend(handle_at(double, home).chat_many(map(str, range(9)), concurrency=1))
    assert [one.text[-2] for one in found] == ["0", "1"]


def test_errors_can_be_returned_in_their_place(double: OpenAIDouble, home: Path) -> None:
    double.faults.add("status", path=CHAT, status=400, skip=2)
    answers = handle_at(double, home).chat_many(map(str, range(5)), concurrency=1, errors="return")
    kinds = [type(one).__name__ for one in answers]
    assert kinds == ["ChatAnswer", "ChatAnswer", "Rejected", "ChatAnswer", "ChatAnswer"]


@pytest.mark.parametrize("errors", ["raise", "return"])
def test_an_error_of_all_is_raised_in_any_case(
    double: OpenAIDouble, home: Path, errors: Any
) -> None:
    double.keys = {"another"}
    env = {**double.variables(), "OPENAI_API_KEY": "a-wrong-key-of-some-length"}
    handle = handle_at(double, home).bound_to(OpenAIBackend(Context(home=home, env=env)))
    with pytest.raises(AuthError):
        list(handle.chat_many(map(str, range(500)), concurrency=4, errors=errors))
    assert double.count("POST", CHAT) <= 4


def test_an_unknown_option_is_refused_by_name_and_nothing_is_sent(
    double: OpenAIDouble, home: Path
) -> None:
    with pytest.raises(Unsupported, match="'top_logprob'; did you mean 'top_logprobs'"):
        list(handle_at(double, home).chat_many(["hello"] * 50, top_logprob=3))
    assert not double.requests


def test_breaking_off_pays_for_no_more_than_what_was_under_way(
    double: OpenAIDouble, home: Path
) -> None:
    double.answer_s = 0.05
    answers = handle_at(double, home).chat_many(map(str, range(1000)), concurrency=4)
    next(answers)
    answers.close()
    paid = double.meter.answers
    assert paid == double.count("POST", CHAT) <= 8
    double.answer_s = 0.0
    assert double.meter.answers == paid


def test_a_hang_ends_by_the_timeout_and_names_what_may_be_billed(
    double: OpenAIDouble, home: Path
) -> None:
    double.faults.add("hang", path=CHAT, times=None, acted=True)
    handle = handle_at(double, home, timeout_s=1.0)
    [error] = handle.chat_many(["hello"], errors="return")
    assert isinstance(error, Unavailable)
    assert error.submitted == "maybe"
    assert "sent 3 times, 3 times without a complete reply" in error.where
    assert double.meter.answers == 3


def test_a_handle_without_a_backend_is_only_data() -> None:
    handle = ModelHandle(kind=ModelKind.HOSTED, provider="openai", id="m", base_model="b")
    with pytest.raises(NotReady, match="not bound"):
        handle.chat_many(["hello"])


# --- what comes back -------------------------------------------------------------------------------


def test_choices_log_probabilities_and_tool_calls_are_kept(
    double: OpenAIDouble, home: Path
) -> None:
    handle = handle_at(double, home)
    answer = handle.chat("hello", n=3, temperature=0.7, logprobs=True, top_logprobs=4)
    assert len({one.text for one in answer.choices}) == 3
    [*_, last] = answer.choices[0].logprobs["content"]
    assert len(last["top_logprobs"]) == 4
    assert (answer.fingerprint, answer.model) == ("fp_lab", MODEL)
    function = {
        "name": "find_parcel",
        "parameters": {"properties": {"number": {"type": "integer"}, "city": {"enum": ["Bern"]}}},
    }
    called = handle.chat(
        "[[tool]] where is it?", tools=[{"type": "function", "function": function}]
    )
    [call] = called.message["tool_calls"]
    assert called.finish_reason == "tool_calls"
    assert call["function"]["arguments"] == '{"number": 1, "city": "Bern"}'
    assert json.loads(call["function"]["arguments"])["city"] == "Bern"


def test_refusals_filters_and_cut_off_answers_are_told_apart(
    double: OpenAIDouble, home: Path
) -> None:
    prompts = ["hello", "[[refuse]]", "[[filter]]", "many " * 30]
    requests = [
        ChatRequest(str(number), ({"role": "user", "content": text},), {"max_tokens": 20})
        for number, text in enumerate(prompts)
    ]
    handle = handle_at(double, home)
    outcomes = {one.id: one for one in handle._bound_backend().chat_many(handle, requests)}
    assert [outcomes[str(number)].kind for number in range(4)] == [
        OutcomeKind.ANSWERED, OutcomeKind.REFUSED, OutcomeKind.REFUSED, OutcomeKind.CUT_OFF,
    ]  # fmt: skip
    assert outcomes["1"].answer.refusal.startswith("I'm sorry")
    assert outcomes["3"].answer.usage["completion_tokens"] == 20


def test_azure_answers_by_the_name_of_a_deployment_and_filters_prompts(home: Path) -> None:
    with OpenAIDouble(service="azure") as double:
        double.deployments["support"] = MODEL
        backend = AzureBackend(Context(home=home, env=double.variables()))
        handle = ModelHandle(
            kind=ModelKind.NEEDS_DEPLOYMENT, provider="azure", id="m", base_model=MODEL
        )
        requests = [
            ChatRequest(str(n), ({"role": "user", "content": text},), {"deployment": "support"})
            for n, text in enumerate(["hello", "[[block]]"])
        ]
        found = {one.id: one for one in backend.chat_many(handle, requests)}
        assert [found[one].kind for one in "01"] == [OutcomeKind.ANSWERED, OutcomeKind.REFUSED]
        with pytest.raises(NotReady, match="needs a deployment"):
            list(handle.bound_to(backend).chat_many(["hello"]))


def test_long_prompts_are_cached_the_second_time(double: OpenAIDouble, home: Path) -> None:
    handle = handle_at(double, home)
    usages = [handle.chat("word " * 2000).usage for _ in range(2)]
    cached = [one["prompt_tokens_details.cached_tokens"] for one in usages]
    assert cached[0] == 0
    assert 1024 <= cached[1] <= usages[1]["prompt_tokens"]
    assert double.meter.of(MODEL).cached_tokens == cached[1]


# --- limits at the doubles -------------------------------------------------------------------------


def test_the_limit_of_the_double_is_stated_and_enforced(double: OpenAIDouble, home: Path) -> None:
    double.request_limit, double.token_limit = 2, 10_000
    handle = handle_at(double, home)
    for _ in range(2):
        handle.chat("hello")
    with pytest.raises(FtsdkError) as caught:
        handle.chat("hello")
    assert caught.value.provider_code == "rate_limit_exceeded"
    assert 20 < caught.value.retry_after_s <= 30
    assert double.limiter.refused == 1
    assert double.meter.answers == 2


# By the manual clock and one at a time, so that the numbers are the same on every machine. Many at a
# time, by the clock of the machine: `tests/faults/test_chat_many.py`.


def test_a_limit_is_followed_nearly_without_a_refusal(home: Path) -> None:
    clock = ManualClock()
    with OpenAIDouble(clock=clock) as double:
        double.request_limit, double.burst_s = 60 * 30, 1.0
        handle = handle_at(double, home, clock=clock)
        begun = clock.monotonic()
        assert len(list(handle.chat_many(map(str, range(90)), concurrency=1))) == 90
        assert (
            double.limiter.refused <= 1
        )  # 2 without the headers, 30 where a refusal is ignored, too
        assert 2.0 <= clock.monotonic() - begun < 2.5  # 30 at once, the rest one by one


def test_together_has_limits_per_second(home: Path, rows: Any) -> None:
    pytest.importorskip("together", reason="needs the extra `together`")
    clock = ManualClock()
    with (
        TogetherDouble(clock=clock) as double,
        ftsdk.Client(home=home, clock=clock, env=double.variables()) as client,
    ):
        job = client.create_job(rows(12), provider="together", model="Qwen/Qwen3.5-9B")
        job.wait()
        model = job.deploy(hours=1).wait()
        double.request_limit, double.burst_s = 20, 1.0
        begun = clock.monotonic()
        answers = list(model.chat_many((f"question number {n}" for n in range(50)), concurrency=1))
        assert len(answers) == double.meter.answers == 50
        assert double.limiter.refused == 0  # 2 without the headers
        assert 29 / 20 <= clock.monotonic() - begun < 2.0  # 20 at once, the rest one by one


# --- elsewhere -------------------------------------------------------------------------------------


def test_at_fake_and_asynchronously(home: Path, rows: Any) -> None:
    async def ask() -> list[str]:
        async with ftsdk.AsyncClient(home=home, clock=ManualClock(), env={}) as client:
            job = await client.create_job(rows(12), provider="fake", model="m")
            await job.wait()
            model = await job.result()
            questions = (f"question number {number}" for number in range(5))
            texts = [one.text async for one in model.chat_many(questions)]
            async for _ in model.chat_many(f"question {number}" for number in range(1000)):
                break  # the rest is not asked
            return texts

    assert asyncio.run(ask()) == [f"the answer is {7 * number}" for number in range(5)]


def test_a_cancelled_task_finishes_what_is_under_way(double: OpenAIDouble, home: Path) -> None:
    double.answer_s = 0.05
    handle = handle_at(double, home)

    async def ask() -> int:
        seen, first = 0, asyncio.Event()

        async def consume() -> None:
            nonlocal seen
            async for _ in AsyncModelHandle(handle).chat_many(map(str, range(1000)), concurrency=4):
                seen += 1
                first.set()

        task = asyncio.create_task(consume())
        await first.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return seen

    assert asyncio.run(ask()) > 0
    paid = double.meter.answers
    assert paid == double.count("POST", CHAT) < 200


def test_ending_early_does_not_block_the_event_loop(double: OpenAIDouble, home: Path) -> None:
    handle = handle_at(double, home)
    list(handle.chat_many(["a first one, which opens the connections"]))
    double.answer_s = 1.5

    async def ask() -> int:
        beats = 0

        async def beat() -> None:
            nonlocal beats
            while True:
                await asyncio.sleep(0.02)
                beats += 1

        answers = AsyncModelHandle(handle).chat_many(map(str, range(100)), concurrency=2)
        await anext(answers)
        await asyncio.sleep(0.3)  # the next ones are under way now
        beating = asyncio.create_task(beat())
        await answers.aclose()
        beating.cancel()
        return beats

    # About 50 when nothing else runs; none, or one, where the loop waits for what is under way.
    assert asyncio.run(ask()) >= 5
