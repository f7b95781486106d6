"""Ask one model what is wanted: what the store has is free, the rest is asked and stored."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from ftsdk.backends.base import Backend
from ftsdk.backends.chat_outcomes import chat_serially
from ftsdk.catalogue.inference_cost import ChatPrice
from ftsdk.errors import FtsdkError
from ftsdk.evaluation.answers import AnswerStore, Source, StoredAnswer
from ftsdk.evaluation.run_money import Booked
from ftsdk.evaluation.wanted import Wanted, WantedAnswers
from ftsdk.types.chat import ChatOutcome, ChatRequest
from ftsdk.types.model import ChatAnswer, ModelHandle
from ftsdk.util.clock import Clock

KEY_TAG = "ftsdk_key"
"""The metadata of a stored chat that finds its answer again."""


@dataclass
class Lane:
    """One model that is asked: its handle, its store, what is wanted of it, and what failed.

    `errors` has the requests that got no answer, by key; a later call asks them again. With `asks_base`
    it is the untuned model of the handle that is asked.
    """

    who: str
    backend: Backend
    handle: ModelHandle
    source: Source
    price: ChatPrice | None
    wanted: WantedAnswers = field(default_factory=WantedAnswers)
    errors: dict[str, FtsdkError] = field(default_factory=dict)
    asks_base: bool = False

    def missing(self, store: AnswerStore) -> Iterator[Wanted]:
        """Yield what the store has no answer to."""
        return self.wanted.without(store)

    def missing_keys(self, store: AnswerStore) -> list[str]:
        """Return the keys that the store has no answer to."""
        return [key for key in self.wanted.keys() if key not in store]  # noqa: SIM118  # no mapping

    def cost_of(self, outcome: ChatOutcome, *, batch: bool = False) -> Decimal | None:
        """Return what an answer cost in US dollars, or None where the price is not known."""
        if outcome.answer is None or self.price is None:
            return None
        return self.price.cost(outcome.answer.usage, batch=batch)


def ask(
    lane: Lane,
    store: AnswerStore,
    *,
    clock: Clock,
    concurrency: int,
    recoverable: bool,
    on_spent: Booked,
    on_answer: Callable[[], None],
) -> None:
    """Ask what is missing, one request for each answer, and store each before the next is asked.

    Where it is killed, at most the answers under way are lost. With `recoverable`, the provider is
    asked to store them, and `recover` fetches them. Raises the error that every request would get.
    """
    asked: dict[str, Wanted] = {}  # those under way

    def requests() -> Iterator[ChatRequest]:
        for one in lane.missing(store):
            store.asking(one.key, kept=recoverable)
            asked[one.key] = one
            yield _recoverable(one.request) if recoverable else one.request

    def keep(outcome: ChatOutcome) -> None:
        one = asked.pop(outcome.id)
        if outcome.answer is None:
            return
        usd = lane.cost_of(outcome)
        on_spent(usd, 1, _name_of(outcome.answer) if recoverable else "")
        store.add(_stored(one, outcome.answer, usd, clock, outcome.attempts))

    lane.errors = {}
    for outcome in _outcomes(lane, requests(), concurrency, keep):
        if outcome.error is not None:
            lane.errors[outcome.id] = outcome.error
        on_answer()


def _outcomes(
    lane: Lane,
    requests: Iterator[ChatRequest],
    concurrency: int,
    keep: Callable[[ChatOutcome], None],
) -> Iterator[ChatOutcome]:
    backend, handle = lane.backend, lane.handle
    if not lane.asks_base:
        return backend.chat_many(handle, requests, concurrency=concurrency, on_outcome=keep)
    return chat_serially(
        lambda one: backend.chat_base(handle, one.messages, one.options), requests, keep
    )


def _recoverable(request: ChatRequest) -> ChatRequest:
    more = {"store": True, "metadata": {KEY_TAG: request.id}}
    return dataclasses.replace(request, options={**request.options, **more})


def _name_of(answer: ChatAnswer) -> str:
    """Return what an answer is booked by: its id, by which it is found when it is fetched again."""
    found = answer.raw.get("id")
    return f"chat:{found}" if found else ""


def _stored(
    wanted: Wanted, answer: ChatAnswer, usd: Decimal | None, clock: Clock, attempts: int = 1
) -> StoredAnswer:
    return StoredAnswer(
        key=wanted.key,
        case=wanted.case.id,
        repeat=wanted.repeat,
        at=clock.now(),
        attempts=attempts,
        usd=usd,
        answer=answer,
    )


def recover(
    lane: Lane,
    store: AnswerStore,
    *,
    clock: Clock,
    on_spent: Booked,
) -> int:
    """Fetch answers that were under way when an earlier process was killed; return how many.

    They are found where the provider was asked to store them.
    """
    if not lane.backend.capabilities.has_stored_chats:
        return 0
    found = 0
    for key, kept in store.under_way().items():
        wanted = lane.wanted.find(key) if kept and key not in store else None
        if wanted is None:
            continue
        for chat in lane.backend.stored_chats(metadata={KEY_TAG: key}, limit=1):
            usd = lane.cost_of(ChatOutcome(key, chat.answer))
            on_spent(usd, 1, f"chat:{chat.id}")
            answer = _stored(wanted, chat.answer, usd, clock)
            found += store.add(answer.model_copy(update={"via": f"stored:{chat.id}"}))
    return found
