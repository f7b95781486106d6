"""What asking a model will cost, from the tokens of the requests and the longest answers."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from ftsdk.dataset.provider_limits import Limits
from ftsdk.dataset.rules.token_counts import counter_for
from ftsdk.evaluation.ask import Lane
from ftsdk.evaluation.wanted import Wanted
from ftsdk.types.cost import Cost, CostBasis

LONGEST_ANSWER = 4_096
"""The tokens of an answer that is not limited, for the high end of an estimate."""


def longest_answer(options: Mapping[str, Any]) -> int:
    """Return the most tokens that an answer may have."""
    limit = options.get("max_completion_tokens") or options.get("max_tokens") or LONGEST_ANSWER
    return int(limit) * int(options.get("n") or 1)


def estimate_chats(
    lane: Lane, missing: Iterable[Wanted], limits: Limits | None, *, batch: bool, may_chat: bool
) -> Cost:
    """Return what the missing answers of one model will cost.

    The low end has answers as long as the references, the high end as long as allowed. With `batch`
    they cost what a batch costs; `may_chat` says that they may have to be asked one by one, at the full
    price, which is then the high end.
    """
    if lane.backend.capabilities.price == "free":
        return Cost(basis=CostBasis.ESTIMATED, low=Decimal(0), high=Decimal(0), source="free")
    requests = iter(missing)
    first = next(requests, None)
    if first is None:
        return Cost(basis=CostBasis.ESTIMATED, low=Decimal(0), high=Decimal(0), source="no request")
    price = lane.price
    if price is None:
        return Cost(source=f"no price of {lane.handle.id} is known")
    counting = counter_for(None, model=lane.handle.base_model, limits=limits, wanted=True)
    low = high = Decimal(0)
    count = 0
    for one in itertools.chain((first,), requests):
        count += 1
        asked, answered = tokens_of(one, counting)
        most = max(answered, longest_answer(one.request.options))
        low += price.cost(_usage(asked, answered), batch=batch)
        high += price.cost(_usage(asked, most), batch=batch and not may_chat)
    return Cost(
        basis=CostBasis.ESTIMATED,
        low=low,
        high=high,
        source=price.source,
        assumptions=(f"{count} requests to {lane.handle.id}",),
    )


def tokens_of(one: Wanted, counting: Any) -> tuple[int, int]:
    """Return the tokens of a request, and of its reference, at least one."""
    messages = [dict(message) for message in one.request.messages]
    tools = {name: one.request.options[name] for name in ("tools",) if name in one.request.options}
    asked = counting.counter.count({"messages": messages, **tools})[0]
    if one.case.reference is None:
        return asked, 1
    whole = counting.counter.count({"messages": [*messages, dict(one.case.reference)], **tools})[0]
    return asked, max(1, whole - asked)


def _usage(asked: int, answered: int) -> dict[str, int]:
    return {"prompt_tokens": asked, "completion_tokens": answered}


def sum_costs(costs: Sequence[Cost]) -> Cost:
    """Return the sum; it is unknown where one of them is."""
    unknown = [one for one in costs if one.low is None or one.high is None]
    if unknown:
        return unknown[0]
    return Cost(
        basis=CostBasis.ESTIMATED,
        low=sum((one.low for one in costs if one.low is not None), Decimal(0)),
        high=sum((one.high for one in costs if one.high is not None), Decimal(0)),
        source=", ".join(dict.fromkeys(one.source for one in costs if one.source)),
        assumptions=tuple(line for one in costs for line in one.assumptions),
    )
