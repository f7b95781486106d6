"""Evaluate: ask every model the same rows, score the answers, and compare the candidates.

Margin and primary metric are written down before anything is asked. Answers come from the store: an
interrupted evaluation continues, and a second one of the same rows is free.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

from ftsdk.catalogue.inference_cost import chat_price
from ftsdk.dataset import Dataset
from ftsdk.errors import UsageError
from ftsdk.evaluation.answer_pairs import AnswerPairs, AssumedPairs, Joined
from ftsdk.evaluation.answers import AnswerStore, HoldsStores, Source
from ftsdk.evaluation.arguments import EvaluationArguments
from ftsdk.evaluation.ask import Lane, ask, recover
from ftsdk.evaluation.asked_rows import AskedRows
from ftsdk.evaluation.captured import Captured
from ftsdk.evaluation.cases import Case
from ftsdk.evaluation.chat_cost import estimate_chats, longest_answer, sum_costs
from ftsdk.evaluation.judging import Judged, Judging, judging_of
from ftsdk.evaluation.losses import losses_of, require_losses
from ftsdk.evaluation.metrics.choose import choose
from ftsdk.evaluation.metrics.loss import Loss
from ftsdk.evaluation.models import Model, TrainingFiles, training_files_of
from ftsdk.evaluation.options import EvaluationOptions, options_of
from ftsdk.evaluation.overlap import OverlapFinder
from ftsdk.evaluation.participants import (
    BASE,
    AskedModel,
    CapturedModel,
    FunctionModel,
    GivenModel,
    Named,
    Participant,
    Prompt,
    Resolved,
    resolved,
)
from ftsdk.evaluation.prompting import Prompting
from ftsdk.evaluation.report import EvaluationReport
from ftsdk.evaluation.run_money import RunMoney
from ftsdk.evaluation.scoring import Scoring
from ftsdk.evaluation.statistics.compare import MIN_ROWS
from ftsdk.session import Session
from ftsdk.types.capture import CaptureProgress
from ftsdk.types.cost import Cost
from ftsdk.util.files import atomic_file, atomic_write_json, make_private_folder

EVALUATIONS, PLAN, REPORT = "evaluations", "plan.json", "report.json"
"""The folder with the records of evaluations, and the files of each."""
Around = Callable[[Model], contextlib.AbstractContextManager[object]]
"""What surrounds the asking of a model, such as its deployment; only where something is asked."""


@dataclass(frozen=True)
class EvaluationPlan:
    """What an evaluation would ask, before anything is asked."""

    models: tuple[str, ...]
    reference: str
    rows: int
    left_out: tuple[int, ...]
    metrics: Mapping[str, str]
    margin: float | None
    to_ask: int
    stored: int
    cost: Cost
    notes: tuple[str, ...] = ()
    judge: str = ""
    """The model that compares the answers; its requests are in `to_ask`, as many as there may be."""


def evaluate(
    session: Session,
    data: Any,
    models: Sequence[GivenModel],
    given: EvaluationArguments | None = None,
) -> EvaluationReport:
    """Evaluate models on the same rows. See `Client.evaluate`."""
    asked = given or {}
    with Evaluating(
        session, data, models, options_of(asked), asked.get("on_progress")
    ) as evaluating:
        return evaluating.run(evaluating.plan())


class Evaluating(HoldsStores):
    """One evaluation: `plan` says what it would do, `run` does it. Use it as a context manager.

    `around` is entered before a model is asked, and left afterwards.
    """

    def __init__(
        self,
        session: Session,
        data: Any,
        models: Sequence[GivenModel],
        options: EvaluationOptions,
        on_progress: Callable[[CaptureProgress], None] | None = None,
        around: Around = contextlib.nullcontext,
    ) -> None:
        if len(models) < 2 or not 0 <= options.reference < len(models):
            raise UsageError(
                "An evaluation compares at least two models",
                where=f"{len(models)} models, reference {options.reference}",
                hint="give the model and a reference, such as its base: models=[job.id, 'base']",
            )
        super().__init__()
        self._session, self._options = session, options
        self._given, self._data = list(models), Dataset.load(data)
        self._on_progress = on_progress or (lambda _: None)
        self._around = around
        self._notes: list[str] = []
        self._stores: dict[Source, AnswerStore] = {}

    def _open(self) -> None:
        """Read the rows, choose the metrics, and find out who is asked what."""
        options = self._options
        folder = make_private_folder(self._session.home / EVALUATIONS)
        asked_rows = AskedRows(enumerate(self._data, 1), self._data.name, folder)
        found = list(resolved(self._session, self._given, options.provider))
        self._judging = self._judge_of()
        asked = [model for _, model, _ in found if model is not None]
        if self._judging is not None:
            asked.append(self._judging.model)
        sources = {model.source for model in asked}
        self._stores = {
            one: AnswerStore(self._session.home, one, clock=self._session.clock) for one in sources
        }
        self._lock(self._stores.values())
        if self._judging is not None:
            self._judging.store = self._stores[self._judging.lane.source]
        self._trained_on = self._training(found)
        overlap = self._overlap(asked_rows.cases, found)
        self._asked_rows = asked_rows.without(overlap) if overlap else asked_rows
        kept = set(self._asked_rows.lines)
        self._left_out = tuple(line for line in asked_rows.lines if line not in kept)
        if len(self._asked_rows) < MIN_ROWS:
            raise UsageError(
                f"{len(self._asked_rows)} rows are too few for a verdict",
                where=f"{self._data.name}; {len(self._left_out)} were left out",
                hint=f"give at least {MIN_ROWS} rows that no model was trained on",
            )
        self._metrics = choose(self._asked_rows.rows, options.metrics, schema=options.schema)
        self._people = [self._participant(*one) for one in found]
        self._check_names()
        if self._measures_loss:
            require_losses(self._people)

    @property
    def _measures_loss(self) -> bool:
        return any(isinstance(one.metric, Loss) for one in self._metrics)

    def _judge_of(self) -> Judging | None:
        given = self._options.judge
        if given is None:
            return None
        return judging_of(self._session, given, self._options.provider)

    def _training(self, found: Sequence[Resolved]) -> list[tuple[str, Dataset]]:
        """Return the files that the models were trained on, as far as they can be read."""
        files: dict[Source, TrainingFiles] = {}
        for _, model, _ in found:
            if model is None or not model.is_tuned or model.is_base or model.source in files:
                continue
            cache = self._stores[model.source].files
            trained = files[model.source] = training_files_of(self._session, model, cache)
            self._notes += [f"{model.name}: not read: {why}" for why in trained.not_read]
        return [one for trained in files.values() for one in trained.training]

    def _overlap(self, cases: Sequence[Case], found: Sequence[Resolved]) -> set[str]:
        """Return the ids of the cases that a model was trained on, or that a prompt shows."""
        if self._options.allow_overlap:
            self._notes.append("rows that a model was trained on are not left out")
            return set()
        shown = [
            (
                f"the examples of {prompt.name or 'a prompt'}",
                Dataset.load(list(prompt.given_examples)),
            )
            for _, _, prompt in found
            if prompt is not None and prompt.given_examples
        ]
        compared = [*self._trained_on, *shown]
        finder = OverlapFinder(cases if compared else ())
        return {one.case for name, dataset in compared for one in finder.find(dataset, name)}

    def _participant(
        self, given: GivenModel, model: Model | None, prompt: Prompt | None
    ) -> Participant:
        if isinstance(given, Captured):
            captured = CapturedModel(given)
            if captured.decoding != self._options.decoding:
                self._notes.append(f"{captured.name} answered with {captured.decoding}")
            return captured
        if model is None:
            return FunctionModel(given, self._options.repeats, self._session.home)  # type: ignore[arg-type]  # by now it is a function
        source = model.source
        store = self._stores[source]
        price = chat_price(source.provider, source.model, self._session.catalogue)
        lane = Lane("", model.backend, model.handle, source, price, asks_base=model.is_base)
        name = _name_of(given, model, prompt)
        asked = AskedModel(name, model, lane, store, self._options.repeats, self._asked_rows)
        if prompt is None:
            asked.want(self._options.decoding)
            return asked
        prompting = Prompting(
            prompt,
            model,
            self._asked_rows,
            self._options.cluster,
            [dataset for _, dataset in self._trained_on],
        )
        asked.is_prompt = True
        asked.want(self._options.decoding, prompting.messages_for)
        if prompting.note:
            self._notes.append(f"{name}: {prompting.note}")
        return asked

    def _check_names(self) -> None:
        names = [one.name for one in self._people]
        double = sorted({name for name in names if names.count(name) > 1})
        if double:
            raise UsageError(
                f"Two models are called {', '.join(double)}",
                where="the models of the evaluation",
                hint="give a Prompt another name, or leave one of them out",
            )

    @property
    def _asked(self) -> list[AskedModel]:
        return [one for one in self._people if isinstance(one, AskedModel)]

    # --- the plan ---

    def plan(self) -> EvaluationPlan:
        """Return what would be asked, and what it would cost. Nothing is asked."""
        costs, missing, wanted = [], 0, 0
        for one in self._asked:
            still = one.lane.missing(one.store)
            limits = one.model.backend.limits_for(one.model.handle.base_model)
            costs.append(estimate_chats(one.lane, still, limits, batch=False, may_chat=True))
            missing += len(one.lane.missing_keys(one.store))
            wanted += len(one.lane.wanted)
        stored = wanted - missing
        if self._judging is not None:
            verdicts, cost = self._verdicts_to_ask(self._judging)
            missing += verdicts
            costs.append(cost)
        self._total, self._done = missing + stored, stored
        return EvaluationPlan(
            models=tuple(one.name for one in self._people),
            reference=self._people[self._options.reference].name,
            rows=len(self._asked_rows),
            left_out=self._left_out,
            metrics={one.metric.name: one.reason for one in self._metrics},
            margin=self._options.margin,
            to_ask=missing,
            stored=stored,
            cost=sum_costs(costs) if costs else Cost(low=Decimal(0), high=Decimal(0)),
            notes=tuple(self._notes),
            judge="" if self._judging is None else self._judging.name,
        )

    def _verdicts_to_ask(self, judging: Judging) -> tuple[int, Cost]:
        """Return how many verdicts are still to be asked for, at most, and what they cost."""
        longest = longest_answer(self._options.decoding)
        controls = judging.controls(self._asked_rows.cases, self._asked_rows.rows)
        pairs = [self._stored_pairs(one) for one in self._candidates]
        shortest, most = (
            Joined(controls, *(AssumedPairs(self._asked_rows, one, words) for one in pairs))
            for words in (None, longest)
        )
        return judging.estimate(shortest, most)

    @property
    def _candidates(self) -> list[Participant]:
        return [one for i, one in enumerate(self._people) if i != self._options.reference]

    def _pairs(self, candidate: Participant) -> AnswerPairs:
        """Return the answers of the reference and a candidate to each row."""
        reference = self._people[self._options.reference]
        return AnswerPairs(self._asked_rows, reference.outcomes, candidate.outcomes)

    def _stored_pairs(self, candidate: Participant) -> AnswerPairs | None:
        """Return the answers as far as they are there; None with a function, which is not asked yet."""
        both = (self._people[self._options.reference], candidate)
        if any(isinstance(one, FunctionModel) for one in both):
            return None
        return self._pairs(candidate)

    # --- the run ---

    def run(self, plan: EvaluationPlan) -> EvaluationReport:
        """Ask what is missing, score and compare. Raises `BudgetError` before anything is asked."""
        started = self._session.clock.now()
        record = self._record(plan)
        money = self._money
        if plan.to_ask and (models := self._models_asked):
            place, what = models[0].backend.name, f"evaluation of {plan.rows} rows"
            money.hold(place, models[0].name, plan.cost, what, self._options.budget)
        try:
            for one in self._asked:
                if one.lane.missing_keys(one.store):
                    with self._around(one.model):
                        self._ask(one.name, one.lane, one.store)
            judged = {} if self._judging is None else self._judged(self._judging)
        finally:
            if plan.to_ask:
                money.release()
        scoring = Scoring(
            self._asked_rows, self._metrics, self._people, self._options, self._session.home
        )
        report = scoring.report(
            self._data.name,
            plan.metrics,
            started,
            self._session.clock.now(),
            self._left_out,
            tuple(self._notes),
            judged,
            losses_of(self._people, self._asked_rows.rows) if self._measures_loss else {},
        )
        with atomic_file(record / REPORT) as handle:
            handle.writelines(report.json_blocks())
        return report

    def _record(self, plan: EvaluationPlan) -> Path:
        """Write down margin, metrics and models before anything is asked; return the folder."""
        now = self._session.clock.now()
        folder = self._session.home / EVALUATIONS / f"{now:%Y%m%d-%H%M%S}-{self._money.id[-8:]}"
        make_private_folder(folder)
        facts = {
            **vars(plan),
            "asked": sorted({*self._models_named}),
            "data": None if self._data.path is None else str(Path(self._data.path).absolute()),
            "cost": plan.cost.model_dump(mode="json"),
            "planned_at": now.isoformat(),
        }
        atomic_write_json(folder / PLAN, facts)
        return folder

    @property
    def _models_asked(self) -> list[Model]:
        judge = [] if self._judging is None else [self._judging.model]
        return [*(one.model for one in self._asked), *judge]

    @property
    def _models_named(self) -> Iterator[str]:
        """The models whose answers are read, by the names that they have at their providers."""
        yield from (one.name for one in self._models_asked)
        yield from (str(one.model) for one in self._people if isinstance(one, CapturedModel))

    @cached_property
    def _money(self) -> RunMoney:
        """The money of an evaluation of these rows and models."""
        keys = [bytes.fromhex(key) for asked in self._asked for key in asked.lane.wanted.keys()]  # noqa: SIM118  # no mapping
        if self._judging is not None:
            keys.append(bytes.fromhex(self._judging.lane.source.digest))
        digest = hashlib.sha256()
        for number, key in enumerate(sorted(keys)):
            digest.update(f"{' ' if number else ''}{key.hex()}".encode())
        free = all(one.backend.capabilities.price == "free" for one in self._models_asked)
        return RunMoney(self._session, f"evaluation-{digest.hexdigest()[:24]}", free)

    def spent_so_far(self) -> Decimal:
        """Return what the answers of this evaluation have cost in all calls, in US dollars."""
        return self._money.spent_in_all_calls()

    def _judged(self, judging: Judging) -> dict[str, Judged]:
        """Ask the judge: its controls first, then each candidate's answers beside the reference's."""
        assert judging.store is not None  # noqa: S101  # set by `_open`
        name = f"the judge {judging.name}"
        found = {}
        with self._around(judging.model):
            rows = self._asked_rows
            judging.want(judging.controls(rows.cases, rows.rows), equal_too=True)
            self._ask(name, judging.lane, judging.store)
            judging.check(rows.rows)
            for candidate in self._candidates:
                pairs = self._pairs(candidate)
                judging.want(pairs)
                self._ask(name, judging.lane, judging.store)
                found[candidate.name] = judging.opinions(pairs)
        return found

    def _ask(self, name: str, lane: Lane, store: AnswerStore) -> None:
        free = lane.backend.capabilities.price == "free"

        def booked(usd: Decimal | None, calls: int, once: str) -> None:
            self._money.book(Decimal(0) if free else usd, calls, once)

        def answered() -> None:
            self._done += 1
            done = CaptureProgress(
                done=min(self._done, self._total),
                total=self._total,
                spent_usd=self._money.spent,
                text=f"asking {name}",
            )
            self._on_progress(done)

        recover(lane, store, clock=self._session.clock, on_spent=booked)
        ask(
            lane,
            store,
            clock=self._session.clock,
            concurrency=self._options.concurrency,
            recoverable=self._options.recoverable and lane.backend.capabilities.has_stored_chats,
            on_spent=booked,
            on_answer=answered,
        )


def _name_of(given: GivenModel, model: Model, prompt: Prompt | None) -> str:
    if given == BASE:
        return BASE
    if isinstance(given, Named):
        return given.name
    if prompt is not None:
        return prompt.name or f"prompt on {model.name}"
    return given if isinstance(given, str) else model.name
