"""The money of a run of many chats: reserved before it asks, booked as it is spent, given back at its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from ftsdk.session import Session
from ftsdk.spending import chats
from ftsdk.types.cost import Cost

Booked = Callable[[Decimal | None, int, str], None]
"""Called with what some calls cost, their number, and what they are known by; that is booked once."""


@dataclass
class RunMoney:
    """The money of the run `id`, which is the same for a call that continues it.

    `spent` is what this call has spent, in US dollars. Nothing is reserved or booked for a free run.
    """

    session: Session
    id: str
    is_free: bool
    spent: Decimal = Decimal(0)

    def hold(self, provider: str, model: str, cost: Cost, what: str, cap: Decimal | None) -> None:
        """Reserve what the run may still cost. Raises `BudgetError` with nothing reserved."""
        if not self.is_free:
            chats.hold(
                self.session, self.id, provider=provider, model=model, cost=cost, what=what, cap=cap
            )

    def book(self, usd: Decimal | None, calls: int, once: str = "") -> None:
        """Record what calls cost. Calls that are known by `once` are recorded one time, in all runs."""
        self.spent += usd or Decimal(0)
        if calls and not self.is_free:
            chats.add(self.session, self.id, usd, calls=calls, once=once)

    def release(self) -> None:
        """End the reservation; what was spent stays."""
        if not self.is_free:
            chats.release(self.session, self.id)

    def spent_in_all_calls(self) -> Decimal:
        """Return what the run has cost in this call and before, in US dollars."""
        if self.is_free or not self.session.has_journal:
            return Decimal(0)
        return chats.spent(self.session, self.id)
