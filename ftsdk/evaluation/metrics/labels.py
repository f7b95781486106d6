"""Labels: one of a known set. Accuracy, confusion, F1, and answers that are no label at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from ftsdk.dataset.row import Row
from ftsdk.evaluation.metrics.metric import (
    Chosen,
    Message,
    Metric,
    answer_text,
    references_of,
    text_of,
)
from ftsdk.evaluation.metrics.text import normalized
from ftsdk.evaluation.statistics.rates import wilson
from ftsdk.types.answer import ChatAnswer
from ftsdk.types.evaluation import Score

NOT_A_LABEL = "not a label"
MOST_LABELS = 500
LONGEST_LABEL = 80
"""Characters of a label that is recognized as one; those that are given may be longer."""
FEW_ROWS = 10
"""A class with fewer rows has a figure of its own that says little."""


class Labels(Metric):
    """Passes an answer that is the reference's label.

    `labels` are all that exist; an answer outside them is counted as "not a label". With `lenient`,
    case, width and punctuation around a label do not matter, unless two labels differ only in them.
    """

    name = "label"

    @classmethod
    def chosen_for(cls, rows: Sequence[Row]) -> Chosen | None:
        """Fits short answers of which few differ: each at least three times on average."""
        labels: set[str] = set()
        count = 0
        for message in references_of(rows):
            text = text_of(message).strip()
            if not text or len(text) > LONGEST_LABEL or "\n" in text:
                return None
            count += 1
            labels.add(text)
            if len(labels) > MOST_LABELS:
                return None
        if not 2 <= len(labels) <= count // 3:
            return None
        return Chosen(cls(labels), f"{count} answers are {len(labels)} different short texts")

    def __init__(self, labels: Iterable[str], *, lenient: bool = False) -> None:
        self.labels = tuple(sorted({label.strip() for label in labels}))
        self._known = frozenset(self.labels)
        self._by_writing: dict[str, str] = {}
        if lenient:
            writings = [normalized(label, punctuation=True) for label in self.labels]
            if len(set(writings)) == len(writings):
                self._by_writing = dict(zip(writings, self.labels, strict=True))

    def score(self, reference: Message, answer: ChatAnswer, row: Row) -> Score:
        """Return whether the label is right, and which one was given."""
        label = text_of(reference).strip()
        found = self.label_in(answer_text(answer, reference))
        return Score(
            float(found == label), passed=found == label, detail={"label": label, "given": found}
        )

    def label_in(self, text: str) -> str | None:
        """Return the label that a text is, or None."""
        if text.strip() in self._known:
            return text.strip()
        if not self._by_writing:
            return None
        return self._by_writing.get(normalized(text, punctuation=True))

    def summary(self, scores: Sequence[Score]) -> dict[str, Any]:
        """Return accuracy, macro-F1, the count of answers that are no label, classes and confusion."""
        pairs = [
            (str(score.detail["label"]), score.detail["given"])
            for score in scores
            if "label" in score.detail
        ]
        classes = classes_of(pairs)
        return {
            **super().summary(scores),
            "macro_f1": macro_f1(classes),
            "not_a_label": sum(given is None for _, given in pairs),
            "classes": classes,
            "rare": sorted(name for name, one in classes.items() if one["rows"] < FEW_ROWS),
            "confusion": confusion(pairs),
        }


def confusion(pairs: Sequence[tuple[str, str | None]]) -> dict[str, dict[str, int]]:
    """Return how often each label was answered by each, wrong and right ones."""
    counts: dict[str, dict[str, int]] = {}
    for label, given in sorted(pairs, key=lambda pair: (pair[0], pair[1] is None, pair[1])):
        row = counts.setdefault(label, {})
        name = NOT_A_LABEL if given is None else given
        row[name] = row.get(name, 0) + 1
    return counts


def classes_of(pairs: Sequence[tuple[str, str | None]]) -> dict[str, dict[str, Any]]:
    """Return the figures of each label of the references.

    They are its rows, how many are right, recall with its 95 % interval (Wilson), precision (None
    where the label was never given) and F1.
    """
    rows, given = Counter(label for label, _ in pairs), Counter(one for _, one in pairs)
    right = Counter(label for label, one in pairs if label == one)
    return {
        label: {
            "rows": rows[label],
            "right": right[label],
            "recall": right[label] / rows[label],
            "recall_interval": list(wilson(right[label], rows[label])),
            "precision": right[label] / given[label] if given[label] else None,
            "f1": 2 * right[label] / (rows[label] + given[label]),
        }
        for label in sorted(rows)
    }


def macro_f1(classes: dict[str, dict[str, Any]]) -> float | None:
    """Return the mean F1 of the labels that the references have: each counts alike, rare or not."""
    if not classes:
        return None
    return float(sum(one["f1"] for one in classes.values()) / len(classes))
