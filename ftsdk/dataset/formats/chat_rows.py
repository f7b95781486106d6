"""Chat rows and ShareGPT rows, with tools and calls as people write them there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ftsdk.dataset.formats.learned import honour_turns, honoured
from ftsdk.dataset.formats.shared import Row, Said, Turn, messages_from, rest, unsaid
from ftsdk.dataset.formats.tool_turns import (
    RESULT_ROLES,
    as_tools,
    needs_tools_read,
    role_of,
    tool_turns,
    tools_in_text,
)
from ftsdk.dataset.formats.value_parts import has_value_calls

_SHAREGPT_ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "model": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "system": "system",
    "tool": "tool",
}


def read_chat(row: Row, said: Said = unsaid) -> Row:
    """A row of messages; the very row when there is nothing to read in another way."""
    messages = row.get("messages")
    tools = as_tools(row.get("tools"), said)
    read = row if tools is row.get("tools") else {**row, "tools": tools}
    if read.get("tools") == "":
        read = rest(read, "tools")
    if not isinstance(messages, list):
        return read
    if needs_tools_read(messages) or has_value_calls(messages):
        return {**read, "messages": messages_from(chat_turns(row, said))}
    said_messages = [honoured(m, said) if type(m) is dict else m for m in messages]
    if all(a is b for a, b in zip(messages, said_messages, strict=True)):
        return read
    return {**read, "messages": said_messages}


def chat_turns(row: Row, said: Said = unsaid) -> Iterator[Turn]:
    """The messages of a chat row with their places."""
    messages = row.get("messages")
    found = [
        Turn(f"messages[{i}]", m)
        for i, m in enumerate(messages if isinstance(messages, list) else [])
    ]
    found = honour_turns(found, said)
    if not needs_tools_read([turn.message for turn in found]):
        return iter(found)
    has_tags = any(role_of(t.message) in _RESULTS for t in found)
    return iter(tool_turns(found, as_tools(row.get("tools")), said, has_tags=has_tags))


_RESULTS = RESULT_ROLES | {"tool"}


def sharegpt_message(turn: Row) -> Row:
    """A turn of `from` and `value`, or of `role` and `content`, as a message."""
    name = turn.get("from", turn.get("role"))
    role = _SHAREGPT_ROLES.get(name, name) if isinstance(name, str) else name
    content = turn.get("value", turn.get("content"))
    return {"role": role, "content": content, **rest(turn, "from", "value", "role", "content")}


def is_given_twice(turn: Row) -> bool:
    """Whether a turn has its role or its text under two names."""
    return not {"from", "role"} - turn.keys() or not {"value", "content"} - turn.keys()


def sharegpt_turns(row: Row, said: Said = unsaid) -> Iterator[Turn]:
    """The turns of a ShareGPT row with their places."""
    turns = row.get("conversations")
    found = list(_plain_turns(row))
    found = honour_turns(found, said)
    tools = sharegpt_tools(row)
    has_tags = tools is not None or needs_tools_read([t.message for t in found])
    if isinstance(turns, list) and has_tags:
        found = tool_turns(found, tools, said, has_tags=True)
    return iter(found)


def _plain_turns(row: Row) -> Iterator[Turn]:
    if isinstance(row.get("system"), str) and row["system"]:
        yield Turn("system", {"role": "system", "content": row["system"]}, "", "")
    turns = row.get("conversations")
    for i, turn in enumerate(turns if isinstance(turns, list) else []):
        if not isinstance(turn, dict) or is_given_twice(turn):
            # Given twice, it is not known which one counts.
            yield Turn(f"conversations[{i}]", turn)
        else:
            yield Turn(f"conversations[{i}]", sharegpt_message(turn), ".value", ".from")


def sharegpt_tools(row: Row, said: Said = unsaid) -> Any:
    """The tools of a ShareGPT row: its own, or those that its system text declares."""
    tools = as_tools(row.get("tools"), said)
    if tools:
        return tools
    texts = [turn.message.get("content") for turn in _plain_turns(row)
             if isinstance(turn.message, dict) and turn.message.get("role") == "system"]  # fmt: skip
    found = next((t for t in map(tools_in_text, texts) if t is not None), None)
    if found is None:
        return tools or None
    said("the tools within <tools> in the system text are read as tools; the text is kept")
    return as_tools(found)


def read_sharegpt(row: Row, said: Said = unsaid) -> Row:
    """A ShareGPT row as a chat row."""
    turns = row.get("conversations")
    messages = messages_from(sharegpt_turns(row, said)) if isinstance(turns, list) else turns
    tools = sharegpt_tools(row, said)
    used = ("conversations", "system") if row.get("tools") == tools else ("conversations", "system", "tools")  # fmt: skip
    read = {"messages": messages, **rest(row, *used)}
    return read if "tools" not in used or tools is None else {**read, "tools": tools}
