"""Answers that are JSON: whether they are valid, and which fields are right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ftsdk.dataset.row import Row
from ftsdk.evaluation.metrics.json_values import UNREADABLE, is_same, json_of, schema_faults
from ftsdk.evaluation.metrics.metric import (
    Chosen,
    Message,
    Metric,
    answer_text,
    references_of,
    text_of,
)
from ftsdk.types.answer import ChatAnswer
from ftsdk.types.evaluation import Score


class JsonValid(Metric):
    """Passes an answer that is JSON and nothing else, and breaks no rule of `schema`."""

    @classmethod
    def chosen_for(cls, rows: Sequence[Row]) -> Chosen | None:
        """Fits what `JsonFields` fits."""
        fields = JsonFields.chosen_for(rows)
        return None if fields is None else Chosen(cls(), fields.reason)

    def __init__(self, schema: Mapping[str, Any] | None = None, *, fenced: bool = False) -> None:
        self.name = "json" if schema is None else "json_schema"
        self._schema = None if schema is None else dict(schema)
        self._fenced = fenced

    def score(self, reference: Message, answer: ChatAnswer, row: Row) -> Score:
        """Return whether an answer is valid; `faults` says where it is not."""
        value = json_of(answer_text(answer, reference), fenced=self._fenced)
        if value is UNREADABLE:
            return Score(0.0, passed=False, detail={"faults": ["not JSON"]})
        faults = [] if self._schema is None else schema_faults(value, self._schema)
        return Score(float(not faults), passed=not faults, detail={"faults": faults})


class JsonFields(Metric):
    """Passes an answer that has every field as in the reference, and no other.

    Fields are those at the top of an object; another value is one field. `detail` has `fields`, true
    where right, and `extra`, those that the reference does not have.
    """

    name = "json_fields"

    @classmethod
    def chosen_for(cls, rows: Sequence[Row]) -> Chosen | None:
        """Fits answers that are all objects or lists."""
        count = 0
        for message in references_of(rows):
            if not isinstance(json_of(text_of(message)), dict | list):
                return None
            count += 1
        return Chosen(cls(), f"all {count} answers are JSON") if count else None

    def __init__(self, *, loose: bool = False, fenced: bool = False) -> None:
        self._loose, self._fenced = loose, fenced

    def score(self, reference: Message, answer: ChatAnswer, row: Row) -> Score:
        """Return whether all fields are right. A reference that is not JSON gives no score."""
        wanted = json_of(text_of(reference))
        if wanted is UNREADABLE:
            return Score(None, detail={"reference": "not JSON"})
        found = json_of(answer_text(answer, reference), fenced=self._fenced)
        fields = {name: self._is_right(found, name, value) for name, value in _fields(wanted)}
        extra = sorted(name for name, _ in _fields(found) if name not in fields)
        right = all(fields.values()) and not extra and found is not UNREADABLE
        return Score(
            float(right),
            passed=right,
            detail={"fields": fields, "extra": extra, "json": found is not UNREADABLE},
        )

    def summary(self, scores: Sequence[Score]) -> dict[str, Any]:
        """Return the mean, and for each field the rows that have it and the share that is right."""
        rows: Counter[str] = Counter()
        right: Counter[str] = Counter()
        for score in scores:
            fields = score.detail.get("fields", {})
            rows.update(fields.keys())
            right.update(name for name, is_right in fields.items() if is_right)
        return {
            **super().summary(scores),
            "fields": {
                name: {"rows": n, "right": right[name] / n} for name, n in sorted(rows.items())
            },
        }

    def _is_right(self, found: Any, name: str, wanted: Any) -> bool:
        given = dict(_fields(found))
        return name in given and is_same(given[name], wanted, loose=self._loose)


def _fields(value: Any) -> list[tuple[str, Any]]:
    """The fields of an object; a value that is none is one field, called `value`."""
    if value is UNREADABLE:
        return []
    return list(value.items()) if isinstance(value, dict) else [("value", value)]
