"""The bundle of a capture: its cases, its answers, the stored traffic, and what they show together."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from ftsdk.artifacts.bundle import Bundle
from ftsdk.dataset.validation.validate import validate
from ftsdk.errors import StoreError
from ftsdk.evaluation.answers import StoredAnswer
from ftsdk.evaluation.cases import Case
from ftsdk.types.chat import ChatOutcome, StoredChat
from ftsdk.types.model import ChatAnswer

CASES, ANSWERS, TRAFFIC = "cases.jsonl", "answers.jsonl", "traffic.jsonl"
_PRIVATE = "FT4"


def lines_of(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file of JSON lines; nothing where there is no file."""
    if not path.is_file():
        return
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
            yield found


def cases_in(folder: Path) -> dict[str, Case]:
    """Return the cases of a bundle, by their id."""
    found = (Case.from_dict(line) for line in lines_of(folder / CASES))
    return {case.id: case for case in found}


def answers_in(folder: Path) -> Iterator[tuple[str, StoredAnswer]]:
    """Yield the answers of a bundle, each with `tuned` or `base`."""
    for line in lines_of(folder / ANSWERS):
        who = line.pop("who")
        yield who, StoredAnswer.model_validate(line)


class Tally:
    """Counts answers by model and kind, and compares the repeats of each case."""

    def __init__(self) -> None:
        self.counts: dict[str, Counter[str]] = {}
        self.answered_by: dict[str, Counter[str]] = {}
        self._said: dict[str, list[Any]] = {}
        self.usd: list[Any] = []

    def add(self, who: str, stored: StoredAnswer) -> None:
        """Count one answer."""
        answer = stored.answer
        kind = ChatOutcome(stored.key, answer).kind
        self.counts.setdefault(who, Counter())[str(kind)] += 1
        name = " ".join(filter(None, (answer.model, answer.fingerprint)))
        self.answered_by.setdefault(who, Counter())[name or "not named"] += 1
        self.usd.append(stored.usd)
        if who == "tuned":
            self._said.setdefault(stored.case, []).append(said(answer))

    def agreement(self) -> float | None:
        """Return the share of pairs of repeats that are equal; None without repeats."""
        pairs = [
            one == other
            for answers in self._said.values()
            for one, other in itertools.combinations(answers, 2)
        ]
        return sum(pairs) / len(pairs) if pairs else None


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
    by_id = {case.id: case for case in cases}

    def rows() -> Iterator[dict[str, Any]]:
        for case in cases:
            yield {"messages": [*map(dict, case.messages), {"role": "assistant", "content": "-"}]}
        for _, stored in answers:
            if stored.case in by_id and stored.answer.text:
                yield {
                    "messages": [
                        {"role": "user", "content": "-"},
                        {"role": "assistant", "content": stored.answer.text},
                    ]
                }

    report = validate(rows(), tokens=False, near_duplicates=False)
    return {code: n for code, n in report.row_counts.items() if code.startswith(_PRIVATE)}


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
