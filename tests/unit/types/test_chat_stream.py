"""A stream of a chat: pieces in order, the whole answer, errors where they are read."""

from __future__ import annotations

import asyncio
import threading

import pytest

from ftsdk.async_client import AsyncModelHandle
from ftsdk.backends.openai.chat_stream import Assembled
from ftsdk.errors import Unavailable, UsageError
from ftsdk.types.answer import ChatAnswer
from ftsdk.types.chat_stream import ChatStream


def test_pieces_come_before_the_answer_is_whole() -> None:
    may_end = threading.Event()

    def ask(put):
        put("one ")
        assert may_end.wait(10)
        put("two")
        return ChatAnswer(text="one two", message={})

    stream = ChatStream(ask)
    assert next(stream) == "one "
    may_end.set()
    assert list(stream) == ["two"]
    assert stream.answer.text == "one two"


def test_an_answer_without_pieces_is_one_piece() -> None:
    assert list(ChatStream(lambda _: ChatAnswer(text="whole", message={}))) == ["whole"]
    assert list(ChatStream(lambda _: ChatAnswer(text="", message={}))) == []


def test_an_error_is_raised_where_it_is_read_every_time() -> None:
    def ask(put):
        put("half")
        raise Unavailable("gone")

    stream = ChatStream(ask)
    assert next(stream) == "half"
    for _ in range(2):
        with pytest.raises(Unavailable):
            next(stream)
    with pytest.raises(Unavailable):
        _ = stream.answer


def test_a_closed_stream_ends_the_call_at_its_next_piece() -> None:
    put_twice, reached = threading.Event(), []

    def ask(put):
        put("one")
        assert put_twice.wait(10)
        put("two")
        reached.append("the end")
        return ChatAnswer(text="onetwo", message={})

    stream = ChatStream(ask)
    assert next(stream) == "one"
    stream.close()
    put_twice.set()
    stream._thread.join(10)
    assert reached == []


def test_a_handle_streams_and_refuses_both_ways_at_once(client, rows) -> None:
    model = client.create_job(rows(4)).wait().result()
    assert (
        "".join(model.chat("question number 1", stream=True))
        == model.chat("question number 1").text
    )
    with pytest.raises(UsageError, match="exclude each other"):
        model.chat("x", stream=True, on_text=print)  # type: ignore[call-overload]  # the point

    async def story() -> tuple[list[str], str]:
        stream = await AsyncModelHandle(model).chat("question number 1", stream=True)
        pieces = [piece async for piece in stream]
        return pieces, (await stream.answer()).text

    pieces, text = asyncio.run(story())
    assert "".join(pieces) == text


def chunk(delta, *, reason=None, index=0, **facts):
    return {
        "id": "c",
        "choices": [{"index": index, "delta": delta, "finish_reason": reason}],
        **facts,
    }


def test_a_reply_is_put_together_from_its_parts() -> None:
    heard: list[str] = []
    found = Assembled(heard.append)
    call = {"index": 0, "id": "t1", "function": {"name": "find", "arguments": '{"a"'}}
    more = {"index": 0, "id": None, "function": {"name": None, "arguments": ": 1}"}}
    found.add([chunk({"role": "assistant", "content": ""}), chunk({"content": "he"}), chunk({"content": "y"}),
               chunk({"content": "no"}, index=1), chunk({"tool_calls": [call]}), chunk({"tool_calls": [more]})])  # fmt: skip
    assert not found.is_whole
    found.add([chunk({}, reason="tool_calls"), chunk({}, reason="stop", index=1)])
    found.add([{"id": "c", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}])
    assert found.is_whole
    first, second = found.reply()["choices"]
    assert first["message"]["content"] == "hey"
    assert first["message"]["tool_calls"][0]["function"] == {
        "name": "find",
        "arguments": '{"a": 1}',
    }
    assert second["message"]["content"] == "no"
    assert found.reply()["usage"]["prompt_tokens"] == 3
    assert heard == ["he", "y"]
