"""Rows of Claude's Messages API: read in full, written as Bedrock's tuning of Claude 3 Haiku accepts them.

Read are the blocks of the Messages API (text, images, `tool_use`, `tool_result`, `thinking`) and its
tools. The rows of the fine-tuning are narrower: `system` and messages of text, first user, last
assistant, no other key (Anthropic's cookbook finetuning_on_bedrock.ipynb, read 2026-11-23). So
tools and images are read, to be converted elsewhere, and refused by name when rows are written.
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
    as_text,
    image_part,
    later_system,
    left_over,
    message_turns,
    messages_from,
    rest,
    sole,
    take_system,
)

TITLE = "Bedrock Claude"
BLOCKS = frozenset(
    ("image", "tool_use", "tool_result", "thinking", "redacted_thinking", "document")
)
"""Types of blocks that no other format has."""
_SOURCE = "Anthropic's cookbook on tuning Claude 3 Haiku"


# --- reading ---------------------------------------------------------------------------------


def read_claude(row: Row) -> Row:
    """A row of Claude's Messages as a canonical chat row."""
    messages = row.get("messages")
    read: Row = {
        "messages": messages_from(claude_turns(row)) if isinstance(messages, list) else messages
    }
    if "tools" in row:
        tools = row["tools"]
        read["tools"] = [_read_tool(t) for t in tools] if isinstance(tools, list) else tools
    return {**read, **rest(row, "messages", "system", "tools")}


def claude_turns(row: Mapping[str, Any]) -> Iterator[Turn]:
    """The messages of a row of Claude's with their places."""
    if row.get("system") is not None:
        system = row["system"]
        content = sole(system) if isinstance(system, list) else system
        yield Turn("system", {"role": "system", "content": content}, "", "")
    yield from message_turns(row, _KINDS)


def own_claude(row: Row) -> Iterator[tuple[str, Hit]]:
    """Findings for roles that other formats have and this one does not."""
    messages = row.get("messages")
    for i, message in enumerate(messages if isinstance(messages, list) else []):
        role = message.get("role") if isinstance(message, dict) else None
        if role in ("system", "developer", "tool"):
            where = (
                "tool_result of a user's message" if role == "tool" else "system beside messages"
            )
            yield (
                "FT104",
                Hit(f"messages[{i}].role", f"{TITLE} has no role {role!r}, but {where}", role),
            )


def _thought(block: Row) -> str | None:
    text = block.get("thinking") if set(block) == {"type", "thinking"} else None
    return text if isinstance(text, str) else None


def _call(block: Row) -> Row | None:
    if block.get("type") != "tool_use":
        return None
    given = block.get("input")
    arguments = as_text(given) if isinstance(given, dict) else given
    function = {"name": block.get("name"), "arguments": arguments}
    more = rest(block, "type", "id", "name", "input")
    return {"id": block.get("id"), "type": "function", "function": function, **more}


def _result(block: Row) -> Row | None:
    if block.get("type") != "tool_result":
        return None
    content = block.get("content")
    read = {"role": "tool", "tool_call_id": block.get("tool_use_id"),
            "content": _KINDS.content(content) if isinstance(content, list) else content}  # fmt: skip
    return {**read, **rest(block, "type", "tool_use_id", "content")}


def _read_block(block: Any) -> Any:
    source = (
        block.get("source")
        if isinstance(block, dict) and set(block) == {"type", "source"}
        else None
    )
    if not isinstance(source, dict) or block["type"] != "image":
        return block
    if source.get("type") == "base64" and set(source) == {"type", "media_type", "data"}:
        return image_part(f"data:{source['media_type']};base64,{source['data']}")
    if source.get("type") == "url" and set(source) == {"type", "url"}:
        return image_part(source["url"])
    return block


_KINDS = Blocks(_thought, _call, _result, _read_block)


def _read_tool(tool: Any) -> Any:
    if not isinstance(tool, dict) or "input_schema" not in tool:
        return tool
    function = {**rest(tool, "input_schema", "type"), "parameters": tool["input_schema"]}
    return {"type": "function", "function": function}


# --- writing ---------------------------------------------------------------------------------


def write_claude(row: Row) -> Written:
    """A canonical chat row as Bedrock tunes Claude with, or what that cannot carry."""
    messages = row.get("messages")
    if not isinstance(messages, list):
        return [Hit("messages", f"{TITLE} needs a list of messages", messages)]
    hits = left_over(row, ("messages",), TITLE) + later_system(messages, TITLE)
    for i, message in enumerate(messages):
        place = f"messages[{i}]"
        role = message.get("role") if isinstance(message, dict) else None
        if role not in ("system", "user", "assistant"):
            hits.append(Hit(f"{place}.role", f"{TITLE} has no role {role!r}", role))
            continue
        hits += left_over(message, ("role", "content"), TITLE, f"{place}.")
        if not isinstance(message.get("content"), str):
            why = f"{TITLE} supports text only ({_SOURCE})"
            hits.append(Hit(f"{place}.content", why, message.get("content")))
    if hits:
        return hits
    system, turns = take_system(messages)
    return {**({} if system is None else {"system": system}), "messages": turns}
