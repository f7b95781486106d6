"""The rows on which old and new models are compared: those that were captured, with their right answers.

Where the rows have no answers, the old model's first answer takes their place: then the comparison is
of agreement with the old model, and its own repeats are the measure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from ftsdk.dataset import Dataset
from ftsdk.errors import UsageError
from ftsdk.evaluation.captured import Captured
from ftsdk.evaluation.cases import Case, case_of_chat, cases_of
from ftsdk.evaluation.statistics.compare import MIN_ROWS
from ftsdk.util.files import atomic_write_bytes, make_private_folder

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
    cases = captured.cases()
    rows = dict(_rows_of(data, cases))
    answered = {key: row for key, row in rows.items() if row["messages"][-1].get("role") == "assistant"}  # fmt: skip
    by_agreement = len(answered) < MIN_ROWS
    chosen = _with_captured_answers(captured, rows) if by_agreement else answered
    if len(chosen) < MIN_ROWS:
        raise UsageError(
            f"{len(chosen)} captured rows are too few for a verdict",
            where=f"model {captured.manifest.get('model')}, {captured.folder}",
            hint=f"give at least {MIN_ROWS} rows that the old model was not trained on",
        )
    content = b"".join(orjson.dumps(row) + b"\n" for row in chosen.values())
    path = make_private_folder(folder) / _NAME
    atomic_write_bytes(path, content)
    return ComparisonRows(
        path=path,
        rows=len(chosen),
        sha256=hashlib.sha256(content).hexdigest(),
        by_agreement=by_agreement,
        without_answer=0 if by_agreement else len(rows) - len(answered),
    )


def _rows_of(data: Any, cases: Mapping[str, Case]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each captured row once, by its case, as a chat row with the keys that it has beside."""
    asked = {case.id: case for case in cases_of(Dataset.load(data))}
    beside = {}
    for line, row in enumerate(Dataset.load(data), 1):
        case = case_of_chat(row, line)
        if case is not None and case.id not in beside:
            beside[case.id] = {name: one for name, one in row.items() if name != "messages"}
    for key, case in asked.items():
        if key in cases:
            answer = [] if case.reference is None else [dict(case.reference)]
            messages = [*map(dict, case.messages), *answer]
            yield key, {**beside.get(key, {}), "messages": messages, **case.options}


def _with_captured_answers(
    captured: Captured, rows: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    found = {}
    for stored in captured.answers():
        row = rows.get(stored.case)
        if row is None or stored.repeat:
            continue
        answer = {name: one for name, one in stored.answer.message.items() if one is not None}
        asked = [one for one in row["messages"] if one is not row["messages"][-1] or one.get("role") != "assistant"]  # fmt: skip
        found[stored.case] = {**row, "messages": [*asked, {"role": "assistant", **answer}]}
    return found
