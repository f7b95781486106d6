"""Score the answers of all models, and compare each candidate with the reference."""

from __future__ import annotations

import datetime as dt
import statistics
import sys
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ftsdk.backends.answer_losses import AnswerLoss
from ftsdk.dataset.row import Row
from ftsdk.evaluation.asked_rows import AskedRows
from ftsdk.evaluation.cases import Case
from ftsdk.evaluation.gate import gate
from ftsdk.evaluation.judging import METRIC, Judged
from ftsdk.evaluation.losses import Losses
from ftsdk.evaluation.metrics.labels import Labels
from ftsdk.evaluation.metrics.loss import Loss
from ftsdk.evaluation.metrics.metric import Chosen, Metric, score_outcome, text_of
from ftsdk.evaluation.options import EvaluationOptions
from ftsdk.evaluation.pairs import Pairs, RowScores, compare_pairs, paired
from ftsdk.evaluation.participants import AskedModel, Participant
from ftsdk.evaluation.report import EvaluationReport
from ftsdk.evaluation.report_parts import CandidateResult, ModelResult
from ftsdk.evaluation.slices import slices_of, value_of
from ftsdk.evaluation.statistics.compare import corrected_choice, not_comparable
from ftsdk.evaluation.statistics.macro_f1 import MacroF1Difference, macro_f1_difference
from ftsdk.evaluation.statistics.paired import ALPHA
from ftsdk.evaluation.table import Means
from ftsdk.evaluation.tally import Costs, Tally, said
from ftsdk.types.chat import ChatOutcome
from ftsdk.types.evaluation import Comparison, Score, Verdict
from ftsdk.util.spilled import Spilled


@dataclass
class _Compared:
    """A candidate with its pairs and comparisons by metric, before they are corrected."""

    name: str
    pairs: dict[str, Pairs]
    compared: dict[str, Comparison]
    macro_f1: MacroF1Difference | None


class Scoring:
    """The rows, the metrics and the models of one evaluation, all answers there."""

    def __init__(
        self,
        asked: AskedRows,
        metrics: Sequence[Chosen],
        people: Sequence[Participant],
        options: EvaluationOptions,
        folder: Path,
    ) -> None:
        self._asked, self._metrics = asked, metrics
        self._people, self._options = people, options
        self._folder = folder

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
        counted, models, texts = self._scored(losses)
        reference = self._people[self._options.reference].name
        compared = [
            self._compared(counted[reference].scores, counted[one.name].scores, one.name, judged)
            for one in self._people
            if one.name != reference
        ]
        candidates = tuple(self._gated(one) for one in self._corrected(compared))
        return EvaluationReport(
            data=data,
            rows=len(self._asked),
            reference=reference,
            candidates=candidates,
            models=models,
            metrics=chosen_because,
            margin=self._options.margin,
            clusters=self._options.cluster,
            repeats=self._options.repeats,
            decoding=self._options.decoding,
            started_at=started_at,
            ended_at=ended_at,
            left_out=left_out,
            notes=(*notes, *self._notes(candidates)),
            texts=texts,
            lines=self._asked.lines,
            judged={
                one.name: judged[one.name].summary(next(iter(one.pairs.values())))
                for one in candidates
                if one.name in judged
            },
        )

    def _scored(
        self, losses: Losses
    ) -> tuple[dict[str, Tally], tuple[ModelResult, ...], Spilled[dict[str, str]]]:
        """Score the answers, row by row; return what each model did, and the texts of each row."""
        metrics = [one.metric for one in self._metrics]
        counted = {one.name: Tally(one.name, metrics, self._folder) for one in self._people}
        costs = {one.name: Costs() for one in self._people if isinstance(one, AskedModel)}
        texts: Spilled[dict[str, str]] = Spilled(folder=self._folder)
        distinct = 0
        for place, (case, row) in enumerate(zip(self._asked.cases, self._asked.rows, strict=True)):
            is_new = (
                self._asked.number_of(case) == distinct
            )  # a case that is asked twice costs once
            distinct += is_new
            shown = {}
            for one in self._people:
                outcomes = self._outcomes(one, case, costs.get(one.name) if is_new else None)
                loss = losses[one.name][place] if one.name in losses else None
                found = {each.name: _scores(each, row, outcomes, loss) for each in metrics}
                counted[one.name].add(outcomes, found)
                shown[one.name] = said(outcomes)
            expected = "" if case.reference is None else text_of(case.reference)
            texts.append({**shown, "asked": text_of(case.messages[-1]), "expected": expected})
        models = (
            counted[one.name].result(costs[one.name].usd if one.name in costs else None)
            for one in self._people
        )
        return counted, tuple(models), texts

    @staticmethod
    def _outcomes(one: Participant, case: Case, costs: Costs | None) -> Sequence[ChatOutcome]:
        """Return what became of a case, and count what it cost."""
        if costs is None or not isinstance(one, AskedModel):
            return one.outcomes(case)
        priced = one.priced(case)
        for _, usd in priced:
            costs.add(usd)
        return [outcome for outcome, _ in priced]

    def _compared(
        self,
        reference: Mapping[str, Sequence[RowScores]],
        candidate: Mapping[str, Sequence[RowScores]],
        name: str,
        judged: Mapping[str, Judged],
    ) -> _Compared:
        clusters = self._clusters
        pairs: dict[str, Pairs] = {}
        compared: dict[str, Comparison] = {}
        for number, chosen in enumerate(self._metrics):
            metric = chosen.metric.name
            pairs[metric] = paired(reference[metric], candidate[metric])
            margin = self._options.margin if number == 0 else None
            compared[metric] = compare_pairs(pairs[metric], margin=margin, clusters=clusters)
        if name in judged:
            pairs[METRIC] = judged[name].pairs()
            fault = judged[name].fault
            compared[METRIC] = (
                not_comparable(fault, rows=len(pairs[METRIC].rows))
                if fault
                else compare_pairs(pairs[METRIC], clusters=clusters)
            )
        return _Compared(name, pairs, compared, self._macro_f1(reference, candidate, clusters))

    @property
    def _primary(self) -> str:
        return self._metrics[0].metric.name

    def _corrected(self, found: Sequence[_Compared]) -> Sequence[_Compared]:
        """Return the comparisons, the verdicts of those of which one is chosen corrected together."""
        chosen = [one for one in found if one.name in self._options.one_of]
        if len(chosen) < 2:
            return found
        after = corrected_choice([one.compared[self._primary] for one in chosen])
        for one, comparison in zip(chosen, after, strict=True):
            was = one.compared[self._primary].verdict
            changes: dict[str, Any] = {}
            if comparison.verdict is Verdict.INCONCLUSIVE and was is not Verdict.INCONCLUSIVE:
                changes["rows_needed"] = self._needed(one.pairs[self._primary], len(chosen))
            one.compared[self._primary] = comparison.model_copy(update=changes)
        return found

    def _needed(self, pairs: Pairs, candidates: int) -> int | None:
        """Return the rows that would settle it also if it is the first of so many candidates."""
        margin, alpha = self._options.margin, ALPHA / candidates
        return compare_pairs(pairs, margin=margin, clusters=self._clusters, alpha=alpha).rows_needed

    def _notes(self, candidates: Sequence[CandidateResult]) -> Iterator[str]:
        count = sum(one.name in self._options.one_of for one in candidates)
        if count > 1:
            yield (
                f"{count} candidates are compared and one of them is chosen: their verdicts hold "
                "together, after Holm's correction"
            )

    def _gated(self, one: _Compared) -> CandidateResult:
        """Compare the slices of a candidate, and say whether it passes."""
        pairs, parts = one.pairs, self._parts
        primary = pairs[self._primary]
        sliced = {
            part: compare_pairs(
                primary.within(rows), margin=self._options.margin, clusters=self._clusters
            )
            for part, rows in parts.items()
        }
        means = {metric: _means(found) for metric, found in pairs.items()}
        means |= {part: _means(primary.within(rows)) for part, rows in parts.items()}
        return CandidateResult(one.name, gate(one.compared, sliced), means, pairs, one.macro_f1)

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
        places, labels = list[int](), list[tuple[Any, ...]]()
        for place, (first, second) in enumerate(zip(reference[name], candidate[name], strict=True)):
            one, other = first[0].detail, second[0].detail
            if "label" in one and "label" in other:
                places.append(place)
                found = (one["label"], one["given"], other["given"])
                labels.append(tuple(None if each is None else sys.intern(each) for each in found))
        return macro_f1_difference(
            [label for label, _, _ in labels],
            [given for _, given, _ in labels],
            [given for _, _, given in labels],
            None if clusters is None else [clusters[place] for place in places],
        )

    @cached_property
    def _parts(self) -> dict[str, tuple[int, ...]]:
        """The rows of each slice."""
        return {one.name: one.rows for one in slices_of(self._asked.rows, self._options.slices)}

    @cached_property
    def _clusters(self) -> list[Hashable] | None:
        key = self._options.cluster
        if key is None:
            return None
        found = [value_of(row, key) for row in self._asked.rows]
        return [("row", i) if value is None else value for i, value in enumerate(found)]


def _scores(
    metric: Metric, row: Row, outcomes: Sequence[ChatOutcome], loss: AnswerLoss | None
) -> list[Score]:
    """Return the scores of a row: of its answers, or of the model's loss on it."""
    if isinstance(metric, Loss):
        return [metric.score_of(loss)]
    return [score_outcome(metric, row, outcome) for outcome in outcomes]


def _means(pairs: Pairs) -> Means:
    if not pairs.rows:
        return Means(None, None)
    return Means(statistics.fmean(pairs.reference), statistics.fmean(pairs.candidate))
