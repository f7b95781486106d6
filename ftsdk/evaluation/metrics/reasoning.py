"""Reasoning that a model writes before its answer: found by the tags of the chat templates."""

from __future__ import annotations

import re
from collections.abc import Sequence

PAIRS: tuple[tuple[str, str], ...] = (
    ("<think>", "</think>"),  # DeepSeek R1, Qwen3, SmolLM3 and most others
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),  # Seed-OSS
    ("[THINK]", "[/THINK]"),  # Magistral
    ("◁think▷", "◁/think▷"),  # Kimi
    ("<|START_THINKING|>", "<|END_THINKING|>"),  # Command A
    ("<|channel|>analysis<|message|>", "<|end|>"),  # gpt-oss
)
_WRAPPERS = re.compile(
    r"\A\s*(?:<\|start\|>assistant)?<\|channel\|>final<\|message\|>|\A\s*<\|START_RESPONSE\|>"
)
_ENDS = re.compile(r"(?:<\|END_RESPONSE\|>|<\|return\|>)\s*\Z")


def pairs_of(template: str) -> tuple[tuple[str, str], ...]:
    """Return the tags that a chat template names; all that are known where it names none."""
    found = tuple(pair for pair in PAIRS if pair[1] in template)
    return found or PAIRS


def without_reasoning(
    text: str, pairs: Sequence[tuple[str, str]] = PAIRS, *, may_be_unopened: bool = True
) -> str:
    """Return the answer after the reasoning; the text as it is where it does not begin with any.

    Some templates open the reasoning themselves, so that only its end is in the answer; without
    `may_be_unopened` that is part of the text. Reasoning that never ends leaves an empty text.
    """
    while (rest := _after_one(text, pairs, may_be_unopened)) is not None:
        text = rest
    return _ENDS.sub("", _WRAPPERS.sub("", text))


def has_tags(text: str) -> bool:
    """Return whether a text has the end of reasoning somewhere."""
    return any(end in text for _, end in PAIRS)


def _after_one(text: str, pairs: Sequence[tuple[str, str]], may_be_unopened: bool) -> str | None:
    """The text after one piece of reasoning; None where it does not begin with any."""
    for start, end in pairs:
        begins, closes = text.lstrip().startswith(start), text.find(end)
        if begins and closes < 0:
            return ""
        unopened = may_be_unopened and _is_alone(end) and start not in text[:closes]
        if closes >= 0 and (begins or unopened):
            return text[closes + len(end) :].lstrip()
    return None


def _is_alone(end: str) -> bool:
    """Whether the tag can only be the end of reasoning, so that its start may be missing."""
    return end != "<|end|>"
