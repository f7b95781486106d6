"""Outcomes of many chats: errors that every request would get, and one request after the other."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from ftsdk.errors import (
    AuthError,
    BackendError,
    BudgetError,
    ConfigError,
    FtsdkError,
    MissingExtra,
    NotFound,
    NotReady,
    ProviderClosed,
    StoreError,
    UnknownBackend,
    Unsupported,
    UsageError,
    WrongAccount,
)
from ftsdk.types.chat import ChatOutcome, ChatRequest
from ftsdk.types.model import ChatAnswer, ModelHandle

Ask = Callable[[ChatRequest], ChatAnswer]
"""Sends one request, once, and returns its answer."""
OnOutcome = Callable[[ChatOutcome], None]

_FOR_ALL = (
    AuthError,
    BudgetError,
    ConfigError,
    MissingExtra,
    NotFound,
    NotReady,
    ProviderClosed,
    StoreError,
    UnknownBackend,
    Unsupported,
    WrongAccount,
)
_CODES_FOR_ALL = frozenset({
    "billing_hard_limit_reached", "billing_not_active", "insufficient_quota", "model_not_found",
    "unknown_parameter", "unsupported_parameter", "unsupported_value",
})  # fmt: skip


def is_for_all(error: FtsdkError) -> bool:
    """Whether every request would get this error, so that asking on is useless."""
    if isinstance(error, _FOR_ALL):
        return True
    if not isinstance(error, BackendError):
        return False
    return error.status_code == 402 or getattr(error, "provider_code", "") in _CODES_FOR_ALL


def require_concurrency(concurrency: int) -> None:
    """Raise `UsageError` where `concurrency` is less than 1."""
    if concurrency < 1:
        raise UsageError(
            f"concurrency is {concurrency}",
            where="chat_many, before anything was sent",
            hint="give 1 or more",
        )


def chat_serially(
    ask: Ask, requests: Iterable[ChatRequest], on_outcome: OnOutcome | None
) -> Iterator[ChatOutcome]:
    """Yield the outcome of each request, one after the other, as `Backend.chat_many` does."""
    for request in requests:
        outcome = outcome_of(ask, request)
        if on_outcome is not None:
            on_outcome(outcome)
        yield outcome


def outcome_of(ask: Ask, request: ChatRequest) -> ChatOutcome:
    """Return what became of one request. Raises an error that every request would get."""
    try:
        return ChatOutcome(request.id, answer=ask(request))
    except FtsdkError as error:
        if is_for_all(error):
            raise
        return ChatOutcome(request.id, error=error)


_BackendT = TypeVar("_BackendT")
_Chat = Callable[
    [_BackendT, ModelHandle, Sequence[Mapping[str, Any]], Mapping[str, Any]], ChatAnswer
]


def in_one_piece(chat: _Chat[_BackendT]) -> _Chat[_BackendT]:
    """Give a backend's `chat` that returns a whole answer the option `on_text`: it gets all at once."""

    @functools.wraps(chat)
    def asked(
        self: _BackendT,
        handle: ModelHandle,
        messages: Sequence[Mapping[str, Any]],
        options: Mapping[str, Any],
    ) -> ChatAnswer:
        given = dict(options)
        on_text = given.pop("on_text", None)
        answer = chat(self, handle, messages, given)
        if on_text is not None and answer.text:
            on_text(answer.text)
        return answer

    return asked
