"""Contents in parts of `type` and `value`: texts, reasoning and tool calls, as LLaMA-Factory writes them."""

from __future__ import annotations

from typing import Any

from ftsdk.dataset.formats.shared import Said, unsaid
from ftsdk.dataset.readers import strict_json
from ftsdk.dataset.row import REASONING_KEYS, Row

_KINDS = frozenset(("text", "reasoning", "tool_call"))


def has_value_calls(messages: list[Any]) -> bool:
    """Whether a message has a tool call as such a part."""
    return any(
        part.get("type") == "tool_call"
        for message in messages
        if isinstance(message, dict) and _are_values(message.get("content"))
        for part in message["content"]
    )


def with_values(message: Row, said: Said = unsaid) -> Row:
    """The message with its parts as text, reasoning and calls; the very message where it has none.

    A message with a part of another kind, or with a call that cannot be read, is left as it is.
    """
    if not _are_values(message.get("content")):
        return message
    found: dict[str, list[Any]] = {kind: [] for kind in _KINDS}
    for part in message["content"]:
        found[part["type"]].append(part["value"])
    calls = [_call(value) for value in found["tool_call"]]
    beside = any(message.get(key) for key in (*REASONING_KEYS, "tool_calls"))
    if None in calls or ((calls or found["reasoning"]) and (beside or message.get("role") != "assistant")):  # fmt: skip
        return message
    said("the value of a part of a content is read as its text, its reasoning or its call")
    read: Row = {**message, "content": _content(found["text"])}
    if found["reasoning"]:
        read["reasoning_content"] = "\n\n".join(found["reasoning"])
    return {**read, "tool_calls": calls} if calls else read


def _are_values(content: Any) -> bool:
    return (
        isinstance(content, list)
        and bool(content)
        and all(
            isinstance(part, dict)
            and part.keys() == {"type", "value"}
            and part["type"] in _KINDS
            and (isinstance(part["value"], str) or part["type"] == "tool_call")
            for part in content
        )
    )


def _content(texts: list[str]) -> Any:
    if len(texts) <= 1:
        return texts[0] if texts else None
    return [{"type": "text", "text": text} for text in texts]


def _call(value: Any) -> Row | None:
    """A call of `name` and `arguments`, or a JSON text of one; None for anything else."""
    if isinstance(value, str):
        value = strict_json.parse(value.encode("utf-8", "surrogatepass"))
    if not isinstance(value, dict) or value.keys() != {"name", "arguments"}:
        return None
    return {"type": "function", "function": value}
