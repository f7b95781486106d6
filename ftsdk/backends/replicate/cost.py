"""What a training cost: the seconds that Replicate billed, at the price of the hardware."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from ftsdk.backends.hosted.coerce import as_number
from ftsdk.catalogue.load import lookup
from ftsdk.catalogue.schema import Catalogue
from ftsdk.catalogue.training_cost import estimate_training
from ftsdk.types.cost import Cost, CostBasis


def billed(data: Mapping[str, Any], hardware: str | None, catalogue: Catalogue) -> Cost | None:
    """Return what a training cost, in US dollars; None before Replicate reports its seconds.

    Without `hardware`, the catalogue's hardware for this trainer counts. The basis is `unknown`
    where no price is known.
    """
    model = data.get("model")
    name = model if isinstance(model, str) else ""
    entry = lookup("replicate", name, catalogue)
    if entry is None:
        return cost_of(data, None, "", None)
    hardware = hardware or (entry.model.hardware if entry.model else None)
    facts = entry.facts.hardware.get(hardware or "")
    if facts is None or facts.usd_per_second is None:
        return cost_of(data, None, "", None)
    day = estimate_training("replicate", name, hardware=hardware, catalogue=catalogue).as_of
    return cost_of(data, facts.usd_per_second.high, str(hardware), day)


def cost_of(
    data: Mapping[str, Any], usd_per_second: Decimal | None, source: str, as_of: dt.date | None
) -> Cost | None:
    """Return `predict_time`, the seconds billed, times the price; None before it is reported."""
    metrics = data.get("metrics")
    seconds = as_number(metrics.get("predict_time")) if isinstance(metrics, Mapping) else None
    if seconds is None or seconds < 0:
        return None
    if usd_per_second is None:
        return Cost(
            source=f"Replicate billed {seconds:g} s; the hardware, and so the price, is not known",
            assumptions=("name it in provider_options.hardware, for instance gpu-l40s",),
        )
    amount = (Decimal(str(seconds)) * usd_per_second).quantize(Decimal("0.000001"))
    return Cost(
        basis=CostBasis.BILLED,
        low=amount,
        high=amount,
        source=f"{seconds:g} s reported by Replicate × ${usd_per_second} a second ({source})",
        as_of=as_of,
    )
