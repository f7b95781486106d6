"""How to evaluate, as the caller has chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from ftsdk.errors import UsageError
from ftsdk.evaluation.arguments import EVALUATION_DEFAULTS, EvaluationArguments
from ftsdk.evaluation.metrics.choose import GivenMetric
from ftsdk.evaluation.metrics.judge import Judge
from ftsdk.evaluation.slices import Slicer
from ftsdk.types.chat import with_defaults
from ftsdk.types.model import ModelHandle

GivenJudge = str | ModelHandle | Judge


@dataclass(frozen=True)
class EvaluationOptions:
    """How to evaluate; see `Client.evaluate`."""

    reference: int = 0
    provider: str | None = None
    metrics: str | Sequence[GivenMetric] = "auto"
    schema: Mapping[str, Any] | None = None
    judge: GivenJudge | None = None
    margin: float | None = None
    slices: Sequence[Slicer] = ()
    cluster: str | None = None
    repeats: int = 1
    chat_options: Mapping[str, Any] | None = None
    budget: Decimal | None = None
    concurrency: int = 8
    allow_overlap: bool = False
    recoverable: bool = False
    one_of: tuple[str, ...] = ()
    """The candidates of which one will be chosen: their verdicts are corrected together."""

    @property
    def decoding(self) -> dict[str, Any]:
        """The chat options of every request."""
        return with_defaults(self.chat_options or {})


def options_of(given: EvaluationArguments) -> EvaluationOptions:
    """Return the options of an evaluation. Raises `UsageError` for a margin or amount that is none."""
    one: dict[str, Any] = {
        **EVALUATION_DEFAULTS,
        **{name: value for name, value in given.items() if value is not None},
    }
    margin = one.get("margin")
    if margin is not None and not 0 < margin < 1:
        raise UsageError(
            f"A margin of {margin:g} is no share between 0 and 1",
            where="evaluate",
            hint="0.03 is a margin of 3 points",
        )
    return EvaluationOptions(
        reference=one["reference"],
        provider=one.get("provider"),
        metrics=one["metrics"],
        schema=one.get("schema"),
        judge=one.get("judge"),
        margin=margin,
        slices=one["slices"],
        cluster=one.get("cluster"),
        repeats=one["repeats"],
        chat_options=one.get("options"),
        budget=usd_of(one.get("budget"), "evaluate"),
        concurrency=one["concurrency"],
        allow_overlap=one["allow_overlap"],
        recoverable=one["recoverable"],
    )


def usd_of(value: Decimal | str | float | None, where: str) -> Decimal | None:
    """Return an amount in US dollars. Raises `UsageError` for anything else."""
    if value is None:
        return None
    try:
        amount = Decimal(str(value).removeprefix("$"))
    except InvalidOperation:
        amount = Decimal("nan")
    if amount.is_finite() and amount >= 0:
        return amount
    raise UsageError(
        f"The budget is {value!r}, which is not an amount in US dollars",
        where=where,
        hint="for instance 5 or 2.50",
    )


def margin_of(points: float) -> float:
    """Return a margin in points, such as 3, as the share that the library takes, 0.03."""
    return points / 100
