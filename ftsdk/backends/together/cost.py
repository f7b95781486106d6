"""What a job costs: Together's quote, and the `total_price` of a finished job.

`total_price` is a whole number without a unit (in the published schema's example, 1500 for 850,000
tokens, it cannot be dollars). Each unit is compared with what the billed tokens cost by the
catalogue. Where none fits, or several do, the quote from before the job remains.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from ftsdk.backends.hosted.coerce import as_count, as_decimal, as_text
from ftsdk.catalogue.schema import Catalogue
from ftsdk.catalogue.training_cost import estimate_training
from ftsdk.types.cost import Cost, CostBasis

_UNITS: Mapping[str, Decimal] = {
    "dollars": Decimal(1),
    "cents": Decimal("0.01"),
    "thousandths of a dollar": Decimal("0.001"),
    "ten-thousandths of a dollar": Decimal("0.0001"),
    "millionths of a dollar": Decimal("0.000001"),
    "billionths of a dollar": Decimal("0.000000001"),
}
_SLACK = 2
"""The factor by which the price list may be off."""


def billed(data: Mapping[str, Any], catalogue: Catalogue, today: dt.date) -> Cost | None:
    """Return the bill of a job that has ended; None where there is none that can be read."""
    price, tokens = as_decimal(data.get("total_price")), as_count(data.get("token_count"))
    model = as_text(data.get("model"))
    if not price or not tokens or model is None:
        return None
    kind, method = data.get("training_type"), data.get("training_method")
    full = isinstance(kind, Mapping) and kind.get("type") == "Full"
    dpo = isinstance(method, Mapping) and method.get("method") == "dpo"
    expected = estimate_training(
        "together",
        model,
        method="dpo" if dpo else "sft",
        adapter_kind="full" if full else "lora",
        tokens=tokens,
        epochs=1,  # `token_count` counts all epochs
        today=today,
        catalogue=catalogue,
    )
    if expected.low is None or expected.high is None:
        return None
    low, high = expected.low / _SLACK, expected.high * _SLACK
    fitting = {name: price * unit for name, unit in _UNITS.items() if low <= price * unit <= high}
    if len(fitting) != 1:
        return None
    ((unit, amount),) = fitting.items()
    return Cost(
        basis=CostBasis.BILLED,
        low=amount,
        high=amount,
        source=f"Together, total_price {price} for {tokens:,} tokens",
        as_of=today,
        assumptions=(f"read in {unit}, the only unit near its price list ({expected})",),
    )


def never_trained_cost(today: dt.date) -> Cost:
    """Return the cost of a job that was cancelled before its training started: nothing."""
    return Cost(
        basis=CostBasis.BILLED,
        low=Decimal(0),
        high=Decimal(0),
        source="Together's events: the job was cancelled before training started",
        as_of=today,
    )


def quoted_cost(estimate: Mapping[str, Any], today: dt.date) -> Cost:
    """Return what `estimate-price` says, in US dollars."""
    price = as_decimal(estimate.get("estimated_total_price"))
    if estimate.get("estimation_available") is False or price is None:
        return Cost(
            source="Together gave no estimate: "
            + (as_text(estimate.get("unavailable_reason")) or "no reason"),
            as_of=today,
        )
    tokens = as_count(estimate.get("estimated_train_token_count"))
    return Cost(
        basis=CostBasis.QUOTED,
        low=price,
        high=price,
        source="Together, POST /v1/fine-tunes/estimate-price",
        as_of=today,
        assumptions=(
            "packing is on; without it rows × max_seq_length are billed",
            *(() if tokens is None else (f"{tokens} training tokens, all epochs",)),
        ),
    )
