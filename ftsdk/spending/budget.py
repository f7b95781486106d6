"""Budgets: what may be spent on a job and in a month, held before anything is sent.

    [budget]
    job = "25.00"            # no job may cost more
    month = "200.00"         # all jobs and deployments of this journal, in a calendar month (UTC)
    [profiles.prod.budget]
    job = "10.00"
    month = "100.00"         # those of this profile

The high end of the estimate is held in the transaction that journals the job. `forbid_spending`
closes the doors of the process by which a paid job or deployment starts, and
`FTSDK_FORBID_SPENDING=1` those of a whole CI run; cancelling and undeploying stay open.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from ftsdk.config import Config, nearest
from ftsdk.errors import BudgetError, ConfigError
from ftsdk.store import Also
from ftsdk.types.cost import Cost, CostBasis
from ftsdk.types.job import JobSnapshot
from ftsdk.types.plan import Plan
from ftsdk.types.spec import JobSpec

if TYPE_CHECKING:
    from ftsdk.catalogue import Catalogue
    from ftsdk.store.reservations import Limit

__all__ = [
    "FORBID_VARIABLE",
    "Budget",
    "budget_of",
    "check_job",
    "counting",
    "forbid_spending",
    "require_spending",
    "reserve",
]

FORBID_VARIABLE = "FTSDK_FORBID_SPENDING"


@dataclass(frozen=True)
class Budget:
    """The limits in force. `warn_at` is the share of a cap at which a running job is warned of."""

    job: Decimal | None = None
    limits: tuple[Limit, ...] = ()
    warn_at: float = 0.8
    lease: dt.timedelta = dt.timedelta(hours=2)
    where: str = ""


def budget_of(config: Config) -> Budget:
    """The limits of the configuration: the file's for all, the chosen profile's on top.

    Raises `ConfigError` for a table that says anything else.
    """
    from ftsdk.store.reservations import Limit

    file = str(config.path) if config.path else "ftsdk.toml"
    all_jobs = _table(config.data.get("budget"), f"[budget] in {file}")
    where = f"[profiles.{config.profile}.budget] in {file}"
    own = _table(config.profiles.get(config.profile or "", {}).get("budget"), where)
    limits = []
    if all_jobs["month"] is not None:
        limits.append(Limit(all_jobs["month"], f"[budget] in {file}"))
    if own["month"] is not None:
        limits.append(Limit(own["month"], where, config.profile))
    caps = [table["job"] for table in (all_jobs, own) if table["job"] is not None]
    hours = own["lease_hours"] or all_jobs["lease_hours"]
    return Budget(
        job=min(caps, default=None),
        limits=tuple(limits),
        warn_at=own["warn_at"] or all_jobs["warn_at"] or Budget.warn_at,
        lease=dt.timedelta(hours=hours) if hours else Budget.lease,
        where=f"budget in {file}",
    )


_AMOUNTS, _NUMBERS = ("job", "month"), {"warn_at": 1.0, "lease_hours": 24.0 * 31}


def _table(data: Any, where: str) -> Mapping[str, Any]:
    """`[budget]` as checked values; raises `ConfigError` with every fault of the table."""
    given = {} if data is None else data
    faults: list[str] = []
    read: dict[str, Any] = dict.fromkeys((*_AMOUNTS, *_NUMBERS))
    for name, value in given.items() if isinstance(given, Mapping) else (("it", given),):
        if name not in read:
            faults.append(f"{name} is not a setting of a budget{nearest(name, read)}")
        elif name in _AMOUNTS:
            read[name] = _amount(value)
            faults += [] if read[name] is not None else [f"{name} is no amount in US dollars"]
        elif not _is_number(value) or not 0 < value <= _NUMBERS[name]:
            faults.append(f"{name} is no number above 0 and up to {_NUMBERS[name]:g}")
        else:
            read[name] = float(value)
    if faults:
        raise ConfigError(
            f"The budget has a fault: {'; '.join(faults)}",
            where=where,
            hint='for instance month = "200.00"; it takes job, month, warn_at and lease_hours',
        )
    return read


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _amount(value: Any) -> Decimal | None:
    """An amount of zero or more, or None for what is none."""
    if not (isinstance(value, str) or _is_number(value)):
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and amount >= 0 else None


# --- before a job --------------------------------------------------------------------------------


def check_job(plan: Plan, spec: JobSpec, budget: Budget) -> None:
    """Raise `BudgetError` when the job may cost more than one job may."""
    if budget.job is None:
        return
    high = plan.cost.high
    if high is None:
        raise BudgetError(
            f"A job may cost ${budget.job:.2f}, and what {spec.provider} would charge is not known",
            where=f"{budget.where}; {spec.provider}, {spec.model}",
            hint="choose a model with a known price, or add its price to prices.toml",
            submitted="no",
        )
    if high > budget.job:
        raise BudgetError(
            f"The job may cost {plan.cost}, and a job may cost ${budget.job:.2f}",
            where=f"{budget.where}; {plan.cost.source}",
            hint="fewer rows or epochs, a cheaper model, or a higher budget for a job",
            submitted="no",
        )


def reserve(
    config: Config,
    plan: Plan,
    spec: JobSpec,
    catalogue: Catalogue | None = None,
    usd_per_hour: Decimal | None = None,
) -> Also:
    """What is written with the job: the amount held, after the month's limits were looked at.

    `usd_per_hour` is for jobs billed by time. Raises `BudgetError` at once for a job that is over
    by itself; over the month's limits it is raised by the journal's transaction, and then no job
    is journaled.
    """
    from ftsdk.store.reservations import Reservation, reserving

    budget = budget_of(config)
    check_job(plan, spec, budget)
    caps = [cap for cap in (spec.max_cost, budget.job) if cap is not None]
    held = Reservation(
        job_id="",
        month="",
        profile=config.profile,
        cost=plan.cost,
        usd_per_hour=usd_per_hour,
        cap=min(caps, default=None),
        failed_is_free=_failed_is_free(spec.provider, spec.model, catalogue),
    )
    return reserving(held, budget.limits)


def counting(
    config: Config, snapshot: JobSnapshot, catalogue: Catalogue | None = None, *, free: bool
) -> Also:
    """What is written with an adopted job, so that it counts in the month in which it was made.

    It has been paid for already, so no limit refuses it. What the provider tells of its cost
    counts; until then, and where it tells none, its cost is unknown (`costs --settle`).
    """
    from ftsdk.store.reservations import Reservation, reserving

    nothing = Cost(basis=CostBasis.BILLED, low=Decimal(0), high=Decimal(0))
    held = Reservation(
        job_id="",
        month="",
        profile=config.profile,
        cost=nothing if free else snapshot.cost,
        failed_is_free=_failed_is_free(snapshot.provider, snapshot.model, catalogue),
    )
    return reserving(held, ())


def _failed_is_free(provider: str, model: str, catalogue: Catalogue | None) -> bool:
    from ftsdk.catalogue import lookup

    entry = lookup(provider, model, catalogue)
    rule = None if entry is None else entry.facts.failed_jobs_are_free
    return rule is not None and rule.holds


# --- the switch ------------------------------------------------------------------------------------

_lock = threading.Lock()
_depth = 0


@contextlib.contextmanager
def forbid_spending() -> Iterator[None]:
    """Inside this block this process starts nothing that costs: no create, resume or deploy.

    Holds for all threads. What is free (this machine, `fake`) goes on, and so do cancelling and
    undeploying, which end spending. Questions to a model that is there (`chat`) go through, too;
    a provider may bill them by the token.
    """
    global _depth  # noqa: PLW0603  # one switch per process, on purpose
    with _lock:
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1


def require_spending(
    what: str, provider: str, *, free: bool = False, env: Mapping[str, str] | None = None
) -> None:
    """Raise `BudgetError` where spending is forbidden and `what` would spend at `provider`."""
    if free:
        return
    if _depth > 0:
        why, hint = "inside forbid_spending()", "do it outside of that block"
    elif (env or {}).get(FORBID_VARIABLE, "").strip().lower() not in ("", "0", "false", "no"):
        why, hint = f"the variable {FORBID_VARIABLE}", f"unset {FORBID_VARIABLE}, if you mean it"
    else:
        return
    raise BudgetError(
        f"Spending is forbidden here, and {what} at {provider} may cost",
        where=why,
        hint=hint,
        submitted="no",
    )
