"""Reserving money: for a new job, for an adopted one, and again when a job is sent or resumed later."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal

from ftsdk.catalogue.load import lookup
from ftsdk.catalogue.schema import Catalogue
from ftsdk.catalogue.training_cost import prefer_quote
from ftsdk.errors import BudgetError
from ftsdk.spending.budget import Budget
from ftsdk.spending.cap import Cap, caps_of, check_cap, lowest
from ftsdk.store.accounting import Reservation
from ftsdk.store.hooks import InsertHook
from ftsdk.store.journal import Journal
from ftsdk.store.limits import Limit
from ftsdk.store.reservations import Reservations, reserving
from ftsdk.types.cost import Cost, CostBasis
from ftsdk.types.job import JobSnapshot
from ftsdk.types.spec import JobSpec


def reserve_job(
    cost: Cost,
    spec: JobSpec,
    budget: Budget,
    *,
    profile: str | None,
    catalogue: Catalogue,
    usd_per_hour: Decimal | None,
) -> InsertHook:
    """What is written with a new job: its reservation, once the month has room for it.

    `usd_per_hour` is for a job that is billed by time. Raises `BudgetError` for a job that is over
    its cap; the hook raises it for a month without room, and then no job is journaled.
    """
    caps = caps_of(spec.max_cost, budget)
    check_cap(cost, caps, provider=spec.provider, model=spec.model)
    reservation = Reservation(
        job_id="",
        month="",
        profile=profile,
        cost=cost,
        usd_per_hour=usd_per_hour,
        cap=lowest(caps),
        failed_is_free=_failed_is_free(spec.provider, spec.model, catalogue),
    )
    return reserving(reservation, budget.limits)


def reserve_adopted(
    snapshot: JobSnapshot, *, profile: str | None, catalogue: Catalogue, free: bool
) -> InsertHook:
    """What is written with an adopted job, so that it counts in the month in which it was made.

    It has been paid for already, so no limit refuses it. What the provider reports as its cost
    counts; until then, and where nothing is reported, its cost is unknown (`costs --settle`).
    """
    nothing = Cost(basis=CostBasis.BILLED, low=Decimal(0), high=Decimal(0))
    reservation = Reservation(
        job_id="",
        month="",
        profile=profile,
        cost=nothing if free else snapshot.cost,
        failed_is_free=_failed_is_free(snapshot.provider, snapshot.model, catalogue),
    )
    return reserving(reservation, ())


def _failed_is_free(provider: str, model: str, catalogue: Catalogue) -> bool:
    entry = lookup(provider, model, catalogue)
    rule = None if entry is None else entry.facts.failed_jobs_are_free
    return rule is not None and rule.holds


def reserve_unsent(
    journal: Journal, job_id: str, now: dt.datetime, limits: Sequence[Limit]
) -> None:
    """Before a journaled job is sent: reserve for it in the month of `now`, in which it is sent.

    Raises `BudgetError` with the job's id and tag where that month has no room.
    """
    try:
        Reservations(journal).carry_over(job_id, now, limits)
    except BudgetError as error:
        error.job_id, error.tag = job_id, journal.get(job_id).tag
        raise


def reserve_quote(
    journal: Journal,
    snapshot: JobSnapshot,
    quote: Cost,
    limits: Sequence[Limit],
    agreed: Decimal | None = None,
) -> Cost:
    """Reserve the provider's own quote in place of the estimate, before the job is sent.

    Returns the quote, which says how far our own estimate was off. Raises `BudgetError` when it is
    over the job's cap, over `agreed` (what a person confirmed, in US dollars) or over a limit of
    the month, and for a quote without an amount where there is a cap or a limit.
    """
    if agreed is not None and quote.high is not None:
        hint = f"run it again with --max-cost {quote.high:.2f}, if that is fine"
        _check_quote(quote, Cap(agreed, "what was confirmed", hint), snapshot)

    def check(reservation: Reservation) -> None:
        if quote.high is None and limits:
            raise BudgetError(
                f"There is a budget, and the provider gives no quote: {quote.source}",
                where=f"job {snapshot.id}; nothing was sent",
                hint="leave max_cost and the budget out to accept an unknown price",
                submitted="no",
            )
        if reservation.cap is not None:
            hint = "fewer rows or epochs, a cheaper model, or a higher max_cost"
            _check_quote(quote, Cap(reservation.cap, "the cap of this job", hint), snapshot)

    reserved = Reservations(journal).requote(snapshot.id, quote, limits, check)
    return prefer_quote(quote, Cost() if reserved is None else reserved.cost)


def _check_quote(quote: Cost, cap: Cap, snapshot: JobSnapshot) -> None:
    check_cap(quote, [cap], provider=snapshot.provider, model=snapshot.model)
