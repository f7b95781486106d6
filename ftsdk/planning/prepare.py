"""Read the rows, check a job and plan it. Nothing is sent."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ftsdk.backends.base import Backend
from ftsdk.catalogue.schema import Catalogue
from ftsdk.errors import DatasetError, Unsupported, UsageError
from ftsdk.planning.arguments import JobOptions, ReadingOptions, Rows, spec_of
from ftsdk.planning.checks import refuse_captured, with_budget, with_end_dates
from ftsdk.planning.continued import with_parent
from ftsdk.planning.data_notices import data_notices, refuse_notices
from ftsdk.planning.model_names import check_model_name, with_near_models
from ftsdk.planning.token_bill import with_tokens
from ftsdk.session import Session
from ftsdk.spending.budget import Budget, budget_of
from ftsdk.spending.cap import caps_of, check_cap
from ftsdk.store.accounting import Month
from ftsdk.store.reservations import Reservations
from ftsdk.types.plan import Plan
from ftsdk.types.spec import JobSpec
from ftsdk.util.cancellation import check_cancelled

if TYPE_CHECKING:
    from ftsdk.dataset import Dataset, DatasetReport


@dataclass(frozen=True)
class PreparedJob:
    """A job that is checked and planned but not sent, with the values it was checked against."""

    spec: JobSpec
    train: Dataset
    validation: Dataset | None
    report: DatasetReport
    plan: Plan
    backend: Backend
    budget: Budget
    catalogue: Catalogue

    @property
    def fingerprint(self) -> str:
        """Identifies equal jobs. See `JobSpec.fingerprint`."""
        validation_sha256 = None if self.validation is None else self.validation.sha256
        return self.spec.fingerprint(self.train.sha256, validation_sha256)


def prepare(
    session: Session, dataset: Rows, options: JobOptions, *, fetch: bool = False
) -> PreparedJob:
    """Read the rows, check everything, and plan the job.

    With `fetch` (when creating), a base model that can be downloaded is downloaded first. Raises
    `ConfigError`, `SpecError`, `Unsupported`, `DatasetError`, `BudgetError`, `ProviderClosed`.
    """
    options = with_parent(session, options)
    spec = spec_of(session.config, options)
    backend, catalogue = session.backend(spec.provider), session.catalogue
    budget = budget_of(session.config)
    spec = backend.complete(spec)
    backend.check(spec)
    check_cancelled()
    if fetch:
        backend.fetch_base_model(spec)
    check_cancelled()
    train, validation, report = _rows(dataset, options, spec, backend, session.home / "datasets")
    plan = with_tokens(backend.plan(spec, train), report, backend.speed_of(spec))
    plan = backend.with_memory(plan, spec, report.lengths)
    plan = with_end_dates(plan, spec, backend.dated_as, catalogue, session.today)
    plan = with_near_models(plan, spec, backend.dated_as, catalogue)
    tokenizer, longest = backend.tokenizer_for(spec), backend.max_length_for(spec)
    trains_all = spec.adapter is None
    notices = data_notices(report, train, tokenizer, longest, trains_embedding=trains_all)
    plan = plan.model_copy(update={"data": notices})
    plan = with_budget(plan, spec, budget, lambda profile: _month(session, profile))
    own_cap = caps_of(spec.max_cost, Budget())
    check_cap(plan.cost, own_cap, provider=spec.provider, model=spec.model)
    if fetch:
        check_model_name(backend, spec, catalogue)
    if options.get("strict", False):
        refuse_notices(notices, report)
    return PreparedJob(spec, train, validation, report, plan, backend, budget, catalogue)


def _month(session: Session, profile: str | None) -> Month:
    """Return this month's totals; a journal that does not exist yet is not created."""
    if not session.has_journal:
        return Month()
    return Reservations(session.journal).month(session.clock.now(), profile)


def _rows(
    dataset: Rows,
    options: JobOptions,
    spec: JobSpec,
    backend: Backend,
    folder: Path,
) -> tuple[Dataset, Dataset | None, DatasetReport]:
    """Load and check all rows in one pass, and write them to `folder` in canonical form.

    Raises `DatasetError` with all faults of both files.
    """
    from ftsdk.dataset import validate_for_job  # reading rows is not needed to list jobs

    validation = options.get("validation")
    train = _load(dataset, options, spec.method)
    fraction, check = _validation(validation, options, spec.method)
    if validation is not None and not backend.capabilities.takes_validation:
        raise Unsupported(
            f"{spec.provider} takes no validation rows",
            where=f"backend {spec.provider}",
            hint="leave validation out",
            submitted="no",
        )
    needs = backend.needs_validation(spec)
    if validation is None and needs is not None:
        raise Unsupported(
            f"{needs} needs validation rows",
            where=f"backend {spec.provider}, before anything was sent",
            hint="give validation=ROWS, or a fraction such as validation=0.1",
            submitted="no",
        )
    report, train, check = validate_for_job(
        train,
        check,
        folder=folder,
        provider=spec.provider,
        model=spec.model,
        method=spec.method,
        capabilities=backend.capabilities,
        limits=backend.limits_for(spec.model),
        tokenizer=backend.tokenizer_for(spec),
        max_length=backend.max_length_for(spec),
        truncate=backend.truncates(spec),
        allow_findings=options.get("allow_findings", False),
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
    if fraction is not None:
        whole = train.name
        train, check = train.split(fraction, seed=spec.seed)
        train.name = whole  # the job keeps the name of the whole dataset
    return train, check, report


def load_rows(rows: Rows, options: ReadingOptions, method: str) -> Dataset:
    """The dataset of some rows, read as the options say and as the method needs them."""
    from ftsdk.dataset import Dataset  # reading rows is not needed to list jobs

    return Dataset.load(
        rows,
        format=options.get("format"),
        map=options.get("map"),
        drop=options.get("drop"),
        method=method,
    )


def _load(rows: Rows, options: ReadingOptions, method: str) -> Dataset:
    """As `load_rows`, for rows that will be trained on."""
    dataset = load_rows(rows, options, method)
    if dataset.path is not None:
        refuse_captured(dataset.path)
    return dataset


def _validation(
    validation: Rows | float | None, options: ReadingOptions, method: str
) -> tuple[float | None, Dataset | None]:
    """Return the fraction to hold out, or the validation rows, or neither."""
    if isinstance(validation, bool):
        raise UsageError("validation must be rows or a fraction, not true or false")
    if not isinstance(validation, int | float):
        rows = None if validation is None else _load(validation, options, method)
        return None, rows
    if not 0 < validation < 1:
        raise UsageError(
            f"validation={validation} is not a fraction between 0 and 1",
            where="the job's arguments",
            hint="for instance validation=0.1, or a path",
        )
    return float(validation), None
