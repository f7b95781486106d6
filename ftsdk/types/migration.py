"""A migration: what is planned for each fine-tune of an account, and what became of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from ftsdk.types.capture import CapturePlan, Rights
from ftsdk.types.cost import Cost
from ftsdk.types.record import Record

__all__ = [
    "CandidatePlan",
    "CandidateResult",
    "FailedModel",
    "LeasePlan",
    "LostFeature",
    "MigratedModel",
    "Migration",
    "MigrationPlan",
    "ModelMigrationPlan",
    "SettingChange",
    "StepName",
]

StepName = Literal["inventory", "capture", "rights", "plan", "train", "compare", "report", "alias"]
"""The steps of a migration, in their order."""

MigrationResult = Literal["passed", "failed", "inconclusive", "not comparable"]
_EXIT_CODES: Mapping[str, int] = {
    "passed": 0,
    "failed": 8,
    "inconclusive": 7,
    "not comparable": 4,
}
_WORST: tuple[MigrationResult, ...] = ("not comparable", "failed", "inconclusive", "passed")


class SettingChange(Record):
    """One setting of the old job, and what the new one has. Values are shown with their unit.

    `change` is `same`, `chosen` (the old value does not convert, so another was chosen), `dropped`, or
    `set` (the caller gave it). `why` says so in a sentence.
    """

    name: str
    old: str
    new: str
    change: Literal["same", "chosen", "dropped", "set"]
    why: str = ""


class LostFeature(Record):
    """Something of the old model that the new ones do not have, and what it means for the user."""

    what: str
    old: str
    new: str
    meaning: str


class LeasePlan(Record):
    """A deployment that the comparison needs: at most `hours`, for `usd`; None is not known."""

    hours: float
    usd_per_hour: Decimal | None
    usd: Decimal | None


class CandidatePlan(Record):
    """One candidate: a model that is trained for it, or a prompt on a model that lives on.

    `rank` is its place by the cost of a month with its share of the training; 0 without one. `monthly_usd` is
    the range of its cost at the traffic of the migration and `per_1000_usd` the same for 1,000 requests; None
    where a price is not known, and `cost_note` says so. `break_even` is a range of requests a month from
    which it costs no more than the old model. `quality` is a sourced figure of its base, `unconfirmed` what no
    source states firmly. `refused` says why it cannot be trained; empty where it can.
    """

    name: str
    kind: Literal["tuned", "prompt"]
    provider: str
    model: str
    settings: tuple[SettingChange, ...] = ()
    hyperparameters: Mapping[str, Any] = Field(default_factory=dict)
    seed: int = 0
    adapter: Mapping[str, Any] | None = None
    training: Cost = Field(default_factory=Cost)
    lease: LeasePlan | None = None
    serving: str = ""
    rank: int = 0
    monthly_usd: tuple[Decimal, Decimal] | None = None
    per_1000_usd: tuple[Decimal, Decimal] | None = None
    break_even: tuple[int, int] | None = None
    cost_note: str = ""
    unconfirmed: tuple[str, ...] = ()
    quality: str = ""
    portability: str = ""
    ends_on: dt.date | None = None
    refused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def can_run(self) -> bool:
        """Whether it can be trained, or asked."""
        return not self.refused


class ModelMigrationPlan(Record):
    """What would be done for one fine-tune. `capture` is None once its answers are captured.

    `done` are the steps that have a receipt, `trained` the candidates whose job exists. `failed` says why nothing can be done; empty where it can.
    """

    model: str
    base_model: str | None = None
    ends_on: dt.date | None = None
    folder: Path
    capture: CapturePlan | None = None
    rights: Rights = Field(default_factory=Rights)
    training_rows: int | None = None
    test_rows: int | None = None
    candidates: tuple[CandidatePlan, ...] = ()
    lost: tuple[LostFeature, ...] = ()
    evaluation: Cost = Field(default_factory=Cost)
    evaluation_requests: int = 0
    done: tuple[str, ...] = ()
    trained: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    failed: str = ""


class MigrationPlan(Record):
    """What a migration would do, and cost, before anything is spent.

    `low` and `high` are US dollars for all that is still to be done: answers, training, deployments; None
    where a price is not known. `spent_usd` was spent by earlier calls. `bridges` are places that keep the
    same base for a while.
    """

    folder: Path
    provider: str
    models: tuple[ModelMigrationPlan, ...]
    margin: float | None
    requests_per_month: int
    budget: Decimal | None = None
    low: Decimal | None = None
    high: Decimal | None = None
    spent_usd: Decimal = Decimal(0)
    bridges: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class CandidateResult(Record):
    """What the comparison shows about a candidate; `result` and `verdict` as an evaluation has them.

    `difference`, `low` and `high` are points less than the old model's, as shares; `per_1000_usd` is what
    1,000 requests cost at the migration's traffic. A candidate that was not compared has no verdict, and
    `reason` says why.
    """

    name: str
    kind: Literal["tuned", "prompt"]
    provider: str
    model: str
    job_id: str | None = None
    result: MigrationResult
    verdict: str = ""
    reason: str = ""
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    per_1000_usd: tuple[Decimal, Decimal] | None = None


class MigratedModel(Record):
    """What became of one fine-tune: the candidates, the one to switch to, and where the report is.

    `snippet` calls the chosen candidate in three lines of Python.
    """

    model: str
    folder: Path
    result: MigrationResult
    reason: str
    ends_on: dt.date | None = None
    candidates: tuple[CandidateResult, ...] = ()
    chosen: str | None = None
    snippet: str = ""
    report: Path | None = None
    spent_usd: Decimal | None = None

    @property
    def exit_code(self) -> int:
        """0 passed, 8 failed, 7 inconclusive, 4 not comparable."""
        return _EXIT_CODES[self.result]


class FailedModel(Record):
    """A fine-tune that could not be migrated in this call: the error, and its exit code."""

    model: str
    what: str
    where: str = ""
    hint: str = ""
    exit_code: int = 1


class Migration(Record):
    """A migration at its end: each model with its verdict, and what all of it cost in US dollars.

    `failed` are the models whose steps did not all end; the same call continues them.
    """

    folder: Path
    provider: str
    models: tuple[MigratedModel, ...]
    failed: tuple[FailedModel, ...] = ()
    spent_usd: Decimal

    @property
    def result(self) -> MigrationResult:
        """The worst result of all models that were compared."""
        found = {one.result for one in self.models}
        return next(one for one in _WORST if one in found)

    @property
    def exit_code(self) -> int:
        """That of the first error, else that of the worst model: 0 passed, 8, 7, or 4."""
        return self.failed[0].exit_code if self.failed else _EXIT_CODES[self.result]
