"""Row formats: recognise one, read it into the canonical row, write it back.

The canonical row is one of three shapes:

* **chat**: `{"messages": [{"role", "content", …}], "tools"?, "parallel_tool_calls"?, …}`; each
  message as OpenAI's chat format has it, with `weight`, `tool_calls` (`arguments` is a JSON
  string), `tool_call_id`, `name` and `reasoning_content` where they apply;
* **preference**: `{"input": {"messages", "tools"?, …}, "preferred_output": [message …],
  "non_preferred_output": [message …]}`;
* **text**: `{"text": str}`.

Reading never judges: what is malformed stays malformed, in the place where the rules find it and
with a field name of the source format (`Format.field`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["FORMATS", "Format", "detect", "matches", "shape_of"]

Row = dict[str, Any]


@dataclass(frozen=True)
class Format:
    """One wire format of a row.

    `keys` are the top-level keys that make a row this format; `read` gives the canonical row;
    `places` turns a canonical field path into the source's (pairs of pattern and replacement).
    """

    name: str
    title: str
    shape: str
    keys: tuple[str, ...]
    read: Callable[[Row], Row]
    places: tuple[tuple[str, str], ...] = ()

    def field(self, canonical: str) -> str:
        """The path that a person finds in the file for a canonical path."""
        for pattern, replacement in self.places:
            told, count = re.subn(pattern, replacement, canonical, count=1)
            if count:
                return told
        return canonical


def shape_of(row: Mapping[str, Any]) -> str:
    """`chat`, `preference` or `text` for a canonical row."""
    if "messages" in row:
        return "chat"
    return "text" if "text" in row else "preference"


# --- readers ---------------------------------------------------------------------------------


def _same(row: Row) -> Row:
    return row


def _rest(row: Row, *used: str) -> Row:
    return {k: v for k, v in row.items() if k not in used}


def _read_completion(row: Row) -> Row:
    return {
        "messages": [
            {"role": "user", "content": row.get("prompt")},
            {"role": "assistant", "content": row.get("completion")},
        ],
        **_rest(row, "prompt", "completion"),
    }


def _read_instruction(row: Row) -> Row:
    user, given = row.get("instruction"), row.get("input")
    if given not in (None, ""):
        user = f"{user}\n\n{given}" if isinstance(user, str) and isinstance(given, str) else given
    messages: list[Any] = []
    if row.get("system") not in (None, ""):
        messages.append({"role": "system", "content": row["system"]})
    history = row.get("history") or []
    for turn in history if isinstance(history, list) else [history]:
        asked, answered = turn if isinstance(turn, list) and len(turn) == 2 else (turn, None)
        messages.append({"role": "user", "content": asked})
        messages.append({"role": "assistant", "content": answered})
    messages.append({"role": "user", "content": user})
    messages.append({"role": "assistant", "content": row.get("output")})
    return {
        "messages": messages,
        **_rest(row, "instruction", "input", "output", "system", "history"),
    }


_SHAREGPT_ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "system": "system",
    "tool": "tool",
    "observation": "tool",
    "function_response": "tool",
}


def _read_sharegpt(row: Row) -> Row:
    turns = row.get("conversations")
    messages: Any = turns
    if isinstance(turns, list):
        messages = []
        for turn in turns:
            if not isinstance(turn, dict):
                messages.append(turn)
                continue
            said = turn.get("from", turn.get("role"))
            role = _SHAREGPT_ROLES.get(said, said) if isinstance(said, str) else said
            content = turn.get("value", turn.get("content"))
            messages.append(
                {
                    "role": role,
                    "content": content,
                    **_rest(turn, "from", "value", "role", "content"),
                }
            )
        if isinstance(row.get("system"), str) and row["system"]:
            messages.insert(0, {"role": "system", "content": row["system"]})
    return {"messages": messages, **_rest(row, "conversations", "system")}


def _turns(value: Any, role: str) -> Any:
    """A prompt or an answer as a list of messages: a string is one message of `role`."""
    return [{"role": role, "content": value}] if isinstance(value, str) else value


def _read_chosen(row: Row) -> Row:
    chosen, rejected = row.get("chosen"), row.get("rejected")
    if "prompt" in row:
        asked = _turns(row["prompt"], "user")
    elif isinstance(chosen, list) and isinstance(rejected, list):
        # The prompt is what both conversations begin with.
        shared = 0
        while shared < min(len(chosen), len(rejected)) - 1 and chosen[shared] == rejected[shared]:
            shared += 1
        asked, chosen, rejected = chosen[:shared], chosen[shared:], rejected[shared:]
    else:
        asked = None
    inner: Row = {"messages": asked}
    for key in ("tools", "parallel_tool_calls"):
        if key in row:
            inner[key] = row[key]
    return {
        "input": inner,
        "preferred_output": _turns(chosen, "assistant"),
        "non_preferred_output": _turns(rejected, "assistant"),
        **_rest(row, "prompt", "chosen", "rejected", "tools", "parallel_tool_calls"),
    }


def _text_of_parts(parts: Any) -> Any:
    """`[{"text": …}]` as one string, or as text parts when there are several."""
    if not isinstance(parts, list):
        return parts
    if len(parts) == 1 and isinstance(parts[0], dict) and set(parts[0]) == {"text"}:
        return parts[0]["text"]
    return [
        {"type": "text", "text": p["text"]} if isinstance(p, dict) and set(p) == {"text"} else p
        for p in parts
    ]


def _read_converse(row: Row) -> Row:
    messages: Any = row.get("messages")
    if isinstance(messages, list):
        messages = [
            {**m, "content": _text_of_parts(m.get("content"))} if isinstance(m, dict) else m
            for m in messages
        ]
        if row.get("system"):
            messages = [
                {"role": "system", "content": _text_of_parts(row["system"])},
                *messages,
            ]
    return {"messages": messages, **_rest(row, "messages", "system", "schemaVersion")}


def _read_claude(row: Row) -> Row:
    messages = row.get("messages")
    if isinstance(messages, list) and row.get("system") is not None:
        messages = [{"role": "system", "content": row["system"]}, *messages]
    return {"messages": messages, **_rest(row, "messages", "system")}


def _read_gemini(row: Row) -> Row:
    contents: Any = row.get("contents")
    messages: Any = contents
    if isinstance(contents, list):
        messages = []
        system = row.get("systemInstruction")
        if system is not None:
            parts = system.get("parts") if isinstance(system, dict) else system
            messages.append({"role": "system", "content": _text_of_parts(parts)})
        for turn in contents:
            if not isinstance(turn, dict):
                messages.append(turn)
                continue
            role = turn.get("role")
            messages.append(
                {
                    "role": "assistant" if role == "model" else role,
                    "content": _text_of_parts(turn.get("parts")),
                    **_rest(turn, "role", "parts"),
                }
            )
    return {"messages": messages, **_rest(row, "contents", "systemInstruction")}


# --- the table -------------------------------------------------------------------------------

FORMATS: dict[str, Format] = {
    f.name: f
    for f in (
        Format("chat", "chat", "chat", ("messages",), _same),
        Format(
            "preference",
            "preference pairs",
            "preference",
            ("input", "preferred_output", "non_preferred_output"),
            _same,
        ),
        Format(
            "chosen",
            "prompt / chosen / rejected",
            "preference",
            ("chosen", "rejected"),
            _read_chosen,
            (
                (r"^input\.messages\[\d+\]\.content", "prompt"),
                (r"^input\.messages", "prompt"),
                (r"^input\.", ""),
                (r"^preferred_output", "chosen"),
                (r"^non_preferred_output", "rejected"),
            ),
        ),
        Format(
            "sharegpt",
            "ShareGPT",
            "chat",
            ("conversations",),
            _read_sharegpt,
            (
                (r"^messages(\[\d+\])\.content", r"conversations\1.value"),
                (r"^messages(\[\d+\])\.role", r"conversations\1.from"),
                (r"^messages", "conversations"),
            ),
        ),
        Format(
            "instruction",
            "instruction (Alpaca)",
            "chat",
            ("instruction", "output"),
            _read_instruction,
            (
                (r"^messages\[\d*[02468]\]\.content", "instruction"),
                (r"^messages\[\d*[13579]\]\.content", "output"),
            ),
        ),
        Format(
            "completion",
            "prompt / completion",
            "chat",
            ("prompt", "completion"),
            _read_completion,
            (
                (r"^messages\[0\](\.content)?", "prompt"),
                (r"^messages\[1\](\.content)?", "completion"),
            ),
        ),
        Format(
            "gemini",
            "Gemini contents",
            "chat",
            ("contents",),
            _read_gemini,
            (
                (r"^messages(\[\d+\])\.content", r"contents\1.parts"),
                (r"^messages", "contents"),
            ),
        ),
        Format("converse", "Bedrock Converse", "chat", ("messages",), _read_converse),
        Format("claude", "Bedrock Claude", "chat", ("messages",), _read_claude),
        Format("text", "plain text", "text", ("text",), _same),
    )
}
"""Every row format by name."""


_PREFERENCE_KEYS = frozenset(
    (
        "preferred_output",
        "non_preferred_output",
        "preferred_completion",
        "non_preferred_completion",
    )
)


def matches(row: Mapping[str, Any]) -> list[str]:
    """The formats whose keys this row has, most telling first (usually one)."""
    found: list[str] = []
    if "messages" in row:
        found.append(_kind_of_messages(row))
    if "contents" in row:
        found.append("gemini")
    if "conversations" in row:
        found.append("sharegpt")
    if not _PREFERENCE_KEYS.isdisjoint(row):
        found.append("preference")
    if "chosen" in row or "rejected" in row:
        found.append("chosen")
    if "instruction" in row:
        found.append("instruction")
    if "completion" in row:
        found.append("completion")
    if "text" in row and not found:
        found.append("text")
    return found


def detect(row: Mapping[str, Any]) -> str | None:
    """The format of a row, or None when its keys fit none."""
    found = matches(row)
    return found[0] if found else None


def _kind_of_messages(row: Mapping[str, Any]) -> str:
    if "schemaVersion" in row:
        return "converse"
    messages = row["messages"]
    if isinstance(row.get("system"), str):
        return "claude"
    if isinstance(messages, list):
        for message in messages:
            content = message.get("content") if isinstance(message, dict) else None
            if isinstance(content, list) and content:
                part = content[0]
                if isinstance(part, dict) and "text" in part and "type" not in part:
                    return "converse"
                return "chat"
    return "converse" if isinstance(row.get("system"), list) else "chat"
