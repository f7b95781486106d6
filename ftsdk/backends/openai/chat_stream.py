"""Put the pieces of a streamed chat completion together, as the reply that it would have been.

A piece is an object of the SDK as plain data: `choices[].delta` with text, parts of tool calls, and at
the end `finish_reason`; the last piece has the usage (openai-openapi, `CreateChatCompletionStreamResponse`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any


class Assembled:
    """A reply that grows by each piece. `on_text` gets the new text of the first choice."""

    def __init__(self, on_text: Callable[[str], object]) -> None:
        self._on_text = on_text
        self._facts: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}

    def add(self, pieces: Iterable[Mapping[str, Any]]) -> None:
        """Add pieces as they come."""
        for piece in pieces:
            self._facts |= {
                name: piece[name]
                for name in ("id", "created", "model", "system_fingerprint", "usage")
                if piece.get(name) is not None
            }
            for choice in piece.get("choices") or ():
                self._add_choice(choice)

    @property
    def is_whole(self) -> bool:
        """Whether every choice has said why it ended."""
        return bool(self._choices) and all(c["finish_reason"] for c in self._choices.values())

    def reply(self) -> dict[str, Any]:
        """Return the whole reply, as a call without a stream gives it."""
        choices = [self._choices[index] for index in sorted(self._choices)]
        return {"object": "chat.completion", **self._facts, "choices": choices}

    def _add_choice(self, choice: Mapping[str, Any]) -> None:
        index, delta = int(choice.get("index") or 0), choice.get("delta") or {}
        empty = {"role": "assistant", "content": None}
        known = self._choices.setdefault(
            index, {"index": index, "message": empty, "finish_reason": None}
        )
        known["finish_reason"] = choice.get("finish_reason") or known["finish_reason"]
        message = known["message"]
        for name in ("content", "refusal"):
            if delta.get(name):
                message[name] = (message.get(name) or "") + delta[name]
        if index == 0 and delta.get("content"):
            self._on_text(delta["content"])
        for call in delta.get("tool_calls") or ():
            _add_call(message.setdefault("tool_calls", []), call)


def _add_call(calls: list[dict[str, Any]], part: Mapping[str, Any]) -> None:
    """Add a part of a tool call: its name comes first, its arguments in pieces."""
    at = int(part.get("index") or 0)
    while len(calls) <= at:
        calls.append({"id": None, "type": "function", "function": {"name": "", "arguments": ""}})
    calls[at]["id"] = part.get("id") or calls[at]["id"]
    function = part.get("function") or {}
    for name in ("name", "arguments"):
        calls[at]["function"][name] += function.get(name) or ""
