"""What it costs to serve a tuned model: by the hour, by the token, or nothing."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from ftsdk.catalogue.load import lookup, shipped
from ftsdk.catalogue.schema import Catalogue, Span, format_price
from ftsdk.types.cost import Cost, CostBasis


@dataclass(frozen=True)
class Serving:
    """The price of using a tuned model, in US dollars. None means unknown."""

    kind: Literal["free", "per_token", "per_hour", "unknown"]
    text: str
    usd_per_hour: Span | None = None
    input_per_mtok: Decimal | None = None
    cached_input_per_mtok: Decimal | None = None
    output_per_mtok: Decimal | None = None
    source: str = ""
    as_of: dt.date | None = None
    confirmed: bool = True
    note: str = ""

    def cost(self) -> Cost:
        """Return the hourly cost alone; zero when nothing is billed by the hour."""
        if self.kind == "unknown":
            return Cost()
        per_hour = Decimal(0) if self.usd_per_hour is None else self.usd_per_hour.high
        return Cost(
            basis=CostBasis.ESTIMATED,
            hosting_usd_per_hour=per_hour,
            source=self.source,
            as_of=self.as_of,
            assumptions=(self.note,) if self.note else (),
        )


def hosting_cost(provider: str, model: str, catalogue: Catalogue | None = None) -> Serving:
    """Return the price of serving a tuned `model`: hourly, per token, free or unknown."""
    catalogue = catalogue or shipped()
    entry = lookup(provider, model, catalogue)
    if entry is None:
        return Serving("unknown", "unknown", note=f"{provider} is not in the catalogue")
    facts, inference = entry.facts, entry.model.inference if entry.model else None
    if facts.free:
        return Serving("free", facts.serving, source=f"{facts.title} charges nothing")
    per_token = None
    if inference is not None:
        per_token = f"${format_price(inference.input)} / ${format_price(inference.output)} per 1M"
    if facts.hosting is not None:
        source = catalogue.source(facts.hosting)
        price = facts.hosting.usd_per_hour
        start = "from " if price.low != price.high else ""
        text = f"dedicated, {start}${format_price(price.low)}/h"
        return Serving(
            "per_hour",
            text if per_token is None else f"{text} + {per_token}",
            usd_per_hour=price,
            input_per_mtok=inference.input if inference else None,
            cached_input_per_mtok=inference.cached_input if inference else None,
            output_per_mtok=inference.output if inference else None,
            source=source.title,
            as_of=source.day,
            confirmed=facts.hosting.confirmed,
            note=facts.hosting.note,
        )
    if inference is not None and per_token is not None:
        source = catalogue.source(inference)
        return Serving(
            "per_token",
            per_token,
            input_per_mtok=inference.input,
            cached_input_per_mtok=inference.cached_input,
            output_per_mtok=inference.output,
            source=source.title,
            as_of=source.day,
            confirmed=inference.confirmed,
            note=inference.note,
        )
    return Serving("unknown", facts.serving or "unknown", note="no price is known")
