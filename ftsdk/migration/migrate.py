"""Migrate: replace the fine-tunes of a provider that closes, and show that the new ones are as good.

Inventory, capture, rights, plan, training, comparison, report, alias: each step leaves a receipt in the
migration's folder. Killed anywhere, the same call continues; what was paid for is not paid again.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from ftsdk.catalogue.load import lookup
from ftsdk.catalogue.retirement import retirement_dates
from ftsdk.dataset import Dataset
from ftsdk.errors import AuthError, BackendError, BudgetError, FtsdkError, StoreError, UsageError
from ftsdk.migration.arguments import MigrationArguments
from ftsdk.migration.inventory import take_inventory
from ftsdk.migration.leases import ComparisonLeases
from ftsdk.migration.migrate_options import MigrationOptions, migration_options_of
from ftsdk.migration.old_model import OldModel, old_models
from ftsdk.migration.one_model import ModelMigration, OnProgress, Place
from ftsdk.migration.receipts import (
    ALIASES,
    ASKED,
    DEPLOYMENTS,
    Receipts,
    read_record,
    refuse_changes,
    write_record,
)
from ftsdk.session import Session
from ftsdk.types.account import account_name
from ftsdk.types.capture import Rights
from ftsdk.types.inventory import Inventory
from ftsdk.types.migration import (
    FailedModel,
    MigratedModel,
    Migration,
    MigrationPlan,
    ModelMigrationPlan,
)
from ftsdk.util.files import atomic_write_bytes, make_private_folder
from ftsdk.util.locks import file_lock
from ftsdk.util.names import file_name
from ftsdk.util.opened import Opened

OnStep = Callable[[str, str], None]
_OURS = (".lock", ".gitignore", DEPLOYMENTS)
"""What a call that was killed at once leaves in the folder."""
_ZERO = Decimal(0)


def migrate(
    session: Session, provider: str, data: Any = None, given: MigrationArguments | None = None
) -> Migration:
    """Migrate from a provider. See `Client.migrate`."""
    asked: MigrationArguments = given or {}
    options = migration_options_of(provider, asked)
    with Migrating(
        session, provider, data, options, asked.get("on_progress"), asked.get("on_step")
    ) as one:
        plan = one.plan()
        on_plan = asked.get("on_plan")
        if on_plan is not None:
            on_plan(plan)
        return one.run(plan)


class Migrating(Opened):
    """One migration: `plan` says what it would do, `run` does it. Use it as a context manager."""

    def __init__(
        self,
        session: Session,
        provider: str,
        data: Any,
        options: MigrationOptions,
        on_progress: OnProgress = None,
        on_step: OnStep | None = None,
    ) -> None:
        super().__init__()
        self._session, self._provider, self._options = session, provider, options
        self._data = None if data is None else Dataset.load(data)
        self._on_progress, self._on_step = on_progress, on_step or (lambda _step, _text: None)
        self.folder = (options.folder or Path(f"migration-{options.name}")).absolute()
        self._models: list[ModelMigration] = []

    def _open(self) -> None:
        """Lock the folder, end what a killed call left running, and compare what is asked."""
        make_private_folder(self.folder).chmod(0o700)
        taken = self._stack.enter_context(file_lock(self.folder / ".lock", wait_s=0.0))
        if taken is None:
            raise StoreError(
                "Another process works on this migration",
                where=str(self.folder),
                hint="wait until it has ended, or give another --name",
            )
        self._leases = ComparisonLeases(
            self._session, self.folder, lambda text: self._on_step("compare", text)
        )
        self._leases.end_left()
        self._receipts = Receipts(self.folder, self._session.clock)
        self._require_same()
        self._require_one_account()

    def _require_same(self) -> None:
        """Write down what is asked, or refuse where it is not what was asked before."""
        path, asked = self.folder / ASKED, self._asked()
        if path.is_file():
            refuse_changes(read_record(path), asked, path)
            return
        names = [one.name for one in self.folder.iterdir()]
        strange = [one for one in names if one not in _OURS and not one.endswith(".tmp")]
        if strange:
            raise UsageError(
                "The folder has files that are not of a migration",
                where=f"{self.folder}: {', '.join(sorted(strange)[:5])}",
                hint="give a new or empty folder: --name NAME",
            )
        atomic_write_bytes(self.folder / ".gitignore", b"*\n")  # it is private data
        write_record(path, asked)

    def _asked(self) -> dict[str, Any]:
        options, backend = self._options, self._session.backend(self._provider)
        prompts = options.prompts
        training = options.training
        return {
            "provider": self._provider,
            "base_url": backend.base_url,
            "account": account_name(backend.account()),
            "data": None if self._data is None else self._data.sha256,
            "training": None if training is None else Dataset.load(training).sha256,
            "to": [str(one) for one in options.targets],
            "models": sorted(options.models),
            "prompts": None if prompts is None else [_described(one) for one in prompts],
            "examples": options.examples or None,
            "hyperparameters": dict(options.hyperparameters or {}),
            "seed": options.seed,
            **options.measured_by(),
        }

    def _require_one_account(self) -> None:
        if not self._session.backend(self._provider).capabilities.can_read_files:
            take_inventory(self._session, self._provider)  # raises with the reason

    # --- inventory ---

    def _inventory(self) -> Inventory:
        inputs = {"provider": self._provider}
        receipt = self._receipts.done("inventory", inputs)
        if receipt is not None:
            self._on_step("inventory", "done before")
            here = {**receipt.result, "folder": self.folder / "inventory"}
            return Inventory.model_validate(here)
        started = self._session.clock.now()
        self._on_step("inventory", "reading the account")
        found = take_inventory(
            self._session,
            self._provider,
            self.folder / "inventory",
            on_progress=lambda text: self._on_step("inventory", text),
        )
        if not found.is_complete:
            raise BackendError(
                "A part of the account could not be read: "
                + "; ".join([*found.not_read, *(one.id for one in found.missing)][:5]),
                where=f"provider {self._provider}",
                hint="run the same command again: what was fetched is kept",
            )
        self._receipts.write("inventory", inputs, started, found.model_dump(mode="json"))
        return found

    def _place(self) -> Place:
        asked = self._asked()
        source = f"{self._provider} {asked['base_url']} {asked['account']}"
        return Place(
            session=self._session,
            provider=self._provider,
            source=source,
            options=self._options,
            data=self._data,
            left=self.left,
            leases=self._leases,
            say=lambda model, step, text: self._on_step(step, f"{model}: {text}"),
            on_progress=self._on_progress,
        )

    # --- the plan ---

    def plan(self) -> MigrationPlan:
        """Return what would be done, and what it would cost. Nothing is spent.

        The account is read for it, and rows that can be fetched are; that costs nothing.
        """
        found = self._inventory()
        place, olds = self._place(), old_models(found, self._options.models, self._options.training)
        self._models = [
            ModelMigration(place, old, self.folder / file_name(old.name)) for old in olds
        ]
        plans = tuple(one.plan() for one in self._models)
        low, high = _total(plans)
        return MigrationPlan(
            folder=self.folder,
            provider=self._provider,
            models=plans,
            margin=self._options.margin,
            requests_per_month=self._options.monthly_requests,
            budget=self._options.budget,
            low=low,
            high=high,
            spent_usd=self.spent(),
            bridges=tuple(_bridges(self._session, olds, self._options)),
        )

    def give_rights(self, rights: Rights) -> None:
        """Use these rights for every model, as if they had been among the options."""
        self._options = dataclasses.replace(self._options, rights=rights)
        place = self._place()
        self._models = [ModelMigration(place, one.old, one.folder) for one in self._models]

    # --- the run ---

    def run(self, plan: MigrationPlan) -> Migration:
        """Do every step that is not done yet, for one model after the other.

        A model that cannot be migrated does not stop the others; it is named in the result. Where there is
        one model only, its error is raised. Raises `BudgetError` before anything is spent where the plan is
        over the budget.
        """
        self._require_budget(plan)
        done: list[MigratedModel] = []
        failed: list[FailedModel] = []
        for one, planned in zip(self._models, plan.models, strict=True):
            try:
                if planned.failed:
                    raise UsageError(planned.failed, where=f"model {one.old.name}")
                done.append(one.run())
            except AuthError:
                raise
            except FtsdkError as error:
                if len(self._models) == 1:
                    raise
                failed.append(_failed(one.old.name, error))
        self._write_aliases()
        return Migration(
            folder=self.folder,
            provider=self._provider,
            models=tuple(done),
            failed=tuple(failed),
            spent_usd=self.spent(),
        )

    def _require_budget(self, plan: MigrationPlan) -> None:
        budget = self._options.budget
        if budget is None or plan.high is None:  # an unknown price fails at its own step
            return
        if plan.spent_usd + plan.high > budget:
            before = f", ${plan.spent_usd:.2f} of it spent already" if plan.spent_usd else ""
            raise BudgetError(
                f"The migration may cost ${plan.spent_usd + plan.high:.2f}{before}, over its budget "
                f"of ${budget:.2f}",
                where=str(self.folder),
                hint="fewer targets, rows or repeats, or a higher --budget",
                submitted="no",
            )

    def _write_aliases(self) -> None:
        """Write the old names with what answers in their place, for one server for all of them."""
        aliases: dict[str, Any] = {}
        for one in self._models:
            receipt = one.receipts.read("alias")
            found: Any = {} if receipt is None else receipt.inputs.get("alias")
            if isinstance(found, Mapping) and found:
                aliases[one.old.name] = dict(found)
        if aliases:
            write_record(self.folder / ALIASES, {"aliases": aliases})

    # --- money ---

    def spent(self) -> Decimal:
        """Return what this migration has cost so far, in US dollars."""
        return sum((one.spent() for one in self._models), _ZERO)

    def left(self) -> Decimal | None:
        """Return what is left of the budget; None without one."""
        budget = self._options.budget
        return None if budget is None else max(_ZERO, budget - self.spent())


def _failed(model: str, error: FtsdkError) -> FailedModel:
    return FailedModel(
        model=model,
        what=error.what,
        where=str(error.where or ""),
        hint=str(error.hint or ""),
        exit_code=error.exit_code,
    )


def _described(prompt: Any) -> dict[str, Any]:
    given = prompt.given_examples
    examples: Any = prompt.retrieves or None
    if given:
        examples = hashlib.sha256(repr(given).encode()).hexdigest()
    model = getattr(prompt.model, "id", prompt.model)
    return {
        "model": model,
        "provider": prompt.provider,
        "system": prompt.system,
        "examples": examples,
        "training": None if prompt.training is None else Dataset.load(prompt.training).sha256,
    }


def _total(plans: tuple[ModelMigrationPlan, ...]) -> tuple[Decimal | None, Decimal | None]:
    """Return the range of what is still to be paid; None where a price is not known."""
    low, high = list[Decimal | None](), list[Decimal | None]()
    for one in plans:
        if one.capture is not None:
            low.append(one.capture.cost.low)
            high.append(one.capture.cost.high)
        if one.failed or "compare" in one.done:
            continue
        low.append(one.evaluation.low)
        high.append(one.evaluation.high)
        for candidate in one.candidates:
            if not candidate.can_run:
                continue
            if candidate.name not in one.trained:
                low.append(candidate.training.low)
                high.append(candidate.training.high)
            if candidate.lease is not None:
                low.append(_ZERO)
                high.append(candidate.lease.usd)
    return _sum(low), _sum(high)


def _sum(amounts: list[Decimal | None]) -> Decimal | None:
    known = [one for one in amounts if one is not None]
    return sum(known, _ZERO) if len(known) == len(amounts) else None


def _bridges(session: Session, olds: list[OldModel], options: MigrationOptions) -> Iterator[str]:
    """Yield where the same bases can be trained for a while longer, a line for each last day."""
    if any(one.provider == "azure" for one in options.targets):
        return
    until: dict[dt.date | None, list[str]] = {}
    for base in dict.fromkeys(one.base_model for one in olds if one.base_model):
        entry = lookup("azure", base, session.catalogue)
        if entry is not None and entry.model is not None:
            dates = retirement_dates("azure", base, catalogue=session.catalogue)
            until.setdefault(dates.ends_on, []).append(base)
    for day, bases in until.items():
        last = "" if day is None else f" until {day.day} {day:%B %Y}"
        yield (
            f"azure keeps {', '.join(bases)}{last}, for customers who tuned there before: --to azure"
        )
