"""Pairs of answers as people write them: a prompt with a chosen and a rejected one.

The prompt is a column of its own, the common start of two conversations, or both; answers are
texts, messages, or turns of ShareGPT. A prompt that is repeated is read once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from ftsdk.dataset.formats.chat_rows import sharegpt_message
from ftsdk.dataset.formats.learned import honour_turns
from ftsdk.dataset.formats.questions import asked_turns, system_turns
from ftsdk.dataset.formats.shared import (
    Row,
    Said,
    Turn,
    Unreadable,
    messages_from,
    rest,
    source_place,
    unsaid,
)
from ftsdk.dataset.formats.tool_turns import as_tools, needs_tools_read, tool_turns

_USED = (
    "prompt", "chosen", "rejected", "messages", "conversations", "tools", "parallel_tool_calls",
)  # fmt: skip
_HH = re.compile(r"(?:^|\n\n)(Human|Assistant): ?")
_HH_ROLES = {"Human": "user", "Assistant": "assistant"}
_MIN_REPEATED = 20
"""A shorter prompt at the head of both answers may be chance, and is left there."""


_Turns = list[Turn] | None


class Pair(NamedTuple):
    """The turns of a pair. A list that is None is not there, or no messages: its value is `raw`."""

    asked: list[Turn] | None
    chosen: list[Turn] | None
    rejected: list[Turn] | None
    tools: Any


def read_pair(row: Row, said: Said = unsaid) -> Row:
    """A row of prompt, chosen and rejected as a canonical pair."""
    pair = _pair(row, said)
    asked = row.get("prompt") if pair.asked is None else messages_from(pair.asked)
    inner: Row = {"messages": asked}
    if "tools" in row or pair.tools is not None:
        inner["tools"] = pair.tools
    if "parallel_tool_calls" in row:
        inner["parallel_tool_calls"] = row["parallel_tool_calls"]
    chosen = row.get("chosen") if pair.chosen is None else messages_from(pair.chosen)
    rejected = row.get("rejected") if pair.rejected is None else messages_from(pair.rejected)
    return {
        "input": inner,
        "preferred_output": chosen,
        "non_preferred_output": rejected,
        **rest(row, *_used(row)),
    }


def _used(row: Row) -> Iterator[str]:
    """The keys of a row that its pair is read from."""
    yield from _USED
    if isinstance(row.get("system"), str | None):
        yield "system"
    if "chosen" not in row:
        yield _rejected_key(row)
    elif not {"prompt", *_TURN_LISTS} & row.keys() and "instruction" in row:
        yield from ("instruction", "input", "history")


_TURN_LISTS = ("messages", "conversations")


def read_preference(row: Row, said: Said = unsaid) -> Row:
    """A pair in canonical form already, with its calls and learned keys as they are written."""
    prompt = row.get("input")
    inner = prompt if isinstance(prompt, dict) else {}
    lists = (inner.get("messages"), row.get("preferred_output"), row.get("non_preferred_output"))
    asked, chosen, rejected = (_turns(v, "", "") if isinstance(v, list) else None for v in lists)
    pair = _with_calls(Pair(asked, chosen, rejected, as_tools(inner.get("tools"), said)), said)
    read = dict(row)
    changed = {**inner}
    if pair.asked is not None:
        changed["messages"] = messages_from(pair.asked)
    if "tools" in inner:
        changed["tools"] = pair.tools
    if isinstance(prompt, dict):
        read["input"] = changed
    for name, side in (("preferred_output", pair.chosen), ("non_preferred_output", pair.rejected)):
        if side is not None:
            read[name] = messages_from(side)
    return read


def pair_place(row: Row, canonical: str) -> str:
    """The path in a row of prompt, chosen and rejected for a canonical path."""
    pair = _pair(row, unsaid)
    for name, turns, key in (
        ("input.messages", pair.asked, "prompt" if "prompt" in row else "chosen"),
        ("preferred_output", pair.chosen, "chosen" if "chosen" in row else "messages"),
        ("non_preferred_output", pair.rejected, _rejected_key(row)),
    ):
        if canonical.startswith(f"{name}[") and turns is not None:
            return source_place(iter(turns), canonical, name)
        if canonical.startswith(name):
            return key + canonical.removeprefix(name)
    return canonical.removeprefix("input.")


def _rejected_key(row: Row) -> str:
    keys = ("rejected", "rejected_response", "rejected_messages")
    return next((key for key in keys if key in row), "rejected")


def _pair(row: Row, said: Said) -> Pair:
    if "chosen" not in row and _rejected_key(row) != "rejected":
        asked, chosen, rejected = _of_swift(row, said)
    else:
        asked, chosen, rejected = _of_columns(row, said)
        _refuse_other_messages(row, asked, chosen)
    asked = _with_system(row, asked)
    tools = as_tools(_tools(row, said), said)
    return _with_calls(Pair(asked, chosen, rejected, tools), said)


def _refuse_other_messages(row: Row, asked: _Turns, chosen: _Turns) -> None:
    """Raise when messages beside a pair with a prompt are neither of the two."""
    for key in ("messages", "conversations"):
        given = _turns(row.get(key), key, "user")
        if given is None or ((key == "messages" or "messages" not in row) and "prompt" not in row):
            continue
        before = messages_from(asked or [])
        if messages_from(given) not in (before, before + messages_from(chosen or [])):
            raise Unreadable(key, f"the {key} are neither the prompt nor the chosen conversation",
                             f"leave one out: --drop {key}")  # fmt: skip


def _with_calls(pair: Pair, said: Said) -> Pair:
    """The pair with its tool calls in canonical form; each answer continues the prompt."""
    asked, sides = pair.asked or [], (pair.chosen or [], pair.rejected or [])
    asked = honour_turns(asked, said)
    found = [honour_turns(side, said) for side in sides]
    if needs_tools_read([t.message for turns in (asked, *found) for t in turns]):
        whole = [tool_turns([*asked, *side], pair.tools, said, has_tags=True) for side in found]
        length = len(tool_turns(asked, pair.tools, unsaid, has_tags=True))
        asked, found = whole[0][:length], [side[length:] for side in whole]
    return Pair(
        None if pair.asked is None else asked,
        None if pair.chosen is None else found[0],
        None if pair.rejected is None else found[1],
        pair.tools,
    )


def _of_swift(row: Row, said: Said) -> tuple[_Turns, _Turns, _Turns]:
    """Messages that end with the chosen answer, and the rejected one beside them."""
    key = _rejected_key(row)
    said(f"{key} is read as the rejected answer, the last message as the chosen one")
    turns = _turns(row.get("messages"), "messages", "assistant") or []
    if not turns or _role_of(turns[-1]) != "assistant":
        raise Unreadable("messages", "the messages do not end with the chosen answer",
                         f"end them with an answer, or leave the other out: --drop {key}")  # fmt: skip
    rejected = _turns(row[key], key, "assistant")
    if rejected is not None and len(rejected) > 1:
        rejected = rejected[_shared(turns, rejected) :]
    return turns[:-1], turns[-1:], rejected


def _of_columns(row: Row, said: Said) -> tuple[_Turns, _Turns, _Turns]:
    chosen = _turns(row.get("chosen"), "chosen", "assistant", said)
    rejected = _turns(row.get("rejected"), "rejected", "assistant", said)
    asked = _asked(row, said)
    if chosen is None or rejected is None:
        return asked, chosen, rejected
    if asked is not None:
        return _without_repetition(row, asked, chosen, rejected, said)
    if not _are_conversations(row):
        return asked, chosen, rejected
    shared = _shared(chosen, rejected)
    return chosen[:shared], chosen[shared:], rejected[shared:]


def _asked(row: Row, said: Said) -> _Turns:
    """The prompt from the one column that has it; None when there is none."""
    if "prompt" in row:
        return _turns(row["prompt"], "prompt", "user", said)
    for key in ("messages", "conversations"):
        if isinstance(row.get(key), list):
            return _turns(row[key], key, "user")
    if "instruction" in row:
        return list(asked_turns(row))
    return None


def _without_repetition(
    row: Row, asked: list[Turn], chosen: list[Turn], rejected: list[Turn], said: Said
) -> tuple[_Turns, _Turns, _Turns]:
    """The turns without the prompt where both answers repeat it, and without a repeated answer."""
    shared = _shared(chosen, rejected)
    common = [turn.message for turn in chosen[:shared]]
    own = [turn.message for turn in asked]
    is_last = len(own) == 1 and isinstance(row.get("prompt"), str) and common[-1:] == own
    is_whole = own == [turn.message for turn in chosen] and "prompt" not in row
    if common and (common[: len(own)] == own or is_last or is_whole):
        return chosen[:shared], chosen[shared:], rejected[shared:]
    if "prompt" not in row and own and _role_of(asked[-1]) == "assistant":
        _refuse_answered(asked[-1], chosen)
        return asked[:-1], chosen, rejected
    return asked, *_without_text(asked, chosen, rejected, said)


def _refuse_answered(last: Turn, chosen: list[Turn]) -> None:
    """Raise when messages beside a pair end with an answer that is not the chosen one."""
    if len(chosen) != 1 or _content_of(last) != _content_of(chosen[0]):
        raise Unreadable(last.place, "the messages end with an answer that is not the chosen one",
                         "let them end with the question")  # fmt: skip


def _without_text(
    asked: list[Turn], chosen: list[Turn], rejected: list[Turn], said: Said
) -> tuple[list[Turn], list[Turn]]:
    """Both answers without the text of the prompt at their heads, where both start with it."""
    prompt = _content_of(asked[0]) if len(asked) == 1 else None
    texts = [_content_of(turns[0]) for turns in (chosen, rejected) if len(turns) == 1]
    if not isinstance(prompt, str) or len(prompt) < _MIN_REPEATED or len(texts) != 2:
        return chosen, rejected
    if not all(
        isinstance(text, str) and text.startswith(prompt) and text != prompt for text in texts
    ):
        return chosen, rejected
    said("the prompt is repeated at the head of both answers, and is left out there")
    return _shortened(chosen, len(prompt)), _shortened(rejected, len(prompt))


def _shortened(turns: list[Turn], count: int) -> list[Turn]:
    message = turns[0].message
    return [turns[0]._replace(message={**message, "content": message["content"][count:].lstrip()})]


def _role_of(turn: Turn) -> Any:
    return turn.message.get("role") if isinstance(turn.message, dict) else None


def _content_of(turn: Turn) -> Any:
    return turn.message.get("content") if isinstance(turn.message, dict) else None


def _shared(chosen: list[Turn], rejected: list[Turn]) -> int:
    """The number of equal messages at the start of two conversations; an answer is left to each."""
    count = 0
    while (
        count < min(len(chosen), len(rejected)) - 1
        and chosen[count].message == rejected[count].message
    ):
        count += 1
    return count


def _are_conversations(row: Row) -> bool:
    """Whether both answers are conversations, so that they have a prompt within."""
    return all(not isinstance(row.get(k), str) or _is_hh(row[k]) for k in ("chosen", "rejected"))


# --- turns -----------------------------------------------------------------------------------


def _turns(value: Any, key: str, role: str, said: Said = unsaid) -> _Turns:
    """A prompt or an answer as turns: of messages, of one, of a text; None for anything else."""
    if isinstance(value, dict) and isinstance(value.get("messages"), list):
        value, key = value["messages"], f"{key}.messages"
    if isinstance(value, dict) and ({"role", "from"} & value.keys()):
        return [_turn(value, key)]
    if isinstance(value, list):
        return [_turn(one, f"{key}[{i}]") for i, one in enumerate(value)]
    if not isinstance(value, str):
        return None
    found = list(_hh_turns(value, key))
    if not found:
        return [Turn(key, {"role": role, "content": value}, "", "")]
    said("texts of Human: and Assistant: are read as messages")
    return found


def _turn(value: Any, place: str) -> Turn:
    if isinstance(value, dict) and "from" in value and "role" not in value:
        return Turn(place, sharegpt_message(value), ".value", ".from")
    return Turn(place, value)


def _is_hh(text: str) -> bool:
    return re.match(r"\s*Human:", text) is not None and "\n\nAssistant:" in text


def _hh_turns(text: str, key: str) -> Iterator[Turn]:
    """The turns of a text in the form of HH-RLHF; none when it is another text."""
    if not _is_hh(text):
        return
    body = "\n\n" + text.lstrip()
    marks = list(_HH.finditer(body))
    for mark, following in zip(marks, [*marks[1:], None], strict=True):
        end = len(body) if following is None else following.start()
        content = body[mark.end() : end].strip()
        if content or following is not None:  # the last one is empty where the answer begins
            yield Turn(key, {"role": _HH_ROLES[mark[1]], "content": content}, "", "")


def _with_system(row: Row, asked: _Turns) -> _Turns:
    """The prompt with the system text beside it at its head. Raises `Unreadable` when it has another."""
    text = row.get("system")
    if not isinstance(text, str) or not text:
        return asked
    first = asked[0].message if asked else None
    if not isinstance(first, dict) or first.get("role") not in ("system", "developer"):
        return [*system_turns(row, None), *(asked or [])]
    if first.get("content") != text:
        raise Unreadable("system", "the prompt has another system text", "keep one: --drop system")
    return asked


def _tools(row: Row, said: Said) -> Any:
    """The tools beside a pair, or within both of its answers. Raises `Unreadable` when those differ."""
    if row.get("tools"):
        return row["tools"]
    found = [row[k].get("tools") for k in ("chosen", "rejected")
             if isinstance(row.get(k), dict) and "messages" in row[k]]  # fmt: skip
    if not any(found):
        return row.get("tools")
    if any(one != found[0] for one in found if one):
        raise Unreadable("chosen.tools", "the chosen answer has other tools than the rejected one")
    said("the tools within chosen are read as those of the prompt")
    return found[0]
