"""Chat completions that an account stored at OpenAI: all of them, with the messages that were sent."""

from __future__ import annotations

import threading
from typing import Any

import pytest

pytest.importorskip("openai", reason="needs the extra `openai`")

from ftsdk.backends.openai import OpenAIBackend
from ftsdk.errors import AuthError, UnexpectedResponse
from ftsdk.testing.lab.openai.double import OpenAIDouble
from ftsdk.types.model import ModelHandle, ModelKind
from ftsdk.util.clock import ManualClock
from tests.backends.openai_account import (
    MODEL,
    account,
    backend_of_account,
    last_of_november,
)

__all__ = ["account", "backend_of_account", "last_of_november"]  # fixtures

OTHER = "gpt-4.1-2025-04-14"


def chat(
    backend: OpenAIBackend, text: Any, model: str = MODEL, store: bool = True, **options: Any
) -> None:
    handle = ModelHandle(kind=ModelKind.HOSTED, provider="openai", id=model, base_model=model)
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]
    backend.chat(handle, messages, {"store": store, **options})


def texts(found: Any) -> list[Any]:
    return [one.messages[-1]["content"] for one in found]


def test_a_stored_chat_has_what_was_sent_and_answered(
    backend: OpenAIBackend, clock: ManualClock
) -> None:
    tools = [{"type": "function", "function": {"name": "look", "parameters": {}}}]
    chat(backend, "one", temperature=0.25, tools=tools, metadata={"app": "support"})
    chat(backend, "not kept", store=False)
    (found,) = backend.stored_chats()
    assert found.messages == (
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "one"},
    )
    assert found.answer.text == "(an untuned model's answer to: one)"
    assert found.answer.latency_s is None
    assert found.options["temperature"] == 0.25
    assert found.options["tools"] == tools
    assert "metadata" not in found.options
    assert found.metadata == {"app": "support"}
    assert (found.model, found.created_at) == (MODEL, clock.now())


def test_content_in_parts_is_returned_in_parts(backend: OpenAIBackend) -> None:
    parts = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "u"}}]
    chat(backend, parts)
    (found,) = backend.stored_chats()
    assert found.messages[-1] == {"role": "user", "content": parts}


@pytest.mark.parametrize("size", [1, 3, 20, None])
def test_all_pages_newest_first(
    backend: OpenAIBackend, double: OpenAIDouble, clock: ManualClock, size: int | None
) -> None:
    for number in range(25):
        chat(backend, (number and str(number)) or "0")
        clock.advance(1)
    double.page_size = size
    found = list(backend.stored_chats())
    assert texts(found) == [str(number) for number in reversed(range(25))]
    assert all(one.messages[0]["role"] == "system" for one in found)


def test_they_are_filtered_by_model_and_metadata(
    backend: OpenAIBackend, double: OpenAIDouble
) -> None:
    chat(backend, "a", metadata={"app": "x", "v": "1"})
    chat(backend, "b", metadata={"app": "y"})
    chat(backend, "c", model=OTHER, metadata={"app": "x"})
    assert texts(backend.stored_chats(model=MODEL)) == ["b", "a"]
    assert texts(backend.stored_chats(metadata={"app": "x"})) == ["c", "a"]
    assert texts(backend.stored_chats(model=MODEL, metadata={"app": "x", "v": "1"})) == ["a"]
    assert texts(backend.stored_chats(metadata={"app": "z"})) == []
    assert double.asked("GET", "/chat/completions$")[-1].first("metadata[app]") == "z"


def test_a_limit_reads_no_more_than_it_needs(backend: OpenAIBackend, double: OpenAIDouble) -> None:
    for number in range(6):
        chat(backend, str(number))
    before = len(double.requests)
    assert texts(backend.stored_chats(limit=2)) == ["5", "4"]
    assert len(double.requests) - before == 3
    assert double.asked("GET", "/chat/completions$")[-1].first("limit") == "2"
    assert list(backend.stored_chats(limit=0)) == []


def test_one_that_cannot_be_read_is_named_and_keeps_no_other_back(
    backend: OpenAIBackend, double: OpenAIDouble
) -> None:
    for number in range(4):
        chat(backend, str(number))
    gone = list(double.stored)[2]
    double.faults.add("status", method="GET", path=f"{gone}/messages", status=404, times=None)
    read: list[Any] = []
    with pytest.raises(UnexpectedResponse, match=rf"Stored chats cannot be read \(1\): {gone}"):
        read.extend(backend.stored_chats())
    assert texts(read) == ["3", "1", "0"]


def test_messages_are_read_a_few_at_once_and_in_order(
    backend: OpenAIBackend, double: OpenAIDouble
) -> None:
    for number in range(8):
        chat(backend, str(number))
    together = threading.Barrier(3, timeout=10)
    honest = double._handle

    def handle(request: Any) -> Any:
        reply = honest(request)
        if request.path.endswith("/messages"):
            double._lock.release()  # others may be answered meanwhile
            try:
                together.wait()
            finally:
                double._lock.acquire()
        return reply

    double._handle = handle  # type: ignore[method-assign]  # three requests have to meet
    reading = backend.stored_chats(limit=6)
    assert texts(reading) == ["7", "6", "5", "4", "3", "2"]


def test_whoever_stops_reading_leaves_no_thread(
    backend: OpenAIBackend, double: OpenAIDouble
) -> None:
    for number in range(40):
        chat(backend, str(number))
    reading = backend.stored_chats()
    next(reading)
    reading.close()  # type: ignore[attr-defined]  # a generator
    assert not [one for one in threading.enumerate() if one.name.startswith("ftsdk-stored")]
    assert double.count("GET", "/messages$") < 40


def test_an_error_of_the_account_ends_the_reading(
    backend: OpenAIBackend, double: OpenAIDouble
) -> None:
    chat(backend, "a")
    double.faults.add("status", method="GET", path="/messages", status=401, times=None)
    with pytest.raises(AuthError):
        list(backend.stored_chats())


def test_a_message_without_an_id_is_not_dropped(
    backend: OpenAIBackend, double: OpenAIDouble
) -> None:
    chat(backend, "a")
    messages = [{"role": "user", "content": "a"}]
    double.faults.add("set", method="GET", path="/messages", field="data", value=messages)
    with pytest.raises(UnexpectedResponse, match="no id"):
        list(backend.stored_chats())


def test_an_answer_at_the_end_of_the_messages_is_not_a_message_that_was_sent(
    backend: OpenAIBackend, double: OpenAIDouble
) -> None:
    chat(backend, "a")
    (kept,) = double.stored.values()
    answer = kept["completion"]["choices"][0]["message"]
    kept["messages"] = [*kept["messages"], {**answer, "annotations": []}]
    (found,) = backend.stored_chats()
    assert [one["role"] for one in found.messages] == ["system", "user"]
    kept["messages"][-1] = {"role": "assistant", "content": "another text"}
    (found,) = backend.stored_chats()
    assert [one["role"] for one in found.messages] == ["system", "user", "assistant"]


def test_the_double_has_the_other_calls_of_the_sdk(
    backend: OpenAIBackend, double: OpenAIDouble
) -> None:
    import openai

    chat(backend, "a", metadata={"app": "x"})
    (one,) = double.stored
    chats = backend.transport.client().chat.completions
    assert chats.retrieve(one).model == MODEL
    assert chats.update(one, metadata={"app": "y"}).id == one
    assert [found.metadata for found in backend.stored_chats()] == [{"app": "y"}]
    assert texts(backend.stored_chats(metadata={"app": "x"})) == []
    with pytest.raises(openai.BadRequestError):
        chats.update(one, metadata={"app": "y" * 513})
    assert chats.delete(one).deleted
    with pytest.raises(openai.NotFoundError):
        chats.retrieve(one)
    assert list(backend.stored_chats()) == []


def test_the_double_forgets_after_its_retention(
    backend: OpenAIBackend, double: OpenAIDouble, clock: ManualClock
) -> None:
    double.stored_for_s = 60.0
    chat(backend, "old")
    clock.advance(61)
    chat(backend, "new")
    assert texts(backend.stored_chats()) == ["new"]
