"""Rules for a preference row, and for a row of plain text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ftsdk.dataset.findings.finding import Hit
from ftsdk.dataset.findings.registry import RULES, row_rule
from ftsdk.dataset.row import OUTPUTS, ROLES, has_text, kind_of

Row = dict[str, Any]
_AS_CHAT = (
    "FT106", "FT112", "FT113", "FT114", "FT115", "FT116", "FT117", "FT118", "FT119",
)  # fmt: skip
"""Rules for chat rows that apply to a pair as well: parts, tools and calls."""


def pair_hits(row: Row) -> Iterator[tuple[str, Hit]]:
    """Findings of the chat-row rules in a pair, each answer taken as the end of its prompt."""
    found = row.get("input")
    prompt = found if isinstance(found, dict) else {}
    messages = prompt.get("messages")
    asked = messages if isinstance(messages, list) else []
    seen: set[tuple[str, str, str]] = set()
    for name in OUTPUTS:
        output = row.get(name)
        chat = {**prompt, "messages": [*asked, *(output if isinstance(output, list) else [])]}
        for code in _AS_CHAT:
            check = RULES[code].check
            for hit in check(chat) if check is not None else ():
                placed = hit._replace(field=_place(hit.field, len(asked), name))
                key = (code, placed.field, placed.message)
                if key not in seen:  # the prompt is checked twice
                    seen.add(key)
                    yield code, placed


def _place(field: str, asked: int, output: str) -> str:
    """A path of the chat row as one of the pair."""
    match = re.match(r"messages\[(\d+)\]", field)
    if match is None:
        return f"input.{field}"
    number, inside = int(match[1]), field[match.end() :]
    if number < asked:
        return f"input.messages[{number}]{inside}"
    return f"{output}[{number - asked}]{inside}"


@row_rule(
    "FT126",
    "fault",
    'write {"input": {"messages": […]}, "preferred_output": [one '
    'assistant message], "non_preferred_output": [one]}',
    shape="preference",
)
def preference_is_whole(row: Row) -> Iterator[Hit]:
    """A preference row without its prompt, or without exactly one answer on each side.

    The keys are `preferred_output` and `non_preferred_output`: an older schema of OpenAI's named
    them `preferred_completion` and `non_preferred_completion`, which no provider takes.
    """
    prompt = row.get("input")
    messages = prompt.get("messages") if isinstance(prompt, dict) else None
    if not isinstance(prompt, dict):
        yield Hit(
            "input",
            "the input is missing"
            if prompt is None
            else f"the input is {kind_of(prompt)}, not an object",
        )
    elif not isinstance(messages, list) or not messages:
        yield Hit("input.messages", "the prompt has no messages")
    for name, side in zip(OUTPUTS, ("preferred", "other"), strict=True):
        output = row.get(name)
        old = name.replace("output", "completion")
        if output is None:
            hint = f" (the row has the old name {old!r})" if old in row else ""
            yield Hit(name, f"the {side} answer is missing{hint}")
        elif not isinstance(output, list):
            yield Hit(
                name, f"the {side} answer is {kind_of(output)}, not a list of messages", output
            )
        elif len(output) != 1:
            yield Hit(name, f"the {side} answer has {len(output)} messages, not one")


@row_rule(
    "FT127",
    "fault",
    'write each message as {"role": …, "content": …}',
    shape="preference",
)
def preference_messages_are_sound(row: Row) -> Iterator[Hit]:
    """A malformed message in a preference row: not an object, a wrong role, or no content."""
    prompt = row.get("input")
    groups = [("input.messages", prompt.get("messages") if isinstance(prompt, dict) else None)]
    groups += [(name, row.get(name)) for name in OUTPUTS]
    for place, messages in groups:
        for i, message in enumerate(messages if isinstance(messages, list) else []):
            here = f"{place}[{i}]"
            if not isinstance(message, dict):
                yield Hit(here, f"a message is {kind_of(message)}, not an object", message)
                continue
            role = message.get("role")
            if role not in ROLES and role != "function":  # the old form of tool (FT132)
                yield Hit(
                    f"{here}.role",
                    "the role is missing" if role is None else f"unknown role {role!r}",
                    role,
                )
            elif place in OUTPUTS and role not in ("assistant", "tool"):
                yield Hit(
                    f"{here}.role",
                    f"an answer comes from the {role}, not the assistant",
                    role,
                )
            if not has_text(message.get("content")) and not message.get("tool_calls"):
                yield Hit(f"{here}.content", "the content is empty")


@row_rule(
    "FT128",
    "fault",
    "write two different answers, or remove the row",
    shape="preference",
)
def answers_differ(row: Row) -> Iterator[Hit]:
    """Both answers are the same."""
    if row.get(OUTPUTS[0]) is not None and row.get(OUTPUTS[0]) == row.get(OUTPUTS[1]):
        yield Hit(OUTPUTS[1], "the preferred and the other answer are the same")


@row_rule("FT129", "fault", "write the text, or remove the row", shape="text")
def text_is_there(row: Row) -> Iterator[Hit]:
    """A row of plain text whose text is empty or not a string."""
    text = row.get("text")
    if not isinstance(text, str):
        yield Hit("text", f"the text is {kind_of(text)}, not a string", text)
    elif not has_text(text):
        yield Hit("text", "the text is empty")
