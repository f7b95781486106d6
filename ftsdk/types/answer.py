"""The answer of a chat: all its choices, and what the provider says about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from ftsdk.types.record import Record

__all__ = ["ChatAnswer", "ChatChoice"]


class ChatChoice(Record):
    """One of the answers to a request, as the provider gave it.

    `message` has the tool calls with their arguments as the text that the model wrote. `refusal` is
    set where the model declined to answer; `logprobs` where they were requested.
    """

    text: str
    message: Mapping[str, Any]
    finish_reason: str | None = None
    refusal: str | None = None
    logprobs: Mapping[str, Any] | None = None


class ChatAnswer(Record):
    """A model's answer: the first choice, all of them in `choices`, and the response in `raw`.

    `usage` counts tokens; a nested count has a name with a dot, such as
    `prompt_tokens_details.cached_tokens`. `model` and `fingerprint` name what answered, as
    the provider reports it. `latency_s` is the time from the request to the whole answer, in seconds. `attempts`
    counts the requests that were sent for it: `chat` sends one, `chat_many` sends one again that
    the provider refused for pace or that failed on the way.
    """

    text: str
    message: Mapping[str, Any]
    usage: Mapping[str, int] = Field(default_factory=dict)
    finish_reason: str | None = None
    refusal: str | None = None
    choices: tuple[ChatChoice, ...] = ()
    model: str | None = None
    fingerprint: str | None = None
    latency_s: float | None = None
    attempts: int = 1
    raw: Mapping[str, Any] = Field(default_factory=dict)

    def __str__(self) -> str:
        return self.text
