"""Rows of one question and one answer: prompt and completion, instruction (Alpaca, Dolly)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeGuard

from ftsdk.dataset.formats.learned import OTHER_REASONING
from ftsdk.dataset.formats.shared import Row, Said, Turn, messages_from, rest, unsaid
from ftsdk.dataset.formats.tool_turns import as_tools, needs_tools_read, tool_turns
from ftsdk.dataset.row import REASONING_KEYS

_REASONING = (*REASONING_KEYS, *sorted(OTHER_REASONING))


def are_messages(value: Any) -> TypeGuard[list[Row]]:
    """Whether a value is a list of messages with roles."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(one, dict) and "role" in one for one in value)
    )


def system_turns(row: Row, following: Any) -> Iterator[Turn]:
    """The system text beside a prompt as its first message, unless the prompt has one."""
    has_own = are_messages(following) and following[0].get("role") in ("system", "developer")
    if isinstance(row.get("system"), str) and row["system"] and not has_own:
        yield Turn("system", {"role": "system", "content": row["system"]}, "", "")


def _reasoning_of(row: Row) -> str | None:
    """The key of the one reasoning text beside an answer."""
    found = [key for key in _REASONING if isinstance(row.get(key), str) and row[key]]
    return found[0] if len(found) == 1 else None


def _answer(row: Row, key: str) -> Turn:
    message: Row = {"role": "assistant", "content": row.get(key)}
    reasoning = _reasoning_of(row)
    if reasoning is not None:
        message["reasoning_content"] = row[reasoning]
    return Turn(key, message, "", "")


def completion_turns(row: Row, said: Said = unsaid) -> Iterator[Turn]:
    """Two texts, or two lists of messages; answers in the prompt are not trained."""
    turns = list(system_turns(row, row.get("prompt")))
    for key, role in (("prompt", "user"), ("completion", "assistant")):
        given = row.get(key)
        if not are_messages(given):
            plain = Turn(key, {"role": role, "content": given}, "", "")
            turns.append(plain if role == "user" else _answer(row, key))
            continue
        for i, message in enumerate(given):
            asked = key == "prompt" and message["role"] == "assistant"
            turns.append(Turn(f"{key}[{i}]", {"weight": 0, **message} if asked else message))
    if needs_tools_read([turn.message for turn in turns]):
        turns = tool_turns(turns, as_tools(row.get("tools")), said)
    return iter(turns)


def read_completion(row: Row, said: Said = unsaid) -> Row:
    """A row of prompt and completion as a chat row."""
    used = _used(row, ("prompt", "completion"), are_messages(row.get("completion")), said)
    read = {"messages": messages_from(completion_turns(row, said)), **rest(row, *used)}
    return _with_tools(read, said)


def _used(row: Row, keys: tuple[str, ...], has_messages: bool, said: Said) -> tuple[str, ...]:
    """The keys that the messages of a row have taken: its texts, its system text, its reasoning."""
    taken = [*keys]
    if any(True for _ in system_turns(row, row.get("prompt"))) or row.get("system") in (None, ""):
        taken.append("system")
    reasoning = None if has_messages else _reasoning_of(row)
    if reasoning is not None:
        said(f"{reasoning} is read as the reasoning of the answer")
        taken.append(reasoning)
    return tuple(taken)


def _with_tools(row: Row, said: Said) -> Row:
    tools = as_tools(row.get("tools"), said)
    return row if tools is row.get("tools") else {**row, "tools": tools}


def instruction_turns(row: Row, said: Said = unsaid) -> Iterator[Turn]:
    """An instruction with its input, earlier turns, system text and answer."""
    if row.get("system") not in (None, ""):
        yield Turn("system", {"role": "system", "content": row["system"]}, "", "")
    yield from asked_turns(row, said)
    yield _answer(row, "output")


_NO_INPUT = frozenset(("noinput", "<noinput>", "nan"))
"""What datasets write for an input that is not there."""


def asked_turns(row: Row, said: Said = unsaid) -> Iterator[Turn]:
    """The earlier turns and the question of an instruction row."""
    user, given = row.get("instruction"), row.get("input")
    if isinstance(given, str) and given.strip().lower() in _NO_INPUT:
        said(f"the input {given.strip()!r} is read as none")
        given = None
    if isinstance(user, str) and given not in (None, ""):
        user = f"{user}\n\n{given}" if user and isinstance(given, str) else given
    history = row.get("history") or []
    for i, turn in enumerate(history if isinstance(history, list) else [history]):
        asked, answered = turn if isinstance(turn, list) and len(turn) == 2 else (turn, None)
        yield Turn(f"history[{i}][0]", {"role": "user", "content": asked}, "", "")
        yield Turn(f"history[{i}][1]", {"role": "assistant", "content": answered}, "", "")
    yield Turn("instruction", {"role": "user", "content": user}, "", "")


def read_instruction(row: Row, said: Said = unsaid) -> Row:
    """An instruction row as a chat row."""
    used = _used(row, ("instruction", "input", "output", "system", "history"), False, said)
    return _with_tools(
        {"messages": messages_from(instruction_turns(row, said)), **rest(row, *used)}, said
    )
