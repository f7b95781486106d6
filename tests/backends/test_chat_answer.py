"""A chat keeps the whole answer, and refuses by name an option that the provider does not have."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ftsdk
from ftsdk.backends.hosted.chat_answer import answer_of, checked_options
from ftsdk.errors import UnexpectedResponse, Unsupported
from ftsdk.testing.lab.openai.double import OpenAIDouble
from ftsdk.util.clock import ManualClock

MODEL = "gpt-4.1-mini-2025-04-14"
ARGUMENTS = '{"city": "Oslo",  "unit":"C"}'  # as the model wrote it, spaces included
CALL = {"id": "call_1", "type": "function", "function": {"name": "w", "arguments": ARGUMENTS}}
REPLY: dict[str, Any] = {
    "id": "chatcmpl-1",
    "model": "gpt-4.1-mini-2025-04-14-b",
    "system_fingerprint": "fp_1",
    "choices": [
        {"message": {"role": "assistant", "content": None, "tool_calls": [CALL]}, "finish_reason": "tool_calls"},
        {"message": {"role": "assistant", "content": None, "refusal": "No."}, "finish_reason": "stop"},
        {
            "message": {"role": "assistant", "content": "yes"},
            "finish_reason": "length",
            "logprobs": {"content": [{"token": "yes", "logprob": -0.1}]},
        },
    ],
    "usage": {
        "prompt_tokens": 9,
        "completion_tokens": 4,
        "total_tokens": 13,
        "prompt_tokens_details": {"cached_tokens": 7, "audio": True},
        "service": "default",
    },
}  # fmt: skip


def test_the_whole_answer_is_kept() -> None:
    answer = answer_of(REPLY, "OpenAI", latency_s=0.25)
    assert answer.message["tool_calls"][0]["function"]["arguments"] == ARGUMENTS
    assert (answer.text, answer.finish_reason, answer.refusal) == ("", "tool_calls", None)
    assert [one.text for one in answer.choices] == ["", "", "yes"]
    assert [one.refusal for one in answer.choices] == [None, "No.", None]
    assert [one.finish_reason for one in answer.choices] == ["tool_calls", "stop", "length"]
    assert answer.choices[2].logprobs == {"content": [{"token": "yes", "logprob": -0.1}]}
    assert (answer.model, answer.fingerprint) == ("gpt-4.1-mini-2025-04-14-b", "fp_1")
    assert answer.latency_s == 0.25
    assert answer.usage == {
        "prompt_tokens": 9,
        "completion_tokens": 4,
        "total_tokens": 13,
        "prompt_tokens_details.cached_tokens": 7,
    }
    assert answer.raw == REPLY
    assert ftsdk.ChatAnswer.model_validate_json(answer.model_dump_json()) == answer


def test_a_refusal_of_the_first_choice_is_that_of_the_answer() -> None:
    answer = answer_of({"choices": REPLY["choices"][1:2]}, "OpenAI", latency_s=0)
    assert (answer.text, answer.refusal, answer.usage, answer.model) == ("", "No.", {}, None)


@pytest.mark.parametrize("choices", [None, [], {}, [None], [{}], [{"message": "x"}]])
def test_a_reply_without_a_message_is_an_error(choices: Any) -> None:
    with pytest.raises(UnexpectedResponse, match="it has no message"):
        answer_of({"choices": choices}, "OpenAI", latency_s=0)


def test_every_unknown_option_is_named() -> None:
    known = {"max_tokens", "temperature", "logprobs"}
    given = {"max_tokens": 5, "temperature": None, "top_logprob": 3, "logprob": 1}
    with pytest.raises(Unsupported) as caught:
        checked_options(given, known, "OpenAI")
    assert "'logprob'; did you mean 'logprobs'?" in str(caught.value)
    assert "'top_logprob'" in str(caught.value)
    assert checked_options({"max_tokens": 5, "temperature": None, "stream": False}, known, "x") == {
        "max_tokens": 5
    }


@pytest.fixture
def model(home: Path, clock: ManualClock, rows: Any) -> Iterator[tuple[Any, OpenAIDouble]]:
    pytest.importorskip("openai", reason="needs the extra `openai`")
    with (
        OpenAIDouble(clock=clock) as double,
        ftsdk.Client(home=home, clock=clock, env=double.variables()) as client,
    ):
        job = client.create_job(rows(12), provider="openai", model=MODEL)
        job.wait()
        yield job.result(), double


def test_at_openai(model: tuple[Any, OpenAIDouble]) -> None:
    handle, double = model
    double.requests.clear()
    with pytest.raises(Unsupported, match="'top_logprob'; did you mean 'top_logprobs'"):
        handle.chat("question number 3", top_logprob=3)
    assert not double.requests
    answer = handle.chat(
        "question number 3",
        top_logprobs=3, logprobs=True, n=2, tool_choice="auto", extra_body={"own": 1},
    )  # fmt: skip
    body = double.requests[-1].json()
    assert {"top_logprobs": 3, "n": 2, "own": 1}.items() <= body.items()
    assert answer.choices[0].text == answer.text == "the answer is 21"
    assert answer.model == handle.id
    assert answer.latency_s == 0.0  # the clock of the test stands still


def test_every_option_of_the_installed_sdks_is_known() -> None:
    pytest.importorskip("openai", reason="needs the extra `openai`")
    pytest.importorskip("together", reason="needs the extra `together`")
    from ftsdk.backends.openai import chat as openai_chat
    from ftsdk.backends.together import chat as together_chat

    for known in (openai_chat.chat_options(), together_chat._known()):
        assert {"tools", "n", "logprobs", "seed", "temperature", "max_tokens", "stop"} <= known
        assert not {"self", "model", "messages", "stream", "timeout", "extra_headers"} & known
    assert "extra_body" in openai_chat.chat_options()
