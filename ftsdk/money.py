"""What a client asks of prices and dates: closed doors, amounts held, comparisons, the ledger."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from ftsdk.budget import require_spending, reserve
from ftsdk.errors import ProviderClosed
from ftsdk.records import Plan
from ftsdk.spec import JobSpec
from ftsdk.store import Also

if TYPE_CHECKING:
    from ftsdk.client import Client
    from ftsdk.pricing import Catalogue

__all__ = ["catalogue_of", "checked", "hold"]


def catalogue_of(client: Client) -> Catalogue:
    """The shipped catalogue, under the figures of `prices.toml` in the client's home."""
    from ftsdk.pricing import load_catalogue

    return load_catalogue(client.home)


def today_of(client: Client) -> dt.date:
    """The client's day, in UTC."""
    return client.clock.now().astimezone(dt.UTC).date()


def checked(client: Client, plan: Plan, spec: JobSpec) -> Plan:
    """The plan with a warning for each end that is near; raises `ProviderClosed` for a past one.

    The dates are those of the provider's own service: another base URL has its own.
    """
    if _elsewhere(client, spec.provider):
        return plan
    from ftsdk.pricing import closed, warnings

    book, today = catalogue_of(client), today_of(client)
    reason = closed(spec.provider, spec.model, today, catalogue=book)
    if reason is not None:
        raise ProviderClosed(
            reason,
            where=f"{spec.provider}, {spec.model}; catalogue of {book.as_of}, before any upload",
            mend="`ftsdk estimate DATA --compare` shows where it can go; a newer date goes into "
            "prices.toml in FTSDK_HOME",
            submitted="no",
        )
    near = warnings(spec.provider, spec.model, today, catalogue=book)
    fresh = tuple(one for one in near if one not in plan.warnings)
    return plan.model_copy(update={"warnings": (*plan.warnings, *fresh)}) if fresh else plan


def _elsewhere(client: Client, provider: str) -> bool:
    """True when the provider's name stands for another service, or for a rehearsal."""
    name = provider.upper().replace("-", "_")
    variables = (f"{name}_BASE_URL", f"{name}_API_BASE_URL", f"{name}_API_BASE")
    given = client.backend(provider).context.base_url
    return bool(given) or any(client.env.get(variable) for variable in variables)


def hold(client: Client, plan: Plan, spec: JobSpec) -> Also:
    """What is written together with a new job: the amount that its budget holds for it.

    Raises `BudgetError` where spending is forbidden, and for a job that is over by itself.
    """
    free = client.backend(spec.provider).capabilities.price == "free"
    require_spending("creating a job", spec.provider, free=free, env=client.env)
    return reserve(client.config, plan, spec, client.clock.now(), catalogue_of(client))
