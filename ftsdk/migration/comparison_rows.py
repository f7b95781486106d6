"""The rows on which old and new models are compared: those that were captured, with their right answers.

Where the rows have no answers, the old model's first answer takes their place: then the comparison is
of agreement with the old model, and its own repeats are the measure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from ftsdk.dataset import Dataset
from ftsdk.errors import UsageError
from ftsdk.evaluation.bundle_files import cases_in
from ftsdk.evaluation.captured import Captured, CapturedAnswers
from ftsdk.evaluation.cases import case_of_chat, case_of_row
from ftsdk.evaluation.statistics.compare import MIN_ROWS
from ftsdk.util.files import atomic_file, make_private_folder
from ftsdk.util.spilled import Spilled

_NAME = "rows.jsonl"


@dataclass(frozen=True)
class ComparisonRows:
    """The file of the rows, their number and SHA-256, and whether the old model gave the answers."""

    path: Path
    rows: int
    sha256: str
    by_agreement: bool = False
    without_answer: int = 0

    def notes(self) -> list[str]:
        """Return what a reader of the report must know of them."""
        if self.by_agreement:
            return [
                (
                    "the rows have no right answers: a model is compared with the old model's own first "
                    "answers, so the figures are agreement, and the old model's agreement with itself is "
                    "the measure"
                )
            ]
        left = self.without_answer
        return [f"{left:,} captured rows have no right answer and are left out"] if left else []


def comparison_rows(captured: Captured, data: Any, folder: Path) -> ComparisonRows:
    """Write the rows that are compared into `folder`, and return where they are.

    `data` are the rows that were captured, whose keys slices may use. Raises `UsageError` for fewer
    rows than a verdict needs.
    """
    rows = Spilled(_rows_of(data, {case.digest for case in cases_in(captured.folder)}))
    answered = sum(one.is_answered for one in rows)
    by_agreement = answered < MIN_ROWS
    chosen = _with_captured_answers(captured, rows) if by_agreement else _answered(rows)
    path = make_private_folder(folder) / _NAME
    digest, count = hashlib.sha256(), 0
    with atomic_file(path) as handle:
        for row in chosen:
            line = orjson.dumps(row) + b"\n"
            digest.update(line)
            handle.write(line)
            count += 1
    if count < MIN_ROWS:
        raise UsageError(
            f"{count} captured rows are too few for a verdict",
            where=f"model {captured.manifest.get('model')}, {captured.folder}",
            hint=f"give at least {MIN_ROWS} rows that the old model was not trained on",
        )
    return ComparisonRows(
        path=path,
        rows=count,
        sha256=digest.hexdigest(),
        by_agreement=by_agreement,
        without_answer=0 if by_agreement else len(rows) - answered,
    )


@dataclass(frozen=True)
class _Captured:
    """A captured row: the digest of its case, and the row as it is compared."""

    case: bytes
    row: dict[str, Any]

    @property
    def is_answered(self) -> bool:
        return bool(self.row["messages"][-1].get("role") == "assistant")


def _rows_of(data: Any, captured: Collection[bytes]) -> Iterator[_Captured]:
    """Yield each captured row once, as a chat row with the keys that it has beside."""
    known: set[bytes] = set()
    for line, row in enumerate(Dataset.load(data), 1):
        case = case_of_row(row, line)
        if case is None or case.digest in known or case.digest not in captured:
            continue
        known.add(case.digest)
        is_chat = case_of_chat(row, line) is not None
        beside = {name: one for name, one in row.items() if name != "messages"} if is_chat else {}
        answer = [] if case.reference is None else [dict(case.reference)]
        messages = [*map(dict, case.messages), *answer]
        yield _Captured(case.digest, {**beside, "messages": messages, **case.options})


def _answered(rows: Iterable[_Captured]) -> Iterator[dict[str, Any]]:
    return (one.row for one in rows if one.is_answered)


def _with_captured_answers(
    captured: Captured, rows: Iterable[_Captured]
) -> Iterator[dict[str, Any]]:
    """Yield the rows with the first answer of the old model as theirs."""
    answers = CapturedAnswers(captured.folder, "tuned")
    for one in rows:
        first = next((each for each in answers.of(one.case) if not each.repeat), None)
        if first is None:
            continue
        asked = one.row["messages"][: -1 if one.is_answered else None]
        answer = {name: value for name, value in first.answer.message.items() if value is not None}
        yield {**one.row, "messages": [*asked, {"role": "assistant", **answer}]}
