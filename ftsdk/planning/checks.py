"""Check a plan against end dates and the budget's limits."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from ftsdk.artifacts.bundle import CAPTURE_KIND, MANIFEST, read_manifest
from ftsdk.catalogue.retirement import closed_reason, date_warnings
from ftsdk.catalogue.schema import Catalogue
from ftsdk.errors import ProviderClosed
from ftsdk.spending.budget import Budget
from ftsdk.spending.cap import caps_of, lowest
from ftsdk.store.accounting import Month
from ftsdk.types.plan import BudgetLine, Plan
from ftsdk.types.spec import JobSpec


def with_end_dates(
    plan: Plan, spec: JobSpec, owner: str | None, catalogue: Catalogue, today: dt.date
) -> Plan:
    """Return the plan with a warning for each end date that is near.

    `owner` is the provider whose end dates apply at the backend's address (see `Backend.dated_as`),
    or None for an address whose dates are unknown. Raises `ProviderClosed` when a date has passed.
    """
    if owner is None:
        return plan
    reason = closed_reason(owner, spec.model, today, catalogue=catalogue)
    if reason is not None:
        raise ProviderClosed(
            reason,
            where=f"{spec.provider}, {spec.model}; catalogue of {catalogue.as_of}, before any upload",
            hint="`ftsdk estimate DATA --compare` shows alternatives; put a newer date into "
            "prices.toml in FTSDK_HOME",
            submitted="no",
        )
    upcoming = date_warnings(owner, spec.model, today, catalogue=catalogue)
    new = tuple(warning for warning in upcoming if warning not in plan.warnings)
    return plan.model_copy(update={"warnings": (*plan.warnings, *new)}) if new else plan


def refuse_captured(path: Path) -> None:
    """Raise `UsageError` for a file of a capture whose rights do not allow to train on it."""
    folder = path.parent
    if not (folder / MANIFEST).is_file():
        return
    from ftsdk.types.capture import Rights  # rarely needed: data is seldom part of a bundle

    manifest = read_manifest(folder)
    if manifest.get("kind") != CAPTURE_KIND:
        return
    rights = Rights.model_validate(manifest.get("rights") or {})
    rights.require_training(path, submitted="no")


def with_budget(
    plan: Plan, spec: JobSpec, budget: Budget, month_of: Callable[[str | None], Month]
) -> Plan:
    """Return the plan with a line for each limit: spent, reserved, left, and whether the job fits.

    `month_of` returns the totals of this month for a profile, or for all (None). Nothing is reserved
    here: the limits are checked again when the job is created.
    """
    high, lines = plan.cost.high, list[BudgetLine]()
    cap = lowest(caps_of(spec.max_cost, budget))
    if high == 0 or (cap is None and not budget.limits):
        return plan
    if cap is not None:
        fits = high is not None and high <= cap
        lines.append(BudgetLine(scope="job", limit=cap, left=cap, fits=fits))
    for limit in budget.limits:
        month = month_of(limit.profile)
        left = limit.usd - month.spent - month.reserved
        lines.append(
            BudgetLine(
                scope="month" + ("" if limit.profile is None else f" of profile {limit.profile}"),
                limit=limit.usd,
                spent=month.spent,
                reserved=month.reserved,
                left=max(Decimal(0), left),
                unknown=month.unknown,
                fits=high is not None and high <= left and not month.unknown,
                where=limit.where,
            )
        )
    return plan.model_copy(update={"budget": tuple(lines)})
