"""The cost of a job, with the basis of each figure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from decimal import Decimal
from enum import StrEnum
from typing import Literal

from ftsdk.types.record import Record
from ftsdk.util import card

__all__ = ["Cost", "CostBasis"]


def sum_known(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """Return the sum of amounts of money; None where one of them is not known."""
    total = Decimal(0)
    for amount in amounts:
        if amount is None:
            return None
        total += amount
    return total


class CostBasis(StrEnum):
    """How a cost is known."""

    BILLED = "billed"
    QUOTED = "quoted"
    ESTIMATED = "estimated"
    UNKNOWN = "unknown"


class Cost(Record):
    """A cost in US dollars, with its source.

    An estimate is a range (`low` to `high`); billed and quoted costs have `low == high`. None
    means unknown. `low` and `high` are for training only; storage and hosting have fields of their
    own.
    """

    basis: CostBasis = CostBasis.UNKNOWN
    low: Decimal | None = None
    high: Decimal | None = None
    storage_usd: Decimal | None = None
    hosting_usd_per_hour: Decimal | None = None
    currency: Literal["USD"] = "USD"
    source: str = ""
    as_of: dt.date | None = None
    assumptions: tuple[str, ...] = ()

    @property
    def usd(self) -> Decimal | None:
        """The amount: the high end of an estimate, or None if unknown."""
        return self.high

    def _repr_html_(self) -> str:
        """Return a card for notebooks: the amount, how it is known, what it assumes."""
        hosting = self.hosting_usd_per_hour
        storage = self.storage_usd
        return card.card(
            card.head(self, "" if self.basis is CostBasis.UNKNOWN else self.basis.value),
            card.line(
                [
                    "" if hosting is None else f"hosting ${hosting:.2f} an hour",
                    "" if storage is None else f"storage ${storage:.2f}",
                ]
            ),
            card.lines(self.assumptions, "soft"),
            card.line([self.source, "" if self.as_of is None else f"as of {self.as_of}"], "id"),
        )

    def __str__(self) -> str:
        if self.low is None and self.high is None:
            return "unknown"
        if self.low == self.high or self.low is None:
            return f"${self.high:.2f}"
        return f"${self.low:.2f} – {self.high:.2f}"
