"""Write rows as a trainer on Replicate reads them, and build prompts the same way for chat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from ftsdk.errors import DatasetError

Shape = Literal["chat", "text", "prompt_completion"]


def written(row: Mapping[str, Any], shape: Shape, number: int, name: str) -> dict[str, Any]:
    """Return a canonical row as the trainer reads it. Raises `DatasetError` where it cannot be
    written.
    """
    if "text" in row or shape == "chat":
        if shape == "chat" and "messages" not in row:
            raise _no_form(number, name, shape)
        if shape == "prompt_completion":
            raise _no_form(number, name, shape)
        return dict(row)
    if shape == "text":
        raise _no_form(number, name, shape)
    messages = list(row.get("messages") or ())
    roles = [m.get("role") if isinstance(m, Mapping) else None for m in messages]
    texts = [m.get("content") if isinstance(m, Mapping) else None for m in messages]
    plain = all(isinstance(text, str) for text in texts) and not row.get("tools")
    if roles not in (["user", "assistant"], ["system", "user", "assistant"]) or not plain:
        raise _no_form(number, name, shape)
    return {"prompt": prompt_of(messages[:-1]), "completion": texts[-1]}


def prompt_of(messages: list[Any]) -> str:
    """Return messages as one prompt: their texts, separated by blank lines."""
    return "\n\n".join(str(m.get("content") or "") for m in messages)


def _no_form(number: int, name: str, shape: str) -> DatasetError:
    what = {
        "prompt_completion": "one question and one answer, both plain text",
        "text": "a text alone (no chat template is applied here)",
        "chat": "a chat",
    }[shape]
    return DatasetError(
        f"Row {number} cannot be written for this trainer: it takes {what}",
        where=f"{name}, row {number}",
        hint="change the row, or choose a trainer that takes chats (provider_options.trainer)",
        submitted="no",
    )
