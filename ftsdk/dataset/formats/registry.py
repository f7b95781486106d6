"""Row formats: recognise one, read it into the canonical row, write it back.

The canonical row is one of four shapes:

* **chat**: `{"messages": [{"role", "content", …}], "tools"?, "parallel_tool_calls"?, …}`; each
  message as OpenAI's chat format has it, with `weight`, `tool_calls` (`arguments` is a JSON
  string), `tool_call_id`, `name` and `reasoning_content` where they apply;
* **preference**: `{"input": {"messages", "tools"?, …}, "preferred_output": [message …],
  "non_preferred_output": [message …]}`;
* **text**: `{"text": str}`;
* **tokens**: `{"input_ids": [id …], "attention_mask": [0 or 1 …], "labels"?: [id or -100 …]}`.

Reading never checks: what is malformed stays malformed, in the place where the rules find it and
with a field name of the source format (`Format.field`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

import orjson

from ftsdk.dataset.findings.finding import Hit
from ftsdk.dataset.formats.bedrock_converse import BLOCKS as CONVERSE_BLOCKS
from ftsdk.dataset.formats.bedrock_converse import converse_turns, own_converse, read_converse
from ftsdk.dataset.formats.claude import BLOCKS as CLAUDE_BLOCKS
from ftsdk.dataset.formats.claude import claude_turns, own_claude, read_claude
from ftsdk.dataset.formats.gemini import gemini_turns, own_gemini, read_gemini
from ftsdk.dataset.formats.shared import Row, Turn, messages_from, rest

Own = Callable[[Row], Iterator[tuple[str, Hit]]]


@dataclass(frozen=True)
class Format:
    """One format of a row.

    `keys` are the top-level keys that make a row this format; `read` gives the canonical row.
    A canonical field path becomes the source's by `turns`, which gives the position of each message, by
    `place`, which is given the source row, or by `places` (pairs of pattern and replacement). `own`
    gives codes and hits of what is wrong in this format alone, where the canonical row no longer
    shows it.
    """

    name: str
    title: str
    shape: str
    keys: tuple[str, ...]
    read: Callable[[Row], Row]
    places: tuple[tuple[str, str], ...] = ()
    turns: Callable[[Row], Iterator[Turn]] | None = None
    own: Own | None = None
    place: Callable[[Row, str], str] | None = None

    def field(self, canonical: str, raw: bytes | None = None) -> str:
        """The path that a person finds in the file for a canonical path of the record `raw`."""
        if self.turns is not None and raw is not None and canonical.startswith("messages["):
            return _source_place(self.turns(orjson.loads(raw)), canonical)
        if self.place is not None and raw is not None:
            return self.place(orjson.loads(raw), canonical)
        for pattern, replacement in self.places:
            changed, count = re.subn(pattern, replacement, canonical, count=1)
            if count:
                return changed
        return canonical


def _source_place(turns: Iterator[Turn], canonical: str) -> str:
    number, _, inside = canonical.removeprefix("messages[").partition("]")
    turn = next((t for i, t in enumerate(turns) if i == int(number)), None)
    if turn is None:
        return canonical
    if inside.startswith(".content"):
        return turn.place + turn.content + inside.removeprefix(".content")
    if inside == ".role":
        return turn.place + turn.role
    among_content = (".tool_call", ".reasoning_content")
    if turn.content != ".content" and inside.startswith(among_content):
        return turn.place + turn.content
    return turn.place + inside


# --- readers ---------------------------------------------------------------------------------


def _same(row: Row) -> Row:
    return row


def _completion_turns(row: Row) -> Iterator[Turn]:
    """Two texts, or two lists of messages; answers in the prompt are not trained."""
    for key, role in (("prompt", "user"), ("completion", "assistant")):
        said = row.get(key)
        if not _are_messages(said):
            yield Turn(key, {"role": role, "content": said}, "", "")
            continue
        for i, message in enumerate(said):
            given = key == "prompt" and message["role"] == "assistant"
            yield Turn(f"{key}[{i}]", {"weight": 0, **message} if given else message)


def _are_messages(value: Any) -> TypeGuard[list[dict[str, Any]]]:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(one, dict) and "role" in one for one in value)
    )


def _read_completion(row: Row) -> Row:
    return {"messages": messages_from(_completion_turns(row)), **rest(row, "prompt", "completion")}


def _instruction_turns(row: Row) -> Iterator[Turn]:
    user, given = row.get("instruction"), row.get("input")
    if isinstance(user, str) and given not in (None, ""):
        user = f"{user}\n\n{given}" if user and isinstance(given, str) else given
    if row.get("system") not in (None, ""):
        yield Turn("system", {"role": "system", "content": row["system"]}, "", "")
    history = row.get("history") or []
    for i, turn in enumerate(history if isinstance(history, list) else [history]):
        asked, answered = turn if isinstance(turn, list) and len(turn) == 2 else (turn, None)
        yield Turn(f"history[{i}][0]", {"role": "user", "content": asked}, "", "")
        yield Turn(f"history[{i}][1]", {"role": "assistant", "content": answered}, "", "")
    yield Turn("instruction", {"role": "user", "content": user}, "", "")
    yield Turn("output", {"role": "assistant", "content": row.get("output")}, "", "")


def _read_instruction(row: Row) -> Row:
    used = ("instruction", "input", "output", "system", "history")
    return {"messages": messages_from(_instruction_turns(row)), **rest(row, *used)}


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


def _sharegpt_turns(row: Row) -> Iterator[Turn]:
    if isinstance(row.get("system"), str) and row["system"]:
        yield Turn("system", {"role": "system", "content": row["system"]}, "", "")
    turns = row.get("conversations")
    for i, turn in enumerate(turns if isinstance(turns, list) else []):
        if not isinstance(turn, dict):
            yield Turn(f"conversations[{i}]", turn)
            continue
        if not {"from", "role"} - turn.keys() or not {"value", "content"} - turn.keys():
            yield Turn(f"conversations[{i}]", turn)  # given twice; which one counts is not known
            continue
        said = turn.get("from", turn.get("role"))
        role = _SHAREGPT_ROLES.get(said, said) if isinstance(said, str) else said
        content = turn.get("value", turn.get("content"))
        message = {
            "role": role,
            "content": content,
            **rest(turn, "from", "value", "role", "content"),
        }
        yield Turn(f"conversations[{i}]", message, ".value", ".from")


def _read_sharegpt(row: Row) -> Row:
    turns = row.get("conversations")
    messages = messages_from(_sharegpt_turns(row)) if isinstance(turns, list) else turns
    return {"messages": messages, **rest(row, "conversations", "system")}


def _turns(value: Any, role: str) -> Any:
    """A prompt or an answer as a list of messages: a string is one message of `role`."""
    return [{"role": role, "content": value}] if isinstance(value, str) else value


def _read_chosen(row: Row) -> Row:
    chosen, rejected = row.get("chosen"), row.get("rejected")
    if _has_own_prompt(row):
        asked = _turns(row["prompt"], "user")
    elif isinstance(chosen, list) and isinstance(rejected, list):
        shared = _shared(chosen, rejected)
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
        **rest(row, "prompt", "chosen", "rejected", "tools", "parallel_tool_calls"),
    }


def _shared(chosen: Any, rejected: Any) -> int:
    """The number of equal messages at the start of two conversations: the prompt, when it is not separate."""
    if not isinstance(chosen, list) or not isinstance(rejected, list):
        return 0
    count = 0
    while count < min(len(chosen), len(rejected)) - 1 and chosen[count] == rejected[count]:
        count += 1
    return count


def _has_own_prompt(row: Row) -> bool:
    """Whether the prompt is separate from both conversations, not a repetition of their first message."""
    if not isinstance(row.get("prompt"), str):
        return "prompt" in row
    shared = _shared(row.get("chosen"), row.get("rejected"))
    return not shared or row["chosen"][shared - 1] != {"role": "user", "content": row["prompt"]}


def _chosen_place(row: Row, canonical: str) -> str:
    """The path in a row of prompt, chosen and rejected for a canonical path."""
    has_prompt = _has_own_prompt(row)
    if canonical.startswith("input.messages"):
        key = "prompt" if has_prompt else "chosen"
        inside = canonical.removeprefix("input.messages")
        return key if isinstance(row.get(key), str) else key + inside
    for output, key in (("preferred_output", "chosen"), ("non_preferred_output", "rejected")):
        if not canonical.startswith(output):
            continue
        if isinstance(row.get(key), str):
            return key
        shift = 0 if has_prompt else _shared(row.get("chosen"), row.get("rejected"))
        number, bracket, inside = canonical.removeprefix(f"{output}[").partition("]")
        return f"{key}[{int(number) + shift}]{inside}" if bracket else key
    return canonical.removeprefix("input.")


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
            place=_chosen_place,
        ),
        Format(
            "sharegpt",
            "ShareGPT",
            "chat",
            ("conversations",),
            _read_sharegpt,
            ((r"^messages", "conversations"),),
            _sharegpt_turns,
        ),
        Format(
            "instruction",
            "instruction (Alpaca)",
            "chat",
            ("instruction", "output"),
            _read_instruction,
            turns=_instruction_turns,
        ),
        Format(
            "completion",
            "prompt / completion",
            "chat",
            ("prompt", "completion"),
            _read_completion,
            turns=_completion_turns,
        ),
        Format(
            "gemini",
            "Gemini contents",
            "chat",
            ("contents",),
            read_gemini,
            ((r"^messages", "contents"),),
            gemini_turns,
            own_gemini,
        ),
        Format(
            "converse",
            "Bedrock Converse",
            "chat",
            ("messages",),
            read_converse,
            turns=converse_turns,
            own=own_converse,
        ),
        Format(
            "claude",
            "Bedrock Claude",
            "chat",
            ("messages",),
            read_claude,
            turns=claude_turns,
            own=own_claude,
        ),
        Format("text", "plain text", "text", ("text",), _same),
        Format("tokenized", "tokenized rows", "tokens", ("input_ids",), _same),
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
    """The formats whose keys this row has, most specific first (usually one)."""
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
    if "input_ids" in row:
        found.append("tokenized")
    return found


def detect(row: Mapping[str, Any]) -> str | None:
    """The format of a row, or None when its keys fit none."""
    found = matches(row)
    return found[0] if found else None


def _kind_of_messages(row: Mapping[str, Any]) -> str:
    """Chat, Converse or Claude: by the blocks of the contents and the other keys of the row."""
    if "schemaVersion" in row or "toolConfig" in row:
        return "converse"
    if isinstance(row.get("system"), str):
        return "claude"
    messages, tools = row["messages"], row.get("tools")
    for message in messages if isinstance(messages, list) else ():
        content = message.get("content") if isinstance(message, dict) else None
        for part in content if isinstance(content, list) else ():
            if isinstance(part, dict):
                if part.get("type") in CLAUDE_BLOCKS:
                    return "claude"
                if "type" not in part and not CONVERSE_BLOCKS.isdisjoint(part):
                    return "converse"
    if isinstance(tools, list) and any(isinstance(t, dict) and "input_schema" in t for t in tools):
        return "claude"
    return "converse" if isinstance(row.get("system"), list) else "chat"
