"""Score the answers of all models, and compare each candidate with the reference."""

from __future__ import annotations

import datetime as dt
import statistics
from collections.abc import Hashable, Iterable, Mapping, Sequence
from decimal import Decimal

from ftsdk.backends.answer_losses import AnswerLoss
from ftsdk.dataset.row import Row
from ftsdk.evaluation.cases import Case
from ftsdk.evaluation.gate import gate
from ftsdk.evaluation.judging import METRIC, Judged
from ftsdk.evaluation.losses import Losses
from ftsdk.evaluation.metrics.labels import Labels
from ftsdk.evaluation.metrics.loss import Loss
from ftsdk.evaluation.metrics.metric import (
    Chosen,
    Metric,
    answer_text,
    outcome_counts,
    score_outcome,
    text_of,
)
from ftsdk.evaluation.options import EvaluationOptions
from ftsdk.evaluation.pairs import Pairs, RowScores, compare_pairs, noise_of, paired
from ftsdk.evaluation.participants import AskedModel, Participant
from ftsdk.evaluation.report import EvaluationReport
from ftsdk.evaluation.report_parts import CandidateResult, ModelResult
from ftsdk.evaluation.slices import slices_of, value_of
from ftsdk.evaluation.statistics.compare import not_comparable
from ftsdk.evaluation.statistics.macro_f1 import MacroF1Difference, macro_f1_difference
from ftsdk.evaluation.table import Means
from ftsdk.types.chat import ChatOutcome
from ftsdk.types.evaluation import Comparison, Score


class Scoring:
    """The rows, the metrics and the models of one evaluation, all answers there."""

    def __init__(
        self,
        cases: Sequence[Case],
        rows: Sequence[Row],
        metrics: Sequence[Chosen],
        people: Sequence[Participant],
        options: EvaluationOptions,
    ) -> None:
        self._cases, self._rows, self._metrics = cases, rows, metrics
        self._people, self._options = people, options

    def report(
        self,
        data: str,
        chosen_because: Mapping[str, str],
        started_at: dt.datetime,
        ended_at: dt.datetime,
        left_out: tuple[int, ...],
        notes: tuple[str, ...],
        judged: Mapping[str, Judged],
        losses: Losses,
    ) -> EvaluationReport:
        """Score every answer, compare the candidates, and return the report."""
        outcomes = {one.name: [one.outcomes(case) for case in self._cases] for one in self._people}
        scores = {
            name: {
                chosen.metric.name: self._scores(chosen.metric, every, losses.get(name, ()))
                for chosen in self._metrics
            }
            for name, every in outcomes.items()
        }
        reference = self._people[self._options.reference]
        candidates = tuple(
            self._candidate(scores[reference.name], scores[one.name], one.name, judged)
            for one in self._people
            if one is not reference
        )
        return EvaluationReport(
            data=data,
            rows=len(self._cases),
            reference=reference.name,
            candidates=candidates,
            models=tuple(
                self._result(one, outcomes[one.name], scores[one.name]) for one in self._people
            ),
            metrics=chosen_because,
            margin=self._options.margin,
            clusters=self._options.cluster,
            repeats=self._options.repeats,
            decoding=self._options.decoding,
            started_at=started_at,
            ended_at=ended_at,
            left_out=left_out,
            notes=notes,
            texts=[self._texts(place, outcomes) for place in range(len(self._cases))],
            lines=[case.line for case in self._cases],
            judged={
                one.name: judged[one.name].summary(next(iter(one.pairs.values())))
                for one in candidates
                if one.name in judged
            },
        )

    def _scores(
        self,
        metric: Metric,
        outcomes: Sequence[Sequence[ChatOutcome]],
        losses: Sequence[AnswerLoss | None],
    ) -> list[list[Score]]:
        """Return the scores of each row: of its answers, or of the model's loss on it."""
        if isinstance(metric, Loss):
            return [[metric.score_of(one)] for one in losses]
        return [
            [score_outcome(metric, row, outcome) for outcome in answers]
            for row, answers in zip(self._rows, outcomes, strict=True)
        ]

    def _texts(
        self, place: int, outcomes: Mapping[str, Sequence[Sequence[ChatOutcome]]]
    ) -> dict[str, str]:
        case = self._cases[place]
        said = {name: _said(every[place]) for name, every in outcomes.items()}
        expected = "" if case.reference is None else text_of(case.reference)
        return {**said, "asked": text_of(case.messages[-1]), "expected": expected}

    def _candidate(
        self,
        reference: Mapping[str, Sequence[RowScores]],
        candidate: Mapping[str, Sequence[RowScores]],
        name: str,
        judged: Mapping[str, Judged],
    ) -> CandidateResult:
        clusters = self._clusters()
        pairs: dict[str, Pairs] = {}
        compared: dict[str, Comparison] = {}
        for number, chosen in enumerate(self._metrics):
            metric = chosen.metric.name
            pairs[metric] = paired(reference[metric], candidate[metric])
            margin = self._options.margin if number == 0 else None
            compared[metric] = compare_pairs(pairs[metric], margin=margin, clusters=clusters)
        primary = self._metrics[0].metric.name
        if name in judged:
            pairs[METRIC] = judged[name].pairs()
            fault = judged[name].fault
            compared[METRIC] = (
                not_comparable(fault, rows=len(pairs[METRIC].rows))
                if fault
                else compare_pairs(pairs[METRIC], clusters=clusters)
            )
        parts = {one.name: one.rows for one in slices_of(self._rows, self._options.slices)}
        sliced = {
            part: compare_pairs(
                pairs[primary].within(rows), margin=self._options.margin, clusters=clusters
            )
            for part, rows in parts.items()
        }
        means = {metric: _means(found) for metric, found in pairs.items()}
        means |= {part: _means(pairs[primary].within(rows)) for part, rows in parts.items()}
        macro_f1 = self._macro_f1(reference, candidate, clusters)
        return CandidateResult(name, gate(compared, sliced), means, pairs, macro_f1)

    def _macro_f1(
        self,
        reference: Mapping[str, Sequence[RowScores]],
        candidate: Mapping[str, Sequence[RowScores]],
        clusters: Sequence[Hashable] | None,
    ) -> MacroF1Difference | None:
        """Return the difference of macro-F1 by the first answers, where labels are compared."""
        name = next((c.metric.name for c in self._metrics if isinstance(c.metric, Labels)), None)
        if name is None:
            return None
        found = [
            (place, first[0].detail, second[0].detail)
            for place, (first, second) in enumerate(
                zip(reference[name], candidate[name], strict=True)
            )
            if "label" in first[0].detail and "label" in second[0].detail
        ]
        return macro_f1_difference(
            [str(first["label"]) for _, first, _ in found],
            [first["given"] for _, first, _ in found],
            [second["given"] for _, _, second in found],
            None if clusters is None else [clusters[place] for place, _, _ in found],
        )

    def _clusters(self) -> list[Hashable] | None:
        key = self._options.cluster
        if key is None:
            return None
        found = [value_of(row, key) for row in self._rows]
        return [("row", i) if value is None else value for i, value in enumerate(found)]

    def _result(
        self,
        one: Participant,
        outcomes: Sequence[Sequence[ChatOutcome]],
        scores: Mapping[str, Sequence[RowScores]],
    ) -> ModelResult:
        flat = [outcome for answers in outcomes for outcome in answers]
        latencies = sorted(
            outcome.answer.latency_s
            for outcome in flat
            if outcome.answer is not None and outcome.answer.latency_s
        )
        noise = {name: noise_of(rows) for name, rows in scores.items()}
        return ModelResult(
            name=one.name,
            outcomes=outcome_counts(flat),
            summaries={
                chosen.metric.name: chosen.metric.summary(_flat(scores[chosen.metric.name]))
                for chosen in self._metrics
            },
            usd=_cost_of(one, flat),
            latency_p50_s=_quantile(latencies, 0.5),
            latency_p95_s=_quantile(latencies, 0.95),
            noise={name: found.disagreement for name, found in noise.items() if found is not None},
            answered_by=tuple(
                sorted({str(o.answer.model) for o in flat if o.answer and o.answer.model})
            ),
            tokens=mean_tokens(o.answer.usage for o in flat if o.answer is not None),
        )


def _said(answers: Sequence[ChatOutcome]) -> str:
    first = answers[0]
    if first.answer is None:
        return "" if first.error is None else f"(error: {first.error.what})"
    return answer_text(first.answer) or first.answer.refusal or ""


def _means(pairs: Pairs) -> Means:
    if not pairs.rows:
        return Means(None, None)
    return Means(statistics.fmean(pairs.reference), statistics.fmean(pairs.candidate))


def mean_tokens(usages: Iterable[Mapping[str, int]]) -> dict[str, float]:
    """Return the mean `prompt`, `cached` and `completion` tokens; empty where they are not reported."""
    known = [usage for usage in usages if "prompt_tokens" in usage]
    names = {
        "prompt": "prompt_tokens",
        "cached": "prompt_tokens_details.cached_tokens",
        "completion": "completion_tokens",
    }
    if not known:
        return {}
    return {
        ours: statistics.fmean(u.get(theirs, 0) for u in known) for ours, theirs in names.items()
    }


def _flat(rows: Sequence[RowScores]) -> list[Score]:
    return [score for row in rows for score in row]


def _quantile(ordered: Sequence[float], share: float) -> float | None:
    if not ordered:
        return None
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _cost_of(one: Participant, outcomes: Sequence[ChatOutcome]) -> Decimal | None:
    if not isinstance(one, AskedModel):
        return None
    stored = [one.store.get(outcome.id) for outcome in outcomes if outcome.answer is not None]
    costs = [None if found is None else found.usd for found in stored]
    known = [usd for usd in costs if usd is not None]
    return sum(known, Decimal(0)) if len(known) == len(costs) else None
