"""Bedrock Converse rows (Nova), read into the canonical row and written from it.

As AWS's own validators show them (amazon-bedrock-samples and the Nova customization SDK, read
2026-11-25): `system`, `messages` of user and assistant with blocks of text, `image` (in S3),
`toolUse`, `toolResult`, `reasoningContent`, and `toolConfig`. Video and documents have no place in
a canonical row: they stay as they are, and the rules name them. What a model can be tuned
with is in the provider's limits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ftsdk.dataset.findings.finding import Hit
from ftsdk.dataset.formats.shared import (
    Blocks,
    Row,
    Turn,
    Written,
    as_object,
    as_text,
    declared_functions,
    image_of,
    image_part,
    is_text_part,
    later_system,
    left_over,
    message_turns,
    messages_from,
    rest,
    sole,
    take_system,
    write_texts,
)

TITLE = "Bedrock Converse"
VERSION = "bedrock-conversation-2024"
BLOCKS = frozenset(
    ("text", "image", "video", "document", "reasoningContent", "toolUse", "toolResult")
)
"""The keys of a content block; a block has one of them, and no `type`."""


# --- reading ---------------------------------------------------------------------------------


def read_converse(row: Row) -> Row:
    """A Converse row as a canonical chat row."""
    messages = row.get("messages")
    read: Row = {
        "messages": messages_from(converse_turns(row)) if isinstance(messages, list) else messages
    }
    more = rest(row, "messages", "system", "toolConfig")
    config = row.get("toolConfig")
    if isinstance(config, dict) and isinstance(config.get("tools"), list):
        read["tools"] = [_read_tool(tool) for tool in config["tools"]]
        config = rest(config, "tools")
    if config:
        more["toolConfig"] = config
    if more.get("schemaVersion") == VERSION:
        del more["schemaVersion"]
    return {**read, **more}


def converse_turns(row: Mapping[str, Any]) -> Iterator[Turn]:
    """The messages of a Converse row with their places."""
    if row.get("system"):
        yield Turn("system", {"role": "system", "content": _read_content(row["system"])}, "", "")
    yield from message_turns(row, _KINDS)


def own_converse(row: Row) -> Iterator[tuple[str, Hit]]:
    """Findings for roles and contents that other formats have and this one does not."""
    messages = row.get("messages")
    for i, message in enumerate(messages if isinstance(messages, list) else []):
        if not isinstance(message, dict):
            continue
        role, content = message.get("role"), message.get("content")
        if role in ("system", "developer", "tool"):
            where = "toolResult of a user's message" if role == "tool" else "system beside messages"
            yield (
                "FT104",
                Hit(f"messages[{i}].role", f"{TITLE} has no role {role!r}, but {where}", role),
            )
        if isinstance(content, str):
            yield (
                "FT105",
                Hit(
                    f"messages[{i}].content",
                    f"the content is a string, {TITLE} wants a list of blocks",
                    content,
                ),
            )


def _reasoning(block: Row) -> str | None:
    inner = block.get("reasoningContent") if set(block) == {"reasoningContent"} else None
    given = inner.get("reasoningText") if isinstance(inner, dict) and len(inner) == 1 else None
    text = given.get("text") if isinstance(given, dict) and len(given) == 1 else None
    return text if isinstance(text, str) else None


def _call(block: Row) -> Row | None:
    call = block.get("toolUse") if set(block) == {"toolUse"} else None
    if not isinstance(call, dict):
        return None
    given = call.get("input")
    arguments = as_text(given) if isinstance(given, dict) else given
    function = {"name": call.get("name"), "arguments": arguments}
    more = rest(call, "toolUseId", "name", "input")
    return {"id": call.get("toolUseId"), "type": "function", "function": function, **more}


def _result(block: Row) -> Row | None:
    result = block.get("toolResult") if set(block) == {"toolResult"} else None
    if not isinstance(result, dict):
        return None
    read = {"role": "tool", "tool_call_id": result.get("toolUseId"),
            "content": _read_result(result.get("content"))}  # fmt: skip
    return {**read, **rest(result, "toolUseId", "content")}


def _read_result(content: Any) -> Any:
    if not isinstance(content, list):
        return content
    return sole([
        {"type": "text", "text": as_text(part["json"])}
        if isinstance(part, dict) and set(part) == {"json"} and isinstance(part["json"], dict)
        else _read_block(part)
        for part in content
    ])  # fmt: skip


def _read_content(blocks: Any) -> Any:
    return sole([_read_block(b) for b in blocks]) if isinstance(blocks, list) else blocks


def _read_block(block: Any) -> Any:
    if not isinstance(block, dict) or len(block) != 1:
        return block
    if "text" in block:
        return {"type": "text", "text": block["text"]}
    image = block.get("image")
    if not isinstance(image, dict) or set(image) != {"format", "source"}:
        return block
    kind, source = image["format"], image["source"]
    if not isinstance(kind, str) or not isinstance(source, dict) or len(source) != 1:
        return block
    stored, data = source.get("s3Location"), source.get("bytes")
    if isinstance(data, str):
        return image_part(f"data:image/{kind};base64,{data}")
    if not isinstance(stored, dict) or not isinstance(stored.get("uri"), str):
        return block
    part = image_part(stored["uri"], f"image/{kind}")
    if "bucketOwner" in stored:
        part["image_url"]["bucket_owner"] = stored["bucketOwner"]
    return part if set(stored) <= {"uri", "bucketOwner"} else block


_KINDS = Blocks(_reasoning, _call, _result, _read_block)


def _read_tool(tool: Any) -> Any:
    spec = tool.get("toolSpec") if isinstance(tool, dict) and set(tool) == {"toolSpec"} else None
    if not isinstance(spec, dict):
        return tool
    function = rest(spec, "inputSchema")
    schema = spec.get("inputSchema")
    if isinstance(schema, dict) and set(schema) == {"json"}:
        function["parameters"] = schema["json"]
    elif schema is not None:
        function["inputSchema"] = schema
    return {"type": "function", "function": function}


# --- writing ---------------------------------------------------------------------------------


def write_converse(row: Row) -> Written:
    """A canonical chat row as a Converse row, or what that cannot carry."""
    messages = row.get("messages")
    if not isinstance(messages, list):
        return [Hit("messages", f"{TITLE} needs a list of messages", messages)]
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
    """Results share one user turn with each other and with the user message that follows."""
    written: list[Row] = []
    after_results = False
    for i, message in enumerate(turns, start=first):
        place = f"messages[{i}]"
        role = message.get("role") if isinstance(message, dict) else None
        if role not in ("user", "assistant", "tool"):
            if role != "system":  # reported as a later system message
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
                Hit(
                    f"{place}.reasoning_content",
                    f"{TITLE} supports reasoning as text only",
                    thought,
                )
            )
        blocks.append({"reasoningContent": {"reasoningText": {"text": thought}}})
    calls = message.get("tool_calls")
    if not (calls and (content is None or content == "")):
        blocks += _write_parts(content, f"{place}.content", hits)
    if calls is not None and (not isinstance(calls, list) or not calls):
        hits.append(Hit(f"{place}.tool_calls", f"{TITLE} supports function calls only", calls))
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
        hits.append(Hit(f"{place}.function.arguments", f"{TITLE} needs arguments that are a JSON object",
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
