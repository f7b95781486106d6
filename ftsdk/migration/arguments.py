"""What callers may give to a capture and to a migration: the options by name, with defaults and checks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from ftsdk.util.arguments import COUNT, FLAG, FUNCTION, MAPPING, NUMBER, PATH, TEXT, Check

if TYPE_CHECKING:
    from ftsdk.types.capture import CapturePlan, CaptureProgress, Rights
    from ftsdk.types.migration import MigrationPlan


class CaptureArguments(TypedDict, total=False):
    """The options of `capture`."""

    provider: str | None
    """Whose model it is; `ft:…` is OpenAI's."""
    into: str | Path | None
    """The folder of the bundle, made or continued; by default in `FTSDK_HOME`."""
    repeats: int | None
    """How often the model answers each row; its base answers once."""
    base: bool | None
    """Ask the base model as well. True by default."""
    batch: bool | None
    """None uses batches where the provider has them for this model; True nothing else; False none."""
    traffic: bool | None
    """Fetch the chats that the account stored. True by default."""
    options: Mapping[str, Any] | None
    """Chat options of each request: `temperature` 0 and `max_tokens` 256 by default; None leaves one out."""
    budget: Decimal | str | float | None
    """The most that the capture may cost, in US dollars."""
    rights: Rights | str | None
    """Where the answers in the training file came from: `own`, `internal-classifier`,
    `cleared: REASON` or `unknown`."""
    training: str | Path | None
    """A training file to compare the rows with, beside those of the model's job."""
    concurrency: int | None
    """The most requests at once; fewer where the provider's rate limits say so. 8 by default."""
    recoverable: bool | None
    """Ask the provider to keep each answer, so that none is lost when this process is killed."""
    on_plan: Callable[[CapturePlan], None] | None
    """Called before anything is asked; it may raise."""
    on_progress: Callable[[CaptureProgress], None] | None


CAPTURE_DEFAULTS: Mapping[str, Any] = {
    "repeats": 1,
    "base": True,
    "traffic": True,
    "concurrency": 8,
    "recoverable": False,
}
CAPTURE_CHECKS: Mapping[str, Check] = {
    "provider": TEXT,
    "into": PATH,
    "repeats": COUNT,
    "base": FLAG,
    "batch": FLAG,
    "traffic": FLAG,
    "options": MAPPING,
    "training": PATH,
    "concurrency": COUNT,
    "recoverable": FLAG,
    "on_plan": FUNCTION,
    "on_progress": FUNCTION,
}


class MigrationArguments(TypedDict, total=False):
    """The options of `migrate`."""

    to: str | Sequence[str] | None
    """Where to train: providers, or `provider:model`; several may be given."""
    models: Sequence[str] | None
    """The fine-tunes to replace, by name; by default all of the account."""
    prompts: Sequence[Any] | None
    """Prompts to compare as well: `ftsdk.Prompt`, or `provider:model`. By default one on the model that the
    provider names as the replacement; an empty list compares none."""
    name: str | None
    """Names the migration; by default the provider."""
    folder: str | Path | None
    """Where its receipts and reports are; `migration-NAME` in the current folder by default."""
    examples: int | None
    """How many of the old model's training rows each prompt shows: those nearest to the question. None by
    default. A `Prompt` that has its own examples keeps them."""
    requests: int | None
    """Requests a month, for the cost of each candidate."""
    peak: float | None
    """Requests in the busiest second, for the replicas that a model by the hour needs; by default three
    times the mean."""
    uncompared: bool | None
    """Train also where ftsdk cannot ask the new model, so that it is not compared. False by default."""
    margin: float | None
    """The loss that is accepted, as a share: 0.03, for 3 points, by default."""
    metrics: str | Sequence[Any] | None
    schema: Mapping[str, Any] | None
    slices: Sequence[Any] | None
    cluster: str | None
    repeats: int | None
    """How often each model answers each row."""
    options: Mapping[str, Any] | None
    """Chat options of each request: `temperature` 0 and `max_tokens` 256 by default; None leaves one out."""
    hyperparameters: Mapping[str, Any] | None
    """Hyperparameters of the new jobs; the others are taken over where they convert."""
    seed: int | None
    """The seed of the new jobs; that of the old job by default."""
    training: str | Path | None
    """The rows to train on, where the provider no longer has the training file."""
    rights: Rights | str | None
    """Where the answers in the training file came from: `own`, `internal-classifier`,
    `cleared: REASON` or `unknown`, which refuses to train."""
    budget: Decimal | str | float | None
    """The most that the whole migration may cost, in US dollars."""
    lease_hours: float | None
    """How long a deployment may run for the comparison; 1 by default. It is ended as soon as it is done."""
    retry: bool | None
    """Create jobs again that failed or were cancelled."""
    batch: bool | None
    traffic: bool | None
    recoverable: bool | None
    concurrency: int | None
    allow_findings: bool | Collection[str]
    """Acknowledges rows with secrets or personal data, as for `create_job`."""
    on_plan: Callable[[MigrationPlan], None] | None
    """Called before anything is spent; it may raise."""
    on_progress: Callable[[CaptureProgress], None] | None
    on_step: Callable[[str, str], None] | None
    """Called with the name of a step and what it does now."""


MIGRATION_DEFAULTS: Mapping[str, Any] = {
    "margin": 0.03,
    "metrics": "auto",
    "slices": (),
    "repeats": 1,
    "lease_hours": 1.0,
    "retry": False,
    "examples": 0,
    "uncompared": False,
    "traffic": True,
    "recoverable": False,
    "concurrency": 8,
    "allow_findings": False,
}
MIGRATION_CHECKS: Mapping[str, Check] = {
    "name": TEXT,
    "folder": PATH,
    "requests": COUNT,
    "examples": COUNT,
    "peak": NUMBER,
    "uncompared": FLAG,
    "margin": NUMBER,
    "schema": MAPPING,
    "cluster": TEXT,
    "repeats": COUNT,
    "options": MAPPING,
    "hyperparameters": MAPPING,
    "seed": COUNT,
    "training": PATH,
    "lease_hours": NUMBER,
    "retry": FLAG,
    "batch": FLAG,
    "traffic": FLAG,
    "recoverable": FLAG,
    "concurrency": COUNT,
    "on_plan": FUNCTION,
    "on_progress": FUNCTION,
    "on_step": FUNCTION,
}
