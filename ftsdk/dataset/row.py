"""The canonical row: its shapes, messages, texts and images, read without assuming it is valid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import orjson

ROLES = ("system", "developer", "user", "assistant", "tool")
Row = dict[str, Any]


def canonical_bytes(row: Row) -> bytes:
    """A canonical row as one JSON line without its end: compact UTF-8, keys in their order."""
    return orjson.dumps(row)


def messages_of(row: Row) -> list[tuple[int, Row]]:
    """The messages of a chat row that are objects, with their place; empty when there is no list."""
    messages = row.get("messages")
    if not isinstance(messages, list):
        return []
    return [(i, m) for i, m in enumerate(messages) if isinstance(m, dict)]


def has_text(content: Any) -> bool:
    """Whether a content has anything but white space."""
    if isinstance(content, str):
        return bool(content) and not content.isspace()
    if isinstance(content, list):
        return any(
            not isinstance(p, dict) or p.get("type") != "text" or has_text(p.get("text"))
            for p in content
        )
    return content is not None


_KINDS = {
    dict: "an object",
    list: "a list",
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    type(None): "null",
}


def kind_of(value: Any) -> str:
    """The kind of a JSON value with its article, such as `a list`."""
    return _KINDS.get(type(value), f"a {type(value).__name__}")


REASONING_KEYS = ("reasoning_content", "reasoning", "thinking")
"""Keys of a message with reasoning that some chat template reads."""

MESSAGE_KEYS = frozenset(
    ("role", "content", "name", "weight", "tool_calls", "tool_call_id", "reasoning_content",
     "reasoning", "thinking", "refusal", "function_call", "audio", "annotations")
)  # fmt: skip
ROW_KEYS = frozenset(("messages", "tools", "parallel_tool_calls", "weight", "functions"))


def texts_of(row: Row) -> Iterator[tuple[str, str]]:
    """Every text that the model sees, with its field path; of any canonical shape."""
    if isinstance(row.get("text"), str):
        yield "text", row["text"]
    for place, message in placed_messages(row):
        yield from _texts_of_message(place, message)


def placed_messages(row: Row) -> Iterator[tuple[str, Row]]:
    """Every message of a chat or preference row with its field path."""
    groups: list[tuple[str, Any]] = [("messages", row.get("messages"))]
    prompt = row.get("input")
    if isinstance(prompt, dict):
        groups.append(("input.messages", prompt.get("messages")))
    groups += [(n, row.get(n)) for n in ("preferred_output", "non_preferred_output")]
    for place, messages in groups:
        for i, message in enumerate(messages if isinstance(messages, list) else []):
            if isinstance(message, dict):
                yield f"{place}[{i}]", message


def _texts_of_message(place: str, message: Row) -> Iterator[tuple[str, str]]:
    content = message.get("content")
    if isinstance(content, str):
        yield f"{place}.content", content
    elif isinstance(content, list):
        for j, part in enumerate(content):
            if isinstance(part, dict) and isinstance(part.get("text"), str):
                yield f"{place}.content[{j}].text", part["text"]
    for key in REASONING_KEYS:
        if isinstance(message.get(key), str):
            yield f"{place}.{key}", message[key]
    old = message.get("function_call")
    if isinstance(old, dict) and isinstance(old.get("arguments"), str):
        yield f"{place}.function_call.arguments", old["arguments"]
    calls = message.get("tool_calls")
    for j, call in enumerate(calls if isinstance(calls, list) else []):
        function = call.get("function") if isinstance(call, dict) else None
        arguments = function.get("arguments") if isinstance(function, dict) else None
        if isinstance(arguments, str):
            yield f"{place}.tool_calls[{j}].function.arguments", arguments


def images_of(row: Row) -> Iterator[tuple[str, str, str]]:
    """Every image of a chat or preference row: field path, the message's role, its URL."""
    for place, message in placed_messages(row):
        content = message.get("content")
        for j, part in enumerate(content if isinstance(content, list) else []):
            if isinstance(part, dict) and part.get("type") == "image_url":
                image = part.get("image_url")
                url = image.get("url") if isinstance(image, dict) else image
                if isinstance(url, str) and url:
                    yield f"{place}.content[{j}].image_url", str(message.get("role")), url


def prompt_of(row: Row) -> Row | None:
    """What a row asks, without its answer: messages before the last one and tools, or leading ids.

    None when it asks nothing: plain text, only an answer, or nothing but a system message before it.
    """
    shape = shape_of(row)
    if shape == "tokens":
        return _unlearned_start(row)
    inner = row.get("input") if shape == "preference" else row
    messages = inner.get("messages") if isinstance(inner, dict) else None
    if shape == "text" or not isinstance(inner, dict) or not isinstance(messages, list):
        return None
    asked = messages if shape == "preference" else messages[:-1]
    if all(isinstance(m, dict) and m.get("role") in ("system", "developer") for m in asked):
        return None
    plain = [
        {k: v for k, v in m.items() if k != "weight"} if isinstance(m, dict) else m for m in asked
    ]
    return {"messages": plain, "tools": inner.get("tools") or []}


def _unlearned_start(row: Row) -> Row | None:
    """The ids of a tokenized row before the first that is learned."""
    ids, labels = row.get("input_ids"), row.get("labels")
    if not isinstance(ids, list) or not isinstance(labels, list):
        return None
    first = next((i for i, label in enumerate(labels) if label != -100), 0)
    return {"input_ids": ids[:first]} if first else None


OUTPUTS = ("preferred_output", "non_preferred_output")


def shape_of(row: Mapping[str, Any]) -> str:
    """`chat`, `preference`, `text` or `tokens` for a canonical row."""
    if "messages" in row:
        return "chat"
    if "input_ids" in row:
        return "tokens"
    return "text" if "text" in row else "preference"


class Read(NamedTuple):
    """One row as read: its position, its bytes and the canonical row.

    `plain` rows are known to pass every row rule (see `fast_path.is_plain`).
    """

    line: int
    offset: int | None
    raw: bytes
    row: dict[str, Any]
    plain: bool
