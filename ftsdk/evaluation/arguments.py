"""What callers may give to an evaluation: the options by name, with defaults and checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypedDict

from ftsdk.util.arguments import COUNT, FLAG, FUNCTION, MAPPING, NUMBER, TEXT, Check

if TYPE_CHECKING:
    from ftsdk.types.capture import CaptureProgress


class EvaluationArguments(TypedDict, total=False):
    """The options of `evaluate`."""

    reference: int | None
    """The place of the reference in `models`; the others are compared with it. 0 by default."""
    provider: str | None
    """Whose models they are, where a name alone does not say it."""
    metrics: str | Sequence[Any] | None
    """`auto` chooses by the rows; or names, metrics and functions, the primary one first."""
    schema: Mapping[str, Any] | None
    """The JSON schema that answers must fit."""
    judge: Any | None
    """A model that compares the answers of two models: a handle, a job's id, `PROVIDER:MODEL`, or a
    `Judge` of one of these. It is one more metric, which can stop a candidate and never carry it."""
    margin: float | None
    """The loss that is accepted, as a share: 0.03 for 3 points. Without it nothing is at parity."""
    slices: Sequence[Any] | None
    """Parts to compare by themselves: `label`, `length`, `language`, a key of the rows, or a function."""
    cluster: str | None
    """A key of the rows: rows with the same value do not vary independently."""
    repeats: int | None
    """How often each model answers each row; the mean of a row's answers is compared."""
    options: Mapping[str, Any] | None
    """Chat options of each request: `temperature` 0 and `max_tokens` 256 by default; None leaves one out."""
    budget: Decimal | str | float | None
    """The most that the evaluation may cost, in US dollars."""
    concurrency: int | None
    allow_overlap: bool | None
    """Keep rows that a model was trained on. They are left out by default."""
    recoverable: bool | None
    """Ask providers that can to keep each answer, so that none is lost when this process is killed."""
    on_progress: Callable[[CaptureProgress], None] | None


EVALUATION_DEFAULTS: Mapping[str, Any] = {
    "reference": 0,
    "metrics": "auto",
    "slices": (),
    "repeats": 1,
    "concurrency": 8,
    "allow_overlap": False,
    "recoverable": False,
}
EVALUATION_CHECKS: Mapping[str, Check] = {
    "provider": TEXT,
    "schema": MAPPING,
    "margin": NUMBER,
    "cluster": TEXT,
    "repeats": COUNT,
    "options": MAPPING,
    "concurrency": COUNT,
    "allow_overlap": FLAG,
    "recoverable": FLAG,
    "on_progress": FUNCTION,
}
