"""The bundle of a capture: its cases, its answers, the stored traffic, and what they show together."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

from ftsdk.artifacts.bundle import Bundle
from ftsdk.dataset.validation.validate import validate
from ftsdk.errors import StoreError
from ftsdk.evaluation.answers import StoredAnswer
from ftsdk.evaluation.cases import Case
from ftsdk.types.chat import ChatOutcome, StoredChat
from ftsdk.types.cost import sum_known
from ftsdk.types.model import ChatAnswer
from ftsdk.util.iterators import in_chunks

CASES, ANSWERS, TRAFFIC = "cases.jsonl", "answers.jsonl", "traffic.jsonl"
_PRIVATE = "FT4"
_AT_ONCE = 100
"""Rows that are looked at together, and so are in memory."""


def lines_of(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file of JSON lines; nothing where there is no file."""
    return (found for _, found in placed_lines(path))


def placed_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects of a file of JSON lines, each with the offset of its line."""
    if not path.is_file():
        return
    offset = 0
    with path.open("rb") as handle:
        for number, line in enumerate(handle, 1):
            try:
                found = orjson.loads(line)
            except ValueError as error:
                raise StoreError(
                    "A line of the bundle cannot be read",
                    where=f"{path}, line {number}",
                    hint="ftsdk capture --verify FOLDER names what was changed",
                ) from error
            yield offset, found
            offset += len(line)


def cases_in(folder: Path) -> Iterator[Case]:
    """Yield the cases of a bundle."""
    return map(Case.from_dict, lines_of(folder / CASES))


def answers_in(folder: Path) -> Iterator[tuple[str, StoredAnswer]]:
    """Yield the answers of a bundle, each with `tuned` or `base`."""
    return map(answer_of, lines_of(folder / ANSWERS))


def answer_of(line: Mapping[str, Any]) -> tuple[str, StoredAnswer]:
    """Return an answer that a bundle has, and whether the `tuned` model gave it or its `base`."""
    answer = {name: value for name, value in line.items() if name != "who"}
    return line["who"], StoredAnswer.model_validate(answer)


class Tally:
    """Counts answers by model and kind, and compares the repeats of each case."""

    def __init__(self) -> None:
        self.counts: dict[str, Counter[str]] = {}
        self.answered_by: dict[str, Counter[str]] = {}
        self._said: dict[bytes, list[bytes]] = {}
        self.usd: Decimal | None = Decimal(0)

    def add(self, who: str, stored: StoredAnswer) -> None:
        """Count one answer."""
        answer = stored.answer
        kind = ChatOutcome(stored.key, answer).kind
        self.counts.setdefault(who, Counter())[str(kind)] += 1
        name = " ".join(filter(None, (answer.model, answer.fingerprint)))
        self.answered_by.setdefault(who, Counter())[name or "not named"] += 1
        self.usd = sum_known((self.usd, stored.usd))
        if who == "tuned":
            self._said.setdefault(_short(stored.case), []).append(_short(repr(said(answer))))

    def agreement(self) -> float | None:
        """Return the share of pairs of repeats that are equal; None without repeats."""
        pairs = [
            one == other
            for answers in self._said.values()
            for one, other in itertools.combinations(answers, 2)
        ]
        return sum(pairs) / len(pairs) if pairs else None


def _short(text: str) -> bytes:
    """Return a hash of a text, which is smaller than most."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16]


def said(answer: ChatAnswer) -> tuple[Any, ...]:
    """Return what an answer says: its text, its refusal, and the names and arguments of its calls."""
    calls = answer.message.get("tool_calls")
    functions = [call.get("function") for call in calls or () if isinstance(call, Mapping)]
    named = tuple(
        (one.get("name"), one.get("arguments")) for one in functions if isinstance(one, Mapping)
    )
    return (answer.text, answer.refusal, named)


def write_lines(bundle: Bundle, name: str, lines: Iterable[Mapping[str, Any]]) -> int:
    """Write objects as JSON lines to a file of the bundle; return how many."""
    count = 0

    def blocks() -> Iterator[bytes]:
        nonlocal count
        for line in lines:
            count += 1
            yield orjson.dumps(line) + b"\n"

    bundle.write_blocks(name, blocks())
    return count


def private_findings(
    cases: Sequence[Case], answers: Iterable[tuple[str, StoredAnswer]]
) -> dict[str, int]:
    """Return the number of conversations with each kind of secret or personal data, by code."""
    known = {case.id for case in cases}

    def rows() -> Iterator[dict[str, Any]]:
        for case in cases:
            yield {"messages": [*map(dict, case.messages), {"role": "assistant", "content": "-"}]}
        for _, stored in answers:
            if stored.case in known and stored.answer.text:
                yield {
                    "messages": [
                        {"role": "user", "content": "-"},
                        {"role": "assistant", "content": stored.answer.text},
                    ]
                }

    found = Counter[str]()
    for some in in_chunks(rows(), _AT_ONCE):
        found.update(validate(some, tokens=False, near_duplicates=False).row_counts)
    return {code: n for code, n in found.items() if code.startswith(_PRIVATE)}


def traffic_line(chat: StoredChat) -> dict[str, Any]:
    """Return a stored chat as the bundle keeps it."""
    return {
        "id": chat.id,
        "model": chat.model,
        "created_at": None if chat.created_at is None else chat.created_at.isoformat(),
        "messages": [dict(one) for one in chat.messages],
        "options": dict(chat.options),
        "metadata": dict(chat.metadata),
        "answer": chat.answer.model_dump(mode="json"),
    }
