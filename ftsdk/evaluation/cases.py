"""Cases: what a model is asked, read from rows; the last answer of a row is the reference."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from ftsdk.dataset import Dataset
from ftsdk.dataset.row import Row, shape_of
from ftsdk.errors import DatasetError
from ftsdk.util.spilled import Spilled

_CARRIED = ("tools", "parallel_tool_calls", "functions")
"""What a row has beside its messages that belongs to the request."""
_SHOWN = 20


@dataclass(frozen=True)
class Case:
    """One conversation to answer.

    `id` is the SHA-256 of the request: the messages before the last answer, and the tools. `line` is
    the row's place in its file; `reference` is the row's own answer, if it has one.
    """

    id: str
    line: int
    messages: tuple[Mapping[str, Any], ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    reference: Mapping[str, Any] | None = None

    @property
    def digest(self) -> bytes:
        """The id as bytes, which are half as many."""
        return bytes.fromhex(self.id)

    def to_dict(self) -> dict[str, Any]:
        """Return the case as a bundle keeps it."""
        return {
            "id": self.id,
            "line": self.line,
            "messages": [dict(one) for one in self.messages],
            "options": dict(self.options),
            "reference": None if self.reference is None else dict(self.reference),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Case:
        """Read what `to_dict` returned."""
        return cls(
            id=data["id"],
            line=data["line"],
            messages=tuple(data["messages"]),
            options=data["options"],
            reference=data["reference"],
        )


def case_of(messages: Any, options: Mapping[str, Any], *, line: int = 0) -> Case | None:
    """Return the case of a conversation, or None where nothing is asked.

    A last message of the assistant is the reference; everything before it is asked.
    """
    if not isinstance(messages, list) or not all(isinstance(one, dict) for one in messages):
        return None
    answered = bool(messages) and messages[-1].get("role") == "assistant"
    asked = [_without_weight(one) for one in (messages[:-1] if answered else messages)]
    if not any(one.get("role") not in ("system", "developer") for one in asked):
        return None
    request = {"messages": asked, "options": dict(options)}
    return Case(
        id=hashlib.sha256(orjson.dumps(request, option=orjson.OPT_SORT_KEYS)).hexdigest(),
        line=line,
        messages=tuple(asked),
        options=dict(options),
        reference=_without_weight(messages[-1]) if answered else None,
    )


def _without_weight(message: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in message.items() if name != "weight"}


def cases_of(*sources: Dataset) -> Sequence[Case]:
    """Return the cases of datasets, in the order of their rows; their texts are in a file.

    Rows that ask the same are one case, with the first row's reference. Raises `DatasetError` that
    names every row that asks nothing, and for rows that are not conversations.
    """
    found = Spilled[Case]()
    known: set[bytes] = set()
    for data in sources:
        nothing, line = list[int](), 0
        for line, row in enumerate(data, 1):
            case = case_of_row(row, line)
            if case is None:
                nothing.append(line)
            elif case.digest not in known:
                known.add(case.digest)
                found.append(case)
        if nothing or not line:
            raise asks_nothing(data.name, nothing)
    return found


def case_of_chat(row: Row, line: int) -> Case | None:
    """Return the case of a chat row with all that belongs to its request; None where nothing is asked."""
    return case_of(row.get("messages"), _options(row), line=line)


def case_of_row(row: Row, line: int) -> Case | None:
    """Return the case of a chat row, or of a pair of answers; None where nothing is asked."""
    shape = shape_of(row)
    if shape == "preference":
        asked = row.get("input")
        if not isinstance(asked, dict):
            return None
        preferred = row.get("preferred_output")
        messages = [*_list(asked.get("messages")), *_list(preferred)[-1:]]
        return case_of(messages, _options(asked), line=line)
    return case_of_chat(row, line) if shape == "chat" else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _options(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in _CARRIED if row.get(name) is not None}


def asks_nothing(name: str, lines: Sequence[int]) -> DatasetError:
    """Return the error for these rows of a dataset, or for a dataset without rows."""
    shown = ", ".join(map(str, lines[:_SHOWN])) + (", …" if len(lines) > _SHOWN else "")
    return DatasetError(
        _how_many(len(lines)) if lines else "There is no row to ask",
        where=f"{name}: rows {shown}" if lines else name,
        hint="a row needs a user message before its answer; plain text and token ids cannot be asked",
    )


def _how_many(rows: int) -> str:
    return "1 row asks nothing" if rows == 1 else f"{rows:,} rows ask nothing"
