"""What a job costs, with the basis of each figure."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from enum import StrEnum
from typing import Literal

from ftsdk.types.record import Record

__all__ = ["Cost", "CostBasis"]


class CostBasis(StrEnum):
    """How sure a cost is."""

    BILLED = "billed"
    QUOTED = "quoted"
    ESTIMATED = "estimated"
    UNKNOWN = "unknown"


class Cost(Record):
    """US dollars, with what is known of their source.

    An estimate is a range (`low` to `high`); billed and quoted costs have `low == high`. None
    means that the figure is not known. Training, storage and hosting are kept apart:
    `low`/`high` are for training alone.
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
        """The one figure, where there is one; the high end of an estimate."""
        return self.high

    def __str__(self) -> str:
        if self.low is None and self.high is None:
            return "unknown"
        if self.low == self.high or self.low is None:
            return f"${self.high:.2f}"
        return f"${self.low:.2f} – {self.high:.2f}"
