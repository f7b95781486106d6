"""The parts of an evaluation's report: a model's outcomes, a candidate's comparisons, a flipped row."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from ftsdk.evaluation.gate import Gate
from ftsdk.evaluation.pairs import Pairs
from ftsdk.evaluation.statistics.macro_f1 import MacroF1Difference
from ftsdk.evaluation.table import Means


@dataclass(frozen=True)
class ModelResult:
    """What one model did: its outcomes by kind, cost, latency and the summary of each metric.

    `noise` is the share of pairs of its repeats that are scored differently, by metric. `tokens` has the
    mean of an answer's `prompt`, `cached` and `completion` tokens, where the provider reports them.
    """

    name: str
    outcomes: Mapping[str, int]
    summaries: Mapping[str, Mapping[str, Any]]
    usd: Decimal | None = None
    latency_p50_s: float | None = None
    latency_p95_s: float | None = None
    noise: Mapping[str, float] = field(default_factory=dict)
    answered_by: tuple[str, ...] = ()
    tokens: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {**vars(self), "usd": None if self.usd is None else str(self.usd)}


@dataclass(frozen=True)
class CandidateResult:
    """One candidate against the reference: the gate, the mean scores, and the pairs of each metric.

    `macro_f1` is the difference of that figure where labels are compared; it has no part in the gate.
    """

    name: str
    gate: Gate
    means: Mapping[str, Means]
    pairs: Mapping[str, Pairs]
    macro_f1: MacroF1Difference | None = None

    @property
    def verdict(self) -> str:
        """The verdict on the primary metric."""
        return str(self.gate.metrics[self.gate.primary].verdict)

    @property
    def flips(self) -> int:
        """On how many rows it and the reference differ by the primary metric."""
        pairs = self.pairs[self.gate.primary]
        return sum(a != b for a, b in zip(pairs.reference, pairs.candidate, strict=True))


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
class ReportData:
    """An evaluation: candidates against a reference on the same rows.

    `metrics` gives for each metric why it was chosen; the first is the primary one. `margin` is the loss
    that was accepted, stated before the run. `left_out` are rows that a model was trained on.
    `judged` has what a judge says of each candidate: its preferences, how often the order of the answers
    changed them, agreement and cost. `texts` has for each row what was asked, expected and said by each
    model, in a temporary file that goes with the report; leave them out of what you pass on.
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
    judged: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
