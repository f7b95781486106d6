"""Count the chats of a model in the budget: a handle is bound to this in place of its backend."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from ftsdk.backends.base import Backend
from ftsdk.catalogue.inference_cost import ChatPrice, chat_price
from ftsdk.errors import BudgetError, StoreError
from ftsdk.session import Session
from ftsdk.spending.budget import budget_of
from ftsdk.spending.chats import book
from ftsdk.spending.switch import require_spending
from ftsdk.store.accounting import month_of
from ftsdk.store.chat_runs import ChatRuns
from ftsdk.store.limits import Limit
from ftsdk.types.answer import ChatAnswer
from ftsdk.types.chat import ChatOutcome, ChatRequest
from ftsdk.types.model import ModelHandle

_log = logging.getLogger("ftsdk")
_FRESH_S = 5.0
"""For so long the sum of jobs and deployments is taken as it was; chats are summed each time."""


def with_counted_chats(session: Session, handle: ModelHandle, backend: Backend) -> ModelHandle:
    """Return the handle, whose chats count in the budget; unchanged where they are free."""
    if backend.capabilities.price == "free":
        return handle
    return handle.bound_to(CountedChats(session, backend))


class CountedChats:
    """A backend whose chats are counted. One write for each answer, none where it is free."""

    def __init__(self, session: Session, backend: Backend) -> None:
        self._session, self._backend = session, backend
        self._others: tuple[float, dict[Limit, Decimal]] = (0.0, {})

    # --- what a handle calls ---

    def chat(
        self, handle: ModelHandle, messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]
    ) -> ChatAnswer:
        """Return the answer. Raises `BudgetError` where a limit of the month is used up."""
        return self._counted(
            handle, handle.id, lambda: self._backend.chat(handle, messages, options)
        )

    def chat_base(
        self, handle: ModelHandle, messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]
    ) -> ChatAnswer:
        """Return the answer of the base model. Raises `BudgetError` as `chat` does."""
        return self._counted(
            handle, handle.base_model, lambda: self._backend.chat_base(handle, messages, options)
        )

    def chat_many(
        self,
        handle: ModelHandle,
        requests: Iterable[ChatRequest],
        *,
        concurrency: int = 8,
        on_outcome: Callable[[ChatOutcome], None] | None = None,
    ) -> Iterator[ChatOutcome]:
        """Yield the outcomes. Ends with `BudgetError` when a limit of the month is used up.

        Raises it at once where the price is unknown and there is a limit, and where spending is
        forbidden.
        """
        price, limits = self._price(handle, handle.id), self._limits()
        free = price is not None and price.is_free
        require_spending("chat_many", handle.provider, free=free, env=self._session.env)
        if limits and not free:
            self._require_price(price, limits[0], handle)
            self._require_left(limits)

        def counted(outcome: ChatOutcome) -> None:
            if on_outcome is not None:
                on_outcome(outcome)
            if outcome.answer is not None:
                self._book(handle, handle.id, price, outcome.answer.usage)
                self._require_left(limits)

        return self._backend.chat_many(
            handle, requests, concurrency=concurrency, on_outcome=counted
        )

    def download(self, handle: ModelHandle, folder: Path) -> Path:
        """Copy the weights into `folder`, as the backend does."""
        return self._backend.download(handle, folder)

    def download_merged(self, handle: ModelHandle, folder: Path) -> Path:
        """Copy the merged weights into `folder`, as the backend does."""
        return self._backend.download_merged(handle, folder)

    # --- counting ---

    def _counted(
        self, handle: ModelHandle, model: str, ask: Callable[[], ChatAnswer]
    ) -> ChatAnswer:
        price = self._price(handle, model)
        if price is None or not price.is_free:
            self._require_left(self._limits())
        answer = ask()
        try:
            self._book(handle, model, price, answer.usage)
        except StoreError as error:
            # The answer is paid for: it must not be lost because its cost cannot be written.
            _log.warning("the cost of a chat with %s was not recorded: %s", model, error.what)
        return answer

    def _limits(self) -> tuple[Limit, ...]:
        return budget_of(self._session.config).limits

    def _price(self, handle: ModelHandle, model: str) -> ChatPrice | None:
        if self._backend.capabilities.price == "unknown":
            return None
        provider = self._backend.dated_as or handle.provider
        return chat_price(provider, model, self._session.catalogue)

    def _book(
        self, handle: ModelHandle, model: str, price: ChatPrice | None, usage: Mapping[str, int]
    ) -> None:
        book(self._session, handle.provider, model, price, usage)

    # --- limits ---

    def _require_price(self, price: ChatPrice | None, limit: Limit, handle: ModelHandle) -> None:
        if price is None:
            raise BudgetError(
                f"The budget is {limit}, and the price of chatting with this model is unknown",
                where=f"{limit.where}; {handle.provider}, {handle.id}",
                hint="add its price to prices.toml, or ask one by one with chat",
                submitted="no",
            )

    def _require_left(self, limits: Sequence[Limit]) -> None:
        """Raise `BudgetError` where a limit of the month is used up."""
        if not limits:
            return
        runs, now = ChatRuns(self._session.journal), self._session.clock.now()
        found = runs.used_up(self._jobs_and_leases(runs, limits), now)
        if found is not None:
            limit, used = found
            raise BudgetError(
                f"The budget of {limit} is used up, so nothing more is asked",
                where=f"{limit.where}; ${used:.2f} is spent or reserved in {month_of(now)}",
                hint="see `ftsdk costs`; raise the budget, or wait for the next month",
                submitted="no",
            )

    def _jobs_and_leases(self, runs: ChatRuns, limits: Sequence[Limit]) -> dict[Limit, Decimal]:
        """Return what jobs and deployments count against each limit; read again after seconds."""
        clock = self._session.clock
        read_at, known = self._others
        if clock.monotonic() - read_at < _FRESH_S and set(known) == set(limits):
            return known
        found = runs.known_others(limits, clock.now())
        self._others = (clock.monotonic(), found)
        return found
