"""Outcomes of many chats: errors that every request would get, and one request after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

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
from ftsdk.types.model import ChatAnswer

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
