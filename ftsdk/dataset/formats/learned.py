"""Keys of a message that say whether it is learned, and reasoning under its several names."""

from __future__ import annotations

from typing import Any

from ftsdk.dataset.formats.shared import Said, Turn, unsaid
from ftsdk.dataset.formats.value_parts import with_values
from ftsdk.dataset.row import REASONING_KEYS, Row

LEARNED_KEYS = frozenset(("train", "training", "trainable", "loss", "loss_mask", "loss_weight"))
"""Keys of a message that are true where it is learned."""
MASKED_KEYS = frozenset(("masked", "mask"))
"""Keys of a message that are true where it is not learned."""
OTHER_REASONING = frozenset(
    ("thought", "thoughts", "think", "reasoning_text", "chain_of_thought", "cot")
)
"""Names of reasoning that no chat template reads."""

_ANY = LEARNED_KEYS | MASKED_KEYS | OTHER_REASONING


def honoured(message: Row, said: Said = unsaid) -> Row:
    """The message with the weight that its keys mean, and its reasoning under a name that is read.

    A key without one clear meaning is left, so that a rule names it (FT133). Null values say nothing
    and are left out, except that of `content`.
    """
    if type(message.get("content")) is list:
        message = with_values(message, said)
    if len(message) <= 2:
        return message
    read = {k: v for k, v in message.items() if v is not None or k == "content"}
    for key in _ANY.intersection(read):
        if key in OTHER_REASONING:
            _take_reasoning(read, key, said)
        else:
            _take_weight(read, key, said)
    return message if len(read) == len(message) and not _ANY.intersection(message) else read


def honour_turns(turns: list[Turn], said: Said = unsaid) -> list[Turn]:
    """The turns with each message as `honoured` reads it."""
    return [
        turn._replace(message=honoured(turn.message, said)) if type(turn.message) is dict else turn
        for turn in turns
    ]


def _take_weight(message: Row, key: str, said: Said) -> None:
    value = message[key]
    if type(value) not in (bool, int, float) or value not in (0, 1):
        return
    weight = int(value) if key in LEARNED_KEYS else 1 - int(value)
    if message.get("role") != "assistant":
        if weight == 0:  # it is not learned in any case
            del message[key]
        return
    if message.get("weight", weight) != weight:
        return
    del message[key]
    if weight == 0:
        message["weight"] = 0
    said(f"{key} of a message says whether it is learned, and is read as its weight")


def _take_reasoning(message: Row, key: str, said: Said) -> None:
    value: Any = message[key]
    if not isinstance(value, str) or message.get("role") != "assistant":
        return
    if any(message.get(name) for name in REASONING_KEYS):
        return
    del message[key]
    if value:
        message["reasoning_content"] = value
        said(f"{key} of a message is read as its reasoning_content")
