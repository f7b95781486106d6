"""Simulated training: rows are read, counted and checked, and a "tuned model" repeats them.

It answers with the answer of the training row whose question is most similar.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_SPECIAL = re.compile(r"<\|[a-z_]+\|>")


def rows_of(content: bytes) -> Iterator[tuple[int, Any]]:
    """Yield line number and row of each record; the row is None where the line is not JSON."""
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except ValueError:
            yield number, None


def first_fault(content: bytes, *, method: str = "sft", least: int = 1) -> tuple[int, str] | None:
    """Return line number and message of the first row a provider would refuse, or None.

    The line number is 0 when the file has fewer than `least` rows.
    """
    count = 0
    for number, row in rows_of(content):
        count += 1
        fault = _row_fault(row, method)
        if fault is not None:
            return number, fault
    if count < least:
        return 0, f"it has {count} example(s), but must have at least {least}"
    return None


def _row_fault(row: Any, method: str) -> str | None:
    if not isinstance(row, dict):
        return "not a JSON object"
    if _SPECIAL.search(json.dumps(row, ensure_ascii=False)):
        return "a message contains a reserved special token"
    if method == "dpo":
        missing = [k for k in ("input", "preferred_output", "non_preferred_output") if k not in row]
        return f"missing {', '.join(missing)}" if missing else None
    messages = row.get("messages")
    if not isinstance(messages, list) or not messages:
        return "missing messages"
    roles = [message.get("role") if isinstance(message, dict) else None for message in messages]
    if "assistant" not in roles:
        return "no assistant message"
    odd = [
        role
        for role in roles
        if role not in ("system", "user", "assistant", "tool", "function", "developer")
    ]
    return f"unknown role {odd[0]!r}" if odd else None


def count_tokens(content: bytes) -> int:
    """Estimate the number of tokens: the length of `input_ids`, otherwise four bytes of text a token."""
    return sum(_quarters(row) for _, row in rows_of(content)) // 4 + 1


def _quarters(row: Any) -> int:
    ids = row.get("input_ids") if isinstance(row, dict) else None
    return 4 * len(ids) if isinstance(ids, list) else _text_bytes(row)


def _text_bytes(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, Mapping):
        return sum(_text_bytes(one) for one in value.values())
    if isinstance(value, list):
        return sum(map(_text_bytes, value))
    return 0


def curve(seed: int, steps: int, upto: float) -> list[dict[str, float]]:
    """Return a falling loss curve: one point for each step done.

    `upto` is the share of the training that is done, 0 to 1. A point has `step`, `loss`, `accuracy`
    and `share`, its own share of the training.
    """
    points = []
    for step in range(1, int(steps * upto + 1e-9) + 1):
        share = step / steps
        loss = 0.6 + 1.9 * math.exp(-3.2 * share) + 0.05 * math.sin(step * 2.4 + seed)
        points.append(
            {
                "step": step,
                "loss": round(loss, 5),
                "accuracy": round(1 - loss / 4, 5),
                "share": share,
            }
        )
    return points


def nearest_answer(content: bytes, messages: Sequence[Mapping[str, Any]]) -> str:
    """Return the answer of the training row whose last question shares most words with this one."""
    question = _words(_last(messages, "user"))
    best, score = "", -1.0
    for words, answer in _questions(content):
        shared = len(question & words) / (len(question | words) or 1)
        if shared > score:
            best, score = answer, shared
    return best


@functools.lru_cache(maxsize=8)
def _questions(content: bytes) -> tuple[tuple[frozenset[str], str], ...]:
    """Return the words of the last question and the answer of each row."""
    found = []
    for _, row in rows_of(content):
        if not isinstance(row, dict):
            continue
        turns = row.get("messages") or [
            *(row.get("input") or {}).get("messages", []),
            *row.get("preferred_output", []),
        ]
        found.append((_words(_last(turns, "user")), _last(turns, "assistant")))
    return tuple(found)


def _last(messages: Sequence[Mapping[str, Any]], role: str) -> str:
    for message in reversed(messages):
        if message.get("role") == role:
            content = message.get("content")
            return content if isinstance(content, str) else json.dumps(content or "")
    return ""


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.lower()))
