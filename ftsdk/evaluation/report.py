"""The report of an evaluation: the verdict of each candidate, what it rests on, and every flip."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from ftsdk.evaluation.flips import Flip, flips_of
from ftsdk.evaluation.gate import Gate, GateResult
from ftsdk.evaluation.pairs import Pairs
from ftsdk.evaluation.table import Means, comparison_table
from ftsdk.types.evaluation import Comparison

_WORST = (GateResult.FAILED, GateResult.NOT_COMPARABLE, GateResult.INCONCLUSIVE, GateResult.PASSED)


@dataclass(frozen=True)
class ModelResult:
    """What one model did: its outcomes by kind, cost, latency and the summary of each metric.

    `noise` is the share of pairs of its repeats that are scored differently, by metric.
    """

    name: str
    outcomes: Mapping[str, int]
    summaries: Mapping[str, Mapping[str, Any]]
    usd: Decimal | None = None
    latency_p50_s: float | None = None
    latency_p95_s: float | None = None
    noise: Mapping[str, float] = field(default_factory=dict)
    answered_by: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {**vars(self), "usd": None if self.usd is None else str(self.usd)}


@dataclass(frozen=True)
class CandidateResult:
    """One candidate against the reference: the gate, the mean scores, and the pairs of each metric."""

    name: str
    gate: Gate
    means: Mapping[str, Means]
    pairs: Mapping[str, Pairs]

    @property
    def verdict(self) -> str:
        """The verdict on the primary metric."""
        return str(self.gate.metrics[self.gate.primary].verdict)


@dataclass(frozen=True)
class FlippedRow:
    """A row on which candidate and reference differ, with what each said."""

    line: int
    asked: str
    expected: str
    reference: str
    candidate: str
    reference_score: float
    candidate_score: float


@dataclass(frozen=True)
class EvaluationReport:
    """An evaluation: candidates against a reference on the same rows.

    `metrics` gives for each metric why it was chosen; the first is the primary one. `margin` is the loss
    that was accepted, stated before the run. `left_out` are rows that a model was trained on.
    `texts` has for each row what was asked, expected and said by each model; leave them out of what you
    pass on with `without_texts`.
    """

    data: str
    rows: int
    reference: str
    candidates: tuple[CandidateResult, ...]
    models: tuple[ModelResult, ...]
    metrics: Mapping[str, str]
    margin: float | None
    clusters: str | None
    repeats: int
    decoding: Mapping[str, Any]
    started_at: dt.datetime
    ended_at: dt.datetime
    left_out: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    texts: Sequence[Mapping[str, str]] = ()
    lines: Sequence[int] = ()

    @property
    def result(self) -> GateResult:
        """The worst result of all candidates."""
        found = {one.gate.result for one in self.candidates}
        return next(one for one in _WORST if one in found)

    @property
    def verdict(self) -> str:
        """The verdict of the first candidate on the primary metric."""
        return self.candidates[0].verdict

    @property
    def exit_code(self) -> int:
        """0 passed, 8 failed, 7 inconclusive, 4 not comparable."""
        return self.result.exit_code

    def compare(self, candidate: str | None = None, metric: str | None = None) -> Comparison:
        """Return the comparison of a candidate by a metric; the first and the primary by default."""
        found = self._candidate(candidate)
        return found.gate.metrics[metric or found.gate.primary]

    def _candidate(self, name: str | None) -> CandidateResult:
        return next((one for one in self.candidates if one.name == name), self.candidates[0])

    def flips(self, candidate: str | None = None, metric: str | None = None) -> list[FlippedRow]:
        """Return the rows on which the scores differ, losses first."""
        found = self._candidate(candidate)
        pairs = found.pairs[metric or found.gate.primary]
        return [self._flipped(one, found.name) for one in flips_of(pairs)]

    def _flipped(self, flip: Flip, candidate: str) -> FlippedRow:
        text = self.texts[flip.row] if self.texts else {}
        return FlippedRow(
            line=self.lines[flip.row] if self.lines else flip.row + 1,
            asked=text.get("asked", ""),
            expected=text.get("expected", ""),
            reference=text.get(self.reference, ""),
            candidate=text.get(candidate, ""),
            reference_score=flip.reference,
            candidate_score=flip.candidate,
        )

    def lines_of_text(self) -> list[str]:
        """Return the tables of all candidates."""
        lines: list[str] = []
        for one in self.candidates:
            lines += comparison_table(
                one.gate, one.means, reference=self.reference, candidate=one.name
            )
        return lines

    def __str__(self) -> str:
        return "\n".join(self.lines_of_text())

    def to_dict(self, *, texts: bool = True) -> dict[str, Any]:
        """Return the report as plain JSON values; without `texts`, no row's text is in it."""
        return {
            "data": self.data,
            "rows": self.rows,
            "result": str(self.result),
            "verdict": self.verdict,
            "reference": self.reference,
            "metrics": dict(self.metrics),
            "primary": next(iter(self.metrics)),
            "margin": self.margin,
            "clusters": self.clusters,
            "repeats": self.repeats,
            "decoding": dict(self.decoding),
            "started_at": self.started_at.isoformat(),
            "ended_at": self.ended_at.isoformat(),
            "models": [one.to_dict() for one in self.models],
            "candidates": [self._candidate_dict(one, texts) for one in self.candidates],
            "left_out": list(self.left_out),
            "notes": list(self.notes),
        }

    def _candidate_dict(self, one: CandidateResult, texts: bool) -> dict[str, Any]:
        flips = self.flips(one.name)
        shown = [vars(flip) for flip in flips] if texts else [{"line": f.line} for f in flips]
        return {
            "name": one.name,
            "result": str(one.gate.result),
            "reason": one.gate.reason,
            "verdict": one.verdict,
            "metrics": {n: c.model_dump(mode="json") for n, c in one.gate.metrics.items()},
            "slices": {n: c.model_dump(mode="json") for n, c in one.gate.slices.items()},
            "flips": shown,
        }
