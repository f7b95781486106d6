"""Reserve money for new, adopted and later sent jobs, and for quotes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal

from ftsdk.catalogue.load import lookup
from ftsdk.catalogue.schema import Catalogue
from ftsdk.catalogue.training_cost import prefer_quote
from ftsdk.errors import BudgetError
from ftsdk.spending.budget import Budget
from ftsdk.spending.cap import Cap, caps_of, check_cap, lowest, lowest_amount
from ftsdk.store.accounting import Reservation
from ftsdk.store.hooks import BeingSent, InsertHook
from ftsdk.store.journal import Journal
from ftsdk.store.limits import Limit
from ftsdk.store.reservations import Reservations, reservation_hook
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
    agreed: Decimal | None,
    being_sent: BeingSent,
) -> InsertHook:
    """Return the hook that reserves the cost of a new job.

    `usd_per_hour` is for a job that is billed by time. `agreed` is the amount that a person confirmed
    for the job; it is a cap, too. Raises `BudgetError` for a job over its cap.
    The hook raises it when a limit of the month would be exceeded; then no job is journaled.
    """
    caps = caps_of(spec.max_cost, budget)
    check_cap(cost, caps, provider=spec.provider, model=spec.model)
    reservation = Reservation(
        job_id="",
        month="",
        profile=profile,
        cost=cost,
        usd_per_hour=usd_per_hour,
        cap=lowest_amount(lowest(caps), agreed),
        failed_is_free=_failed_is_free(spec.provider, spec.model, catalogue),
    )
    return reservation_hook(reservation, budget.limits, being_sent)


def reserve_adopted(
    snapshot: JobSnapshot, *, profile: str | None, catalogue: Catalogue, free: bool
) -> InsertHook:
    """Return the hook that reserves for an adopted job, in the month in which it was created.

    No limit applies, since the job exists already. The cost that the provider reports counts; until
    it reports one, the cost is unknown (`ftsdk costs --settle`).
    """
    zero = Cost(basis=CostBasis.BILLED, low=Decimal(0), high=Decimal(0))
    reservation = Reservation(
        job_id="",
        month="",
        profile=profile,
        cost=zero if free else snapshot.cost,
        failed_is_free=_failed_is_free(snapshot.provider, snapshot.model, catalogue),
    )
    return reservation_hook(reservation, ())


def _failed_is_free(provider: str, model: str, catalogue: Catalogue) -> bool:
    entry = lookup(provider, model, catalogue)
    rule = None if entry is None else entry.facts.failed_jobs_are_free
    return rule is not None and rule.holds


def reserve_unsent(
    journal: Journal,
    job_id: str,
    now: dt.datetime,
    limits: Sequence[Limit],
    profile: str | None,
) -> None:
    """Move the reservation of an unsent job to the month of `now`, in which it will be sent, and to
    the profile that sends it.

    Raises `BudgetError` with the job's id and tag when that month's limits would be exceeded.
    """
    try:
        Reservations(journal).carry_over(job_id, now, limits, profile)
    except BudgetError as error:
        error.job_id, error.tag = job_id, journal.get(job_id).tag
        raise


def reserve_quote(
    journal: Journal,
    snapshot: JobSnapshot,
    quote: Cost,
    limits: Sequence[Limit],
    agreed: Decimal | None = None,
    needs_quote: bool = True,
) -> Cost:
    """Reserve the provider's quote instead of the estimate, before the job is sent.

    Returns the quote, with how far the estimate was off. Raises `BudgetError` when the quote is over
    the job's cap, over `agreed` (the amount in US dollars that a person confirmed) or over a limit
    of the month, and for a quote without an amount if there is one of the three. Without
    `needs_quote`, such a quote is not over `agreed`.
    """
    if agreed is not None and (needs_quote or quote.high is not None):
        _check_agreed(quote, agreed, snapshot)

    def check(reservation: Reservation) -> None:
        if quote.high is None and limits:
            raise BudgetError(
                f"There is a budget, and the provider gives no quote: {quote.source}",
                where=f"job {snapshot.id}; nothing was sent",
                hint="remove max_cost and the budget to accept an unknown price",
                submitted="no",
            )
        if reservation.cap is not None:
            hint = "fewer rows or epochs, a cheaper model, or a higher max_cost"
            _check_quote(quote, Cap(reservation.cap, "the cap of this job", hint), snapshot)

    reserved = Reservations(journal).requote(snapshot.id, quote, limits, check)
    return prefer_quote(quote, Cost() if reserved is None else reserved.cost)


def _check_agreed(quote: Cost, agreed: Decimal, snapshot: JobSnapshot) -> None:
    if quote.high is None:
        raise BudgetError(
            f"Up to ${agreed:.2f} was confirmed, and the provider gives no quote: {quote.source}",
            where=f"job {snapshot.id}; nothing was sent",
            hint="try again later; or --yes sends it at the estimated price",
            submitted="no",
        )
    hint = f"to accept it, run it again with --max-cost {quote.high:.2f}"
    _check_quote(quote, Cap(agreed, "the confirmed amount", hint), snapshot)


def _check_quote(quote: Cost, cap: Cap, snapshot: JobSnapshot) -> None:
    check_cap(quote, [cap], provider=snapshot.provider, model=snapshot.model)
