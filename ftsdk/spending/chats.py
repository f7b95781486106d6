"""Reserve money for runs of many chats, and record what chats cost.

A run reserves what it may still cost under an id of its own (`hold`), records each call (`add`), and
gives back the rest at its end (`release`). A process that dies leaves its reservation: it counts in
its month, and the next `hold` with the same id replaces it.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from ftsdk.catalogue.inference_cost import ChatPrice
from ftsdk.errors import BudgetError
from ftsdk.session import Session
from ftsdk.spending.budget import budget_of
from ftsdk.spending.switch import require_spending
from ftsdk.store.accounting import month_of
from ftsdk.store.chat_costs import ChatCosts, ChatTokens
from ftsdk.store.chat_runs import ChatRuns
from ftsdk.types.cost import Cost

_ZERO = Decimal(0)
_CACHED = "prompt_tokens_details.cached_tokens"


def hold(
    session: Session,
    hold_id: str,
    *,
    provider: str,
    model: str,
    cost: Cost,
    what: str,
    cap: Decimal | None = None,
) -> None:
    """Reserve the high end of `cost` for the chats of a run that are still to come.

    `what` names the run in messages and in the ledger, such as `capture of 2,000 rows`. The same id
    again replaces what is held and keeps what was spent. `cap` limits both together, in US dollars.
    Raises `BudgetError`, with nothing reserved, where the cap or a limit of the month would be
    exceeded, where the price is unknown and there is a cap or a limit, and where spending is
    forbidden.
    """
    require_spending(f"a {what}", provider, free=cost.high == 0, env=session.env)
    limits, now = budget_of(session.config).limits, session.clock.now()

    def check(spent: Decimal) -> None:
        if cap is not None:
            where = f"{provider}, {model}" + (f"; {cost.source}" if cost.source else "")
            _check_cap(cost, cap, spent, what, where)

    fresh = ChatCosts(
        id=hold_id,
        month=month_of(now),
        profile=session.config.profile,
        provider=provider,
        model=model,
        what=what,
        created_at=now,
        updated_at=now,
        cap=cap,
        low=cost.low,
        high=cost.high,
        source=cost.source,
    )
    ChatRuns(session.journal).hold(fresh, limits, now, check)


def _check_cap(cost: Cost, cap: Decimal, spent: Decimal, what: str, where: str) -> None:
    if cost.high is None:
        raise BudgetError(
            f"The {what} may cost up to ${cap:.2f}, and its price is unknown",
            where=where,
            hint="remove the limit to accept an unknown price, or add the price to prices.toml",
            submitted="no",
        )
    if spent + cost.high > cap:
        before = f", ${spent:.2f} of it spent already" if spent else ""
        raise BudgetError(
            f"The {what} may cost ${spent + cost.high:.2f}{before}, over its limit of ${cap:.2f}",
            where=where,
            hint="ask fewer rows, repeats or tokens, or raise the limit",
            submitted="no",
        )


def add(
    session: Session,
    hold_id: str,
    usd: Decimal | None,
    *,
    calls: int = 1,
    prompt_tokens: int = 0,
    cached_tokens: int = 0,
    completion_tokens: int = 0,
    once: str = "",
) -> None:
    """Record what calls of a run cost, in US dollars; None where their price is unknown.

    The amount moves from what is held to what was spent. It is recorded in any case, above what is
    held too. Nothing is written for an amount of zero. `once` names the calls, such as `batch:ID`:
    the same name again records nothing. Raises `StoreError` for an id without a hold.
    """
    if usd == 0:
        return
    tokens = ChatTokens(prompt_tokens, cached_tokens, completion_tokens)
    ChatRuns(session.journal).add(hold_id, usd, calls, tokens, session.clock.now(), once)


def spent(session: Session, hold_id: str) -> Decimal:
    """Return what the calls of a run have cost so far, in US dollars, in all months."""
    return ChatRuns(session.journal).spent(hold_id)


def release(session: Session, hold_id: str) -> None:
    """End the reservation of a run; what was spent stays. Without one, nothing happens."""
    ChatRuns(session.journal).release(hold_id, session.clock.now())


# --- chats outside of a run ----------------------------------------------------------------------


def usage_cost(price: ChatPrice | None, usage: Mapping[str, int]) -> Decimal | None:
    """Return what a call cost; None where its price or its tokens are not known."""
    if price is None:
        return None
    if price.is_free:
        return _ZERO
    return price.cost(usage) if usage.get("prompt_tokens") is not None else None


def book(
    session: Session, provider: str, model: str, price: ChatPrice | None, usage: Mapping[str, int]
) -> None:
    """Record a chat outside of a run, in the row of its provider, model and profile.

    Nothing is written for what is free.
    """
    usd = usage_cost(price, usage)
    if usd == 0:
        return
    now, profile = session.clock.now(), session.config.profile
    fresh = ChatCosts(
        id=f"chats:{provider}:{model}:{profile or ''}",
        month=month_of(now),
        profile=profile,
        provider=provider,
        model=model,
        what="chats",
        created_at=now,
        updated_at=now,
        source="" if price is None else price.source,
    )
    tokens = ChatTokens(
        usage.get("prompt_tokens", 0), usage.get(_CACHED, 0), usage.get("completion_tokens", 0)
    )
    ChatRuns(session.journal).book(fresh, usd, tokens)
