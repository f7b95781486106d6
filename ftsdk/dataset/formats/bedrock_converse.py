"""Bedrock Converse rows (Nova), read into the canonical row and written from it.

As AWS's own validators show them (amazon-bedrock-samples and the Nova customization SDK, read
2026-11-25): `system`, `messages` of user and assistant with blocks of text, `image` (in S3),
`toolUse`, `toolResult`, `reasoningContent`, and `toolConfig`. Video and documents have no place in
a canonical row: they stay as they are, and the rules name them. Which of all that a model is tuned
with is the provider's affair (`limits`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ftsdk.dataset.findings.registry import Hit
from ftsdk.dataset.formats.shared import (
    Blocks,
    Row,
    Turn,
    as_text,
    image_part,
    messages_of,
    read_message,
    rest,
    sole,
)

__all__ = ["BLOCKS", "converse_turns", "own_converse", "read_converse"]

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
        "messages": messages_of(converse_turns(row)) if isinstance(messages, list) else messages
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
    messages = row.get("messages")
    for i, message in enumerate(messages if isinstance(messages, list) else []):
        for read in read_message(message, _KINDS):
            yield Turn(f"messages[{i}]", read)


def own_converse(row: Row) -> Iterator[tuple[str, Hit]]:
    """Roles and contents that stand for themselves in other formats, and mean nothing here."""
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
    told = inner.get("reasoningText") if isinstance(inner, dict) and len(inner) == 1 else None
    text = told.get("text") if isinstance(told, dict) and len(told) == 1 else None
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
