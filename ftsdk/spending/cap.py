"""The spending cap of a job, checked against its estimate, its quote and the confirmed amount."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from ftsdk.errors import BudgetError
from ftsdk.spending.budget import Budget
from ftsdk.types.cost import Cost, CostBasis


@dataclass(frozen=True)
class Cap:
    """At most `usd` for one job. `source` is where the cap was set, `hint` how to change it."""

    usd: Decimal
    source: str
    hint: str


def caps_of(max_cost: Decimal | None, budget: Budget) -> tuple[Cap, ...]:
    """Return the caps of a job: its own `max_cost`, and the budget's cap for each job."""
    caps = []
    if max_cost is not None:
        hint = "fewer rows or epochs, a cheaper model, or a higher max_cost"
        caps.append(Cap(max_cost, "max_cost", hint))
    if budget.job is not None:
        hint = "fewer rows or epochs, a cheaper model, or a higher budget for a job"
        caps.append(Cap(budget.job, f"the {budget.where}", hint))
    return tuple(caps)


def lowest(caps: Sequence[Cap]) -> Decimal | None:
    """Return the lowest cap in US dollars, or None without any."""
    return min((cap.usd for cap in caps), default=None)


def lowest_amount(*amounts: Decimal | None) -> Decimal | None:
    """Return the lowest of several amounts; None is no limit."""
    return min((amount for amount in amounts if amount is not None), default=None)


def check_cap(cost: Cost, caps: Sequence[Cap], *, provider: str, model: str) -> None:
    """Raise `BudgetError` when a job may cost more than one of its caps, or its cost is unknown.

    The high end of `cost` counts. Nothing has been sent when this raises.
    """
    for cap in sorted(caps, key=lambda cap: cap.usd):
        if cost.high is None:
            raise BudgetError(
                f"A job may cost up to ${cap.usd:.2f} ({cap.source}), and the price at "
                f"{provider} is unknown",
                where=f"{provider}, {model}" + (f"; {cost.source}" if cost.source else ""),
                hint="remove the limit to accept an unknown price, choose a model with a known price, "
                "or add its price to prices.toml",
                submitted="no",
            )
        if cost.high > cap.usd:
            quoted = cost.basis is CostBasis.QUOTED
            amount = f"{provider} quotes {cost}" if quoted else f"The job may cost {cost}"
            raise BudgetError(
                f"{amount}, over the limit of ${cap.usd:.2f} ({cap.source})",
                where=f"{provider}, {model}; {cost.source}",
                hint=cap.hint,
                submitted="no",
            )
