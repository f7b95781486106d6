"""What a client asks of prices and dates: closed doors, amounts held, quotes, the ledger."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING

from ftsdk.errors import BudgetError, ProviderClosed
from ftsdk.spending.budget import budget_of, counting, require_spending, reserve
from ftsdk.store import Also
from ftsdk.store.leases import Lease, Leases, month_bounds
from ftsdk.store.reservations import Reservation, Spending, months_of, weight
from ftsdk.types.cost import Cost
from ftsdk.types.job import JobSnapshot
from ftsdk.types.plan import BudgetLine, Plan
from ftsdk.types.spec import JobSpec

if TYPE_CHECKING:
    from ftsdk.catalogue import Catalogue
    from ftsdk.client import Client
    from ftsdk.spending.ledger import Line

__all__ = [
    "budgeted",
    "catalogue_of",
    "checked",
    "hold",
    "hold_again",
    "hold_anew",
    "ledger",
    "line_of",
    "quoted",
    "taken_in",
    "today_of",
]


def catalogue_of(client: Client) -> Catalogue:
    """The shipped catalogue, under the figures of `prices.toml` in the client's home."""
    from ftsdk.catalogue import load_catalogue

    return load_catalogue(client.home)


def today_of(client: Client) -> dt.date:
    """The client's day, in UTC."""
    return client.clock.now().astimezone(dt.UTC).date()


def checked(client: Client, plan: Plan, spec: JobSpec) -> Plan:
    """The plan with a warning for each end that is near; raises `ProviderClosed` for a past one.

    The dates are those of whoever owns the address that the job goes to; see `Backend.dated_as`.
    """
    owner = client.backend(spec.provider).dated_as
    if owner is None:
        return plan
    from ftsdk.catalogue import closed, warnings

    book, today = catalogue_of(client), today_of(client)
    reason = closed(owner, spec.model, today, catalogue=book)
    if reason is not None:
        raise ProviderClosed(
            reason,
            where=f"{spec.provider}, {spec.model}; catalogue of {book.as_of}, before any upload",
            hint="`ftsdk estimate DATA --compare` shows where it can go; a newer date goes into "
            "prices.toml in FTSDK_HOME",
            submitted="no",
        )
    near = warnings(owner, spec.model, today, catalogue=book)
    fresh = tuple(one for one in near if one not in plan.warnings)
    return plan.model_copy(update={"warnings": (*plan.warnings, *fresh)}) if fresh else plan


def budgeted(client: Client, plan: Plan, spec: JobSpec) -> Plan:
    """The plan with each limit that the job is held against: spent, reserved, left, would it fit.

    Nothing is held yet; the journal decides when the job is made.
    """
    from ftsdk.store.reservations import Month

    budget, high, lines = budget_of(client.config), plan.cost.high, list[BudgetLine]()
    caps = [cap for cap in (spec.max_cost, budget.job) if cap is not None]
    if high == 0 or not (caps or budget.limits):
        return plan
    if caps:
        cap = min(caps)
        fits = high is not None and high <= cap
        lines.append(BudgetLine(scope="job", limit=cap, left=cap, fits=fits))
    journaled = (client.home / "journal.db").is_file()
    for limit in budget.limits:
        month = Month()
        if journaled:
            month = Spending(client.journal).month(client.clock.now(), limit.profile)
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


def hold(client: Client, plan: Plan, spec: JobSpec) -> Also:
    """What is written together with a new job: the amount that its budget holds for it.

    Raises `BudgetError` where spending is forbidden, and for a job that is over by itself.
    """
    backend = client.backend(spec.provider)
    free = backend.capabilities.price == "free"
    require_spending("creating a job", spec.provider, free=free, env=client.env)
    rate = backend.training_usd_per_hour(spec)
    return reserve(client.config, plan, spec, catalogue_of(client), rate)


def hold_anew(client: Client, job_id: str) -> None:
    """Before a job of an earlier month is sent: it is held against the month in which it is sent.

    Raises `BudgetError` where that has no room for it.
    """
    limits = budget_of(client.config).limits
    try:
        Spending(client.journal).carry_over(job_id, client.clock.now(), limits)
    except BudgetError as error:
        error.job_id, error.tag = job_id, client.journal.get(job_id).tag
        raise


def hold_again(client: Client, job_id: str) -> None:
    """Before an ended job goes on: what it may cost is held again, in the month in which it does.

    Raises `BudgetError` where that has no room for it.
    """
    limits = budget_of(client.config).limits
    Spending(client.journal).reopen(job_id, client.clock.now(), limits)


def taken_in(client: Client, snapshot: JobSnapshot) -> Also:
    """What is written together with an adopted job: it counts from now on, and is never refused."""
    free = client.backend(snapshot.provider).capabilities.price == "free"
    return counting(client.config, snapshot, catalogue_of(client), free=free)


def quoted(
    client: Client, snapshot: JobSnapshot, quote: Cost, *, agreed: Decimal | None = None
) -> Cost:
    """The provider's own quote, held in place of the estimate; how far our table was off is said.

    Raises `BudgetError` when it is over the job's cap, over `agreed` (what a person said yes to),
    or over the month's budget; and for a provider that gives no quote, where there is a budget.
    """
    from ftsdk.catalogue import prefer_quote

    if agreed is not None and quote.high is not None and quote.high > agreed:
        raise BudgetError(
            f"{snapshot.provider} quotes {quote}, and the yes was for up to ${agreed:.2f}",
            where=f"{quote.source}; no job was made",
            hint=f"run it again with --max-cost {quote.high:.2f}, if that is fine",
            submitted="no",
        )
    held = Spending(client.journal).requote(snapshot.id, quote, budget_of(client.config).limits)
    return prefer_quote(quote, Cost() if held is None else held.cost)


# --- what it did cost --------------------------------------------------------------------------------


def ledger(
    client: Client, *, since: dt.date | None = None, until: dt.date | None = None
) -> list[Line]:
    """Every job's training and every deployment, newest first; both days are included.

    A deployment that stands in several calendar months has a line for its hours in each.
    """
    now = client.clock.now()
    lines = [_training_line(job, held, now) for job, held in Spending(client.journal).all()]
    for lease in Leases(client.journal).list():
        lines += _hosting_lines(lease, now)
    fit = [
        line
        for line in lines
        if (since is None or line.day >= since) and (until is None or line.day <= until)
    ]
    return sorted(fit, key=lambda line: line.time, reverse=True)


def _hosting_lines(lease: Lease, now: dt.datetime) -> list[Line]:
    from ftsdk.spending.ledger import Line

    lines: list[Line] = []
    for month in months_of(lease.started_at, lease.closed_at or max(lease.ends_at, now)):
        begins = max(lease.started_at, month_bounds(month)[0])
        counted = lease.weight(now, month)
        if counted == 0 and lines:
            continue  # it ended with the month before
        lines.append(
            Line(
                kind="hosting",
                id=lease.id,
                time=begins,
                provider=lease.provider,
                model=lease.model,
                status=lease.state,
                actual=lease.cost(now, month) if lease.state == "closed" else None,
                counted=counted,
                why=lease.why or f"until {lease.ends_at:%Y-%m-%d %H:%M} UTC",
                profile=lease.profile,
            )
        )
    return lines


def line_of(client: Client, job: JobSnapshot) -> Line:
    """What one job's training was estimated, quoted and billed at."""
    return _training_line(job, Spending(client.journal).get(job.id), client.clock.now())


def _training_line(job: JobSnapshot, held: Reservation | None, now: dt.datetime) -> Line:
    from ftsdk.spending.ledger import Line

    found = weight(job, held, now)
    return Line(
        kind="training",
        id=job.id,
        time=job.submitted_at or job.created_at,
        provider=job.provider,
        model=job.model,
        status=job.status.value,
        low=held.cost.low if held is not None else None,
        high=held.cost.high if held is not None else None,
        quoted=held.quoted if held is not None else None,
        actual=found.usd if found.is_known else None,
        counted=found.usd,
        why=found.why,
        name=job.name,
        profile=job.profile,
        tags=job.tags,
    )
