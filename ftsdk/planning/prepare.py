"""Creating a job, in two steps: what was checked and planned is what is sent."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import ftsdk.dataset
from ftsdk.config import Config
from ftsdk.errors import BudgetError, DatasetError, Unsupported, UsageError
from ftsdk.types.job import JobSnapshot
from ftsdk.types.plan import Plan
from ftsdk.types.spec import Hyperparameters, JobSpec, LoRA, Method

if TYPE_CHECKING:
    from ftsdk.client import Client
    from ftsdk.dataset import Dataset, DatasetReport

__all__ = [
    "DEFAULT",
    "AdapterArgument",
    "PreparedJob",
    "Rows",
    "check_key",
    "prepare",
    "spec_of",
    "submit",
    "twin_of",
]

Rows: TypeAlias = "str | Path | Dataset | Iterable[Mapping[str, Any]]"
"""Where rows come from: a path, a `Dataset`, a list of rows, or any iterable of rows."""

DEFAULT: Literal["default"] = "default"
AdapterArgument = LoRA | Mapping[str, Any] | Literal["default"] | None
"""An adapter, the configured one (`DEFAULT`), or None for full fine-tuning."""


@dataclass(frozen=True)
class PreparedJob:
    """A job that is checked and planned, and not sent."""

    spec: JobSpec
    train: Dataset
    validation: Dataset | None
    report: DatasetReport
    plan: Plan

    @property
    def fingerprint(self) -> str:
        """What makes two jobs the same: see `JobSpec.fingerprint`."""
        check = None if self.validation is None else self.validation.sha256
        return self.spec.fingerprint(self.train.sha256, check)


# --- first step: nothing is sent ---------------------------------------------------------------------


def prepare(
    client: Client,
    dataset: Rows,
    validation: Rows | float | None = None,
    *,
    fetch: bool = False,
    **asked: Any,
) -> PreparedJob:
    """Read, check and plan what is asked (see `spec_of`); the rows are read once. Sends nothing.

    With `fetch`, for a create, a base model that may be fetched is fetched first. Raises
    `ConfigError`, `SpecError`, `Unsupported`, `DatasetError`, `BudgetError`, `ProviderClosed`.
    """
    from ftsdk.planning.estimate import counted
    from ftsdk.spending.reserve import budgeted, checked

    spec = spec_of(client.config, **asked)
    backend = client.backend(spec.provider)
    backend.check(spec)
    if fetch:
        backend.fetch_base_model(spec)
    train, check, report = _rows(client, dataset, validation, spec)
    plan = counted(backend.plan(spec, train), report, backend.speed_of(spec))
    plan = budgeted(client, checked(client, plan, spec), spec)
    _within_budget(plan, spec)
    return PreparedJob(spec, train, check, report, plan)


def spec_of(
    config: Config,
    *,
    model: str | None = None,
    provider: str | None = None,
    method: Method | None = None,
    adapter: AdapterArgument = DEFAULT,
    hyperparameters: Hyperparameters | Mapping[str, Any] | None = None,
    name: str | None = None,
    seed: int = 0,
    tags: Mapping[str, str] | None = None,
    max_cost: Decimal | str | int | None = None,
    provider_options: Mapping[str, Any] | None = None,
) -> JobSpec:
    """The arguments, over what the configuration says. Raises `ConfigError`, `SpecError`."""
    if adapter == DEFAULT:
        adapter = config.table("adapter") or LoRA()
    if hyperparameters is None:
        hyperparameters = {}
    elif isinstance(hyperparameters, Hyperparameters):
        hyperparameters = hyperparameters.given()
    how = config.setting("method", method)
    limit = config.setting("max_cost", max_cost)
    return JobSpec.build(
        provider=config.require("provider", provider).value,
        model=config.require("model", model).value,
        method="sft" if how is None else how.value,
        adapter=adapter,
        hyperparameters={**config.table("hyperparameters"), **hyperparameters},
        name=name,
        seed=seed,
        tags={**config.table("tags"), **(tags or {})},
        max_cost=None if limit is None else limit.value,
        provider_options={**config.table("provider_options"), **(provider_options or {})},
    )


def _rows(
    client: Client, dataset: Rows, validation: Rows | float | None, spec: JobSpec
) -> tuple[Dataset, Dataset | None, DatasetReport]:
    """Load and check all rows; raises `DatasetError` with every fault of both files."""
    backend = client.backend(spec.provider)
    able = backend.capabilities
    train = ftsdk.dataset.Dataset.load(dataset)
    check: Dataset | None = None
    if isinstance(validation, bool):
        raise UsageError("validation is rows or a fraction, not true or false")
    if isinstance(validation, int | float):
        if not 0 < validation < 1:
            raise UsageError(
                f"validation={validation} is not a fraction between 0 and 1",
                where="the job's arguments",
                hint="for instance validation=0.1, or a path",
            )
    elif validation is not None:
        check = ftsdk.dataset.Dataset.load(validation)
    if validation is not None and not able.takes_validation:
        raise Unsupported(
            f"{spec.provider} takes no validation rows",
            where=f"backend {spec.provider}",
            hint="leave validation out",
            submitted="no",
        )
    report, train, check = ftsdk.dataset.validate_for_job(
        train,
        check,
        folder=client.home / "datasets",
        provider=spec.provider,
        model=spec.model,
        method=spec.method,
        capabilities=able,
        limits=backend.limits_for(spec.model),
        tokenizer=backend.tokenizer_for(spec),
        max_length=backend.max_length_for(spec),
    )
    if not report.ok:
        first = report.error()
        raise DatasetError(
            first.what,
            where=first.where,
            hint=f"{first.hint}; the report names every row",
            report=report,
            submitted="no",
        )
    if isinstance(validation, float | int):
        whole = train.name
        train, check = train.split(float(validation), seed=spec.seed)
        train.name = whole  # the job is of this data; what is held out stands beside it
    return train, check, report


def _within_budget(plan: Plan, spec: JobSpec) -> None:
    limit = spec.max_cost
    if limit is None:
        return
    high = plan.cost.high
    if high is None:
        raise BudgetError(
            f"max_cost is ${limit}, and what {spec.provider} would charge is not known",
            where=f"{spec.provider}, {spec.model}",
            hint="leave max_cost out to accept an unknown price, or choose a model with a known one",
            submitted="no",
        )
    if high > limit:
        raise BudgetError(
            f"The job may cost {plan.cost}, over the limit of ${limit}",
            where=f"{spec.provider}, {spec.model}; {plan.cost.source}",
            hint="fewer rows or epochs, a cheaper model, or a higher max_cost",
            submitted="no",
        )


def twin_of(client: Client, prepared: PreparedJob, within: dt.timedelta) -> JobSnapshot | None:
    """A job made not long ago that trains the very same thing in the same place."""
    return client.journal.twin(prepared.fingerprint, client.clock.now() - within)


# --- second step: it is journaled and sent ----------------------------------------------------------


def check_key(key: str | None) -> None:
    """Raise `UsageError` for a key that is none."""
    if key is not None and not (0 < len(key) <= 255 and key.isprintable()):
        raise UsageError(
            "A key is 1 to 255 printable characters",
            where="the argument key=",
            hint="for instance key='nightly-2026-11-25'",
        )


def submit(
    client: Client,
    prepared: PreparedJob,
    key: str | None,
    allow_findings: bool | Collection[str] = False,
    agreed: Decimal | None = None,
    first_after: dt.datetime | None = None,
) -> JobSnapshot:
    """Journal and send what was prepared; `agreed` is what a person said yes to, in dollars.

    With `first_after`, `NeedsDecision` is raised where the very same job was made after that time.
    """
    from ftsdk.spending.reserve import hold, hold_anew
    from ftsdk.store.duplicates import first_since
    from ftsdk.store.reservations import Spending

    spec = prepared.spec
    allowed = _acknowledged(client, prepared, allow_findings)
    unsent = None if key is None else Spending(client.journal).unsent(key)
    if unsent is not None:
        hold_anew(client, unsent)
    held = hold(client, prepared.plan, spec)
    return client._submitter(agreed).create(
        spec,
        prepared.train,
        prepared.validation,
        key=key,
        profile=client.config.profile,
        facts={
            "notices": len(prepared.report.notices),
            **allowed,
            **client._address(spec.provider),
        },
        also=held if first_after is None else first_since(first_after, held),
    )


def _acknowledged(
    client: Client, prepared: PreparedJob, allow_findings: bool | Collection[str]
) -> dict[str, Any]:
    """What the journal keeps of acknowledged findings; `DatasetError` when some are open.

    A backend that needs no key keeps the rows on this machine: nothing to acknowledge there.
    """
    report = prepared.report
    if not report.findings or not client.backend(prepared.spec.provider).capabilities.key_variables:
        return {}
    still_open = report.open_findings(allow_findings)
    if still_open:
        told = ", ".join(f"{count:,} × {code}" for code, count in still_open.items())
        codes = " ".join(f"--allow-findings {code}" for code in still_open)
        raise DatasetError(
            f"The rows hold what looks like secrets or personal data ({told})",
            where=prepared.train.name,
            hint=f"remove them; or acknowledge them: allow_findings={list(still_open)} ({codes})",
            report=report,
            submitted="no",
        )
    return {"findings_allowed": report.open_findings()}
