"""Bedrock Converse rows written from the canonical row; `wire_converse` reads them, tells the shape."""

from __future__ import annotations

from typing import Any

from ftsdk.dataset.findings.registry import Hit
from ftsdk.dataset.formats.bedrock_converse import TITLE, VERSION
from ftsdk.dataset.formats.shared import (
    Row,
    Written,
    as_object,
    declared_functions,
    image_of,
    is_text_part,
    later_system,
    left_over,
    rest,
    take_system,
    write_texts,
)

__all__ = ["write_converse"]


def write_converse(row: Row) -> Written:
    """A canonical chat row as a Converse row, or what that cannot carry."""
    messages = row.get("messages")
    if not isinstance(messages, list):
        return [Hit("messages", f"{TITLE} holds a list of messages", messages)]
    hits = left_over(row, ("messages", "tools", "toolConfig"), TITLE) + later_system(
        messages, TITLE
    )
    written: Row = {"schemaVersion": VERSION}
    system, turns = take_system(messages)
    first = len(messages) - len(turns)
    if first:
        hits += left_over(messages[0], ("role", "content"), TITLE, "messages[0].")
        written["system"] = write_texts(system, "messages[0].content", TITLE, hits)
    written["messages"] = _write_messages(turns, first, hits)
    config = (
        dict(row.get("toolConfig") or {}) if isinstance(row.get("toolConfig", {}), dict) else {}
    )
    if "tools" in row:
        config["tools"] = _write_tools(row["tools"], hits)
    if config:
        written["toolConfig"] = config
    return hits or written


def _write_messages(turns: list[Any], first: int, hits: list[Hit]) -> list[Row]:
    """Results share the user's turn with each other, and with what the user says next."""
    written: list[Row] = []
    after_results = False
    for i, message in enumerate(turns, start=first):
        place = f"messages[{i}]"
        role = message.get("role") if isinstance(message, dict) else None
        if role not in ("user", "assistant", "tool"):
            if role != "system":  # told as a later system message
                hits.append(Hit(f"{place}.role", f"{TITLE} has no role {role!r}", role))
            continue
        blocks = _write_blocks(place, message, role, hits)
        if role != "assistant" and after_results:
            written[-1]["content"] += blocks
        else:
            written.append(
                {"role": "assistant" if role == "assistant" else "user", "content": blocks}
            )
        after_results = role == "tool"
    return written


_USED = {
    "user": ("role", "content"),
    "assistant": ("role", "content", "tool_calls", "reasoning_content"),
    "tool": ("role", "content", "tool_call_id", "status"),
}


def _write_blocks(place: str, message: Row, role: str, hits: list[Hit]) -> list[Row]:
    hits += left_over(message, _USED[role], TITLE, f"{place}.")
    content = message.get("content")
    if role == "tool":
        return [_write_result(place, message, hits)]
    blocks: list[Row] = []
    if "reasoning_content" in message:
        thought = message["reasoning_content"]
        if not isinstance(thought, str) or not thought:
            hits.append(
                Hit(f"{place}.reasoning_content", f"{TITLE} holds reasoning as text only", thought)
            )
        blocks.append({"reasoningContent": {"reasoningText": {"text": thought}}})
    calls = message.get("tool_calls")
    if not (calls and (content is None or content == "")):
        blocks += _write_parts(content, f"{place}.content", hits)
    if calls is not None and (not isinstance(calls, list) or not calls):
        hits.append(Hit(f"{place}.tool_calls", f"{TITLE} holds calls of functions only", calls))
    for j, call in enumerate(calls if isinstance(calls, list) else []):
        blocks.append(_write_call(f"{place}.tool_calls[{j}]", call, hits))
    return blocks


def _write_call(place: str, call: Any, hits: list[Hit]) -> Row:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        hits.append(Hit(f"{place}.function", "the tool call names no function", call))
        return {}
    hits += left_over(call, ("id", "type", "function"), TITLE, f"{place}.")
    hits += left_over(function, ("name", "arguments"), TITLE, f"{place}.function.")
    if not isinstance(call.get("id"), str) or not call["id"]:
        hits.append(Hit(f"{place}.id", "the tool call has no id", call.get("id")))
    given = as_object(function.get("arguments"))
    if given is None:
        hits.append(Hit(f"{place}.function.arguments", f"{TITLE} holds arguments that are a JSON object",
                        function.get("arguments")))  # fmt: skip
    return {"toolUse": {"toolUseId": call.get("id"), "name": function["name"], "input": given}}


def _write_result(place: str, message: Row, hits: list[Hit]) -> Row:
    if not isinstance(message.get("tool_call_id"), str):
        hits.append(Hit(f"{place}.tool_call_id", "the tool result says not which call it answers"))
    content = write_texts(message.get("content"), f"{place}.content", TITLE, hits)
    result: Row = {"toolUseId": message.get("tool_call_id"), "content": content}
    if "status" in message:
        result["status"] = message["status"]
    return {"toolResult": result}


def _write_parts(content: Any, place: str, hits: list[Hit]) -> list[Row]:
    if not isinstance(content, list) or not content:
        return write_texts(content, place, TITLE, hits)
    written: list[Row] = []
    for j, part in enumerate(content):
        if is_text_part(part):
            written.append({"text": part["text"]})
        else:
            written += _write_image(part, f"{place}[{j}]", hits)
    return written


def _write_image(part: Any, place: str, hits: list[Hit]) -> list[Row]:
    image = image_of(part, TITLE, place, hits, "bucket_owner")
    if image is None:
        return []
    source: Row = {"bytes": image.data}
    if image.url is not None:
        if not image.url.startswith("s3://"):
            hits.append(
                Hit(f"{place}.image_url.url", f"{TITLE} reads images at s3:// only", image.url)
            )
        source = {"s3Location": {"uri": image.url}}
        if "bucket_owner" in part["image_url"]:
            source["s3Location"]["bucketOwner"] = part["image_url"]["bucket_owner"]
    return [{"image": {"format": image.media_type.removeprefix("image/"), "source": source}}]


def _write_tools(tools: Any, hits: list[Hit]) -> list[Row]:
    written = []
    for place, function in declared_functions(tools, TITLE, hits):
        if not isinstance(function.get("parameters"), dict):
            hits.append(Hit(f"{place}.parameters", f"{TITLE} wants a schema of the arguments",
                            function.get("parameters")))  # fmt: skip
        spec = rest(function, "parameters")
        written.append({"toolSpec": {**spec, "inputSchema": {"json": function.get("parameters")}}})
    return written
