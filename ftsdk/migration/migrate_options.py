"""How to migrate, as the caller has chosen."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from ftsdk.catalogue.serving_cost import SECONDS
from ftsdk.errors import UsageError
from ftsdk.evaluation.arguments import EvaluationArguments
from ftsdk.evaluation.options import EvaluationOptions, usd_of
from ftsdk.evaluation.options import options_of as evaluation_options_of
from ftsdk.evaluation.participants import Prompt
from ftsdk.migration.arguments import MIGRATION_DEFAULTS, MigrationArguments
from ftsdk.migration.options import CaptureOptions, rights_of
from ftsdk.types.capture import Rights

PEAK = 3.0
"""The busiest second against the mean one, where nobody has measured it."""
ASSUMED_REQUESTS = 100_000
"""Requests a month where nobody has said how many there are."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Target:
    """Where a replacement is trained; without a model, one is chosen there."""

    provider: str
    model: str = ""

    def __str__(self) -> str:
        return f"{self.provider}:{self.model}" if self.model else self.provider


@dataclass(frozen=True)
class MigrationOptions:
    """How to migrate; see `Client.migrate`."""

    targets: tuple[Target, ...] = ()
    models: tuple[str, ...] = ()
    prompts: tuple[Prompt, ...] | None = None
    name: str = ""
    folder: Path | None = None
    examples: int = 0
    requests: int | None = None
    peak: float | None = None
    uncompared: bool = False
    margin: float | None = 0.03
    metrics: Any = "auto"
    schema: Mapping[str, Any] | None = None
    slices: tuple[Any, ...] = ()
    cluster: str | None = None
    repeats: int = 1
    chat_options: Mapping[str, Any] | None = None
    hyperparameters: Mapping[str, Any] | None = None
    seed: int | None = None
    training: Path | None = None
    rights: Rights | None = None
    budget: Decimal | None = None
    lease_hours: float = 1.0
    retry: bool = False
    batch: bool | None = None
    traffic: bool = True
    recoverable: bool = False
    concurrency: int = 8
    allow_findings: bool | Collection[str] = False

    def capture(self, budget: Decimal | None) -> CaptureOptions:
        """Return the options of the capture."""
        return CaptureOptions(
            repeats=self.repeats,
            batch=self.batch,
            traffic=self.traffic,
            options=dict(self.chat_options or {}),
            budget=budget,
            rights=self.rights,
            training=self.training,
            concurrency=self.concurrency,
            recoverable=self.recoverable,
        )

    def evaluation(self, budget: Decimal | None = None) -> EvaluationOptions:
        """Return the options of the comparison; the captured model is the reference."""
        given: EvaluationArguments = {
            "metrics": self.metrics,
            "schema": self.schema,
            "margin": self.margin,
            "slices": self.slices,
            "cluster": self.cluster,
            "repeats": self.repeats,
            "options": self.chat_options,
            "budget": budget,
            "concurrency": self.concurrency,
            "recoverable": self.recoverable,
        }
        return evaluation_options_of(given)

    @property
    def monthly_requests(self) -> int:
        """Requests a month; an assumption where they were not given."""
        return ASSUMED_REQUESTS if self.requests is None else self.requests

    @property
    def peak_factor(self) -> float:
        """The busiest second against the mean one; an assumption where the peak was not given."""
        if self.peak is None or not self.monthly_requests:
            return PEAK
        return self.peak * SECONDS / self.monthly_requests

    def measured_by(self) -> dict[str, Any]:
        """Return what decides how the models are compared; recorded before anything is asked."""
        return {
            "margin": self.margin,
            "metrics": _names(self.metrics),
            "schema": self.schema,
            "slices": _names(self.slices),
            "cluster": self.cluster,
            "repeats": self.repeats,
            "options": self.evaluation().decoding,
        }


def migration_options_of(provider: str, given: MigrationArguments) -> MigrationOptions:
    """Return the options of a migration. Raises `UsageError` that names what cannot be used."""
    one: dict[str, Any] = {
        **MIGRATION_DEFAULTS,
        **{name: value for name, value in given.items() if value is not None},
    }
    rights, prompts = one.get("rights"), one.get("prompts")
    options = MigrationOptions(
        targets=targets_of(one.get("to") or ()),
        models=tuple(one.get("models") or ()),
        prompts=None if prompts is None else tuple(_prompt(each, provider) for each in prompts),
        name=_checked_name(one.get("name") or provider),
        folder=None if one.get("folder") is None else Path(one["folder"]),
        examples=one["examples"],
        requests=one.get("requests"),
        peak=one.get("peak"),
        uncompared=one["uncompared"],
        margin=one["margin"],
        metrics=one["metrics"],
        schema=one.get("schema"),
        slices=tuple(one["slices"]),
        cluster=one.get("cluster"),
        repeats=one["repeats"],
        chat_options=one.get("options"),
        hyperparameters=one.get("hyperparameters"),
        seed=one.get("seed"),
        training=None if one.get("training") is None else Path(one["training"]),
        rights=None if rights is None else rights_of(rights),
        budget=usd_of(one.get("budget"), "migrate"),
        lease_hours=one["lease_hours"],
        retry=one["retry"],
        batch=one.get("batch"),
        traffic=one["traffic"],
        recoverable=one["recoverable"],
        concurrency=one["concurrency"],
        allow_findings=one["allow_findings"],
    )
    if options.peak is not None and not options.peak > 0:
        raise UsageError(
            f"The peak is {options.peak:g} requests a second",
            where="migrate",
            hint="the requests in your busiest second: --peak 12",
        )
    options.evaluation()  # a wrong margin is an error now, not after the training
    if not options.targets and not options.prompts:
        raise UsageError(
            "Nothing says where to go",
            where="migrate",
            hint="--to together,local (to=[…]) trains there; --prompt openai:gpt-6-luna compares a prompt",
        )
    return options


def targets_of(given: str | Sequence[str]) -> tuple[Target, ...]:
    """Return the targets of `together,local` or of a list; each is named once."""
    texts = given.split(",") if isinstance(given, str) else [x for one in given for x in one.split(",")]  # fmt: skip
    found: dict[Target, None] = {}
    for text in (one.strip() for one in texts):
        provider, colon, model = text.partition(":")
        if not provider.strip() or (colon and not model.strip()):
            raise UsageError(
                f"A target is given as {text!r}",
                where="migrate",
                hint="a provider, or PROVIDER:MODEL: --to together:Qwen/Qwen3-8B,local",
            )
        found[Target(provider.strip(), model.strip())] = None
    return tuple(found)


def _prompt(given: Any, provider: str) -> Prompt:
    """Return a prompt from `provider:model`, or from a model at the provider that is left."""
    if isinstance(given, Prompt):
        return given
    if not isinstance(given, str) or not given.strip():
        raise UsageError(
            "A prompt is an ftsdk.Prompt, or PROVIDER:MODEL",
            where="migrate",
            hint="prompts=['openai:gpt-6-luna']",
        )
    named, colon, model = given.partition(":")
    return Prompt(model=model if colon else given, provider=named if colon else provider)


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"A migration cannot be named {name[:80]!r}",
            where="migrate",
            hint="letters, digits, dots, dashes: --name support-2026",
        )
    return name


def _names(given: Any) -> Any:
    """Return metrics or slices as a receipt can keep them: functions by their name."""
    if isinstance(given, str):
        return given
    return [one if isinstance(one, str) else getattr(one, "__name__", str(one)) for one in given]
