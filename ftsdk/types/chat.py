"""Requests to a model, what became of each, and the batches that carry many of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ftsdk.errors import BackendError, FtsdkError
from ftsdk.types.answer import ChatAnswer

__all__ = ["Batch", "BatchState", "ChatOutcome", "ChatRequest", "OutcomeKind", "StoredChat"]


@dataclass(frozen=True)
class ChatRequest:
    """One conversation to answer.

    `id` names it in its outcome and in a batch (at most 64 characters; unique in one call).
    `options` are the chat options of this request, such as `max_tokens`, `temperature` and `tools`.
    """

    id: str
    messages: tuple[Mapping[str, Any], ...]
    options: Mapping[str, Any] = field(default_factory=dict)


def with_defaults(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return chat options for repeatable answers: `temperature` 0 and `max_tokens` 256 where not given.

    `max_completion_tokens` replaces `max_tokens`, and None leaves an option out of the request.
    """
    limit = {} if "max_completion_tokens" in options else {"max_tokens": 256}
    wanted = {"temperature": 0, **limit, **options}
    return {name: value for name, value in wanted.items() if value is not None}


class OutcomeKind(StrEnum):
    """What became of a request: each is counted apart."""

    ANSWERED = "answered"
    CUT_OFF = "cut_off"
    """The answer ended at `max_tokens` or at the end of the context."""
    REFUSED = "refused"
    """The model declined, or a content filter stopped the answer."""
    ERROR = "error"
    """No answer: the request failed."""


@dataclass(frozen=True)
class ChatOutcome:
    """What became of one request: an answer or an error, and the number of attempts."""

    id: str
    answer: ChatAnswer | None = None
    error: FtsdkError | None = None
    attempts: int = 1

    @property
    def kind(self) -> OutcomeKind:
        """What the outcome counts as."""
        if self.answer is None:
            return OutcomeKind.REFUSED if self._is_filtered else OutcomeKind.ERROR
        if self.answer.refusal or self.answer.finish_reason == "content_filter":
            return OutcomeKind.REFUSED
        if self.answer.finish_reason == "length":
            return OutcomeKind.CUT_OFF
        return OutcomeKind.ANSWERED

    @property
    def _is_filtered(self) -> bool:
        """Whether a filter refused the prompt: Azure then sends HTTP 400 in place of an answer."""
        code = getattr(self.error, "provider_code", "")
        return isinstance(self.error, BackendError) and code == "content_filter"


class BatchState(StrEnum):
    """The state of a batch. `failed` means that nothing of it was run."""

    VALIDATING = "validating"
    RUNNING = "running"
    FAILED = "failed"
    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether the batch changes no more."""
        return self not in (BatchState.VALIDATING, BatchState.RUNNING)


@dataclass(frozen=True)
class Batch:
    """A batch at the provider.

    `tag` is what `Backend.batch` was given. `total`, `done` and `failed` count requests. `errors`
    says why the whole batch failed, as `code: message`. `raw` is what the provider sent.
    """

    id: str
    state: BatchState
    tag: str | None = None
    total: int = 0
    done: int = 0
    failed: int = 0
    errors: tuple[str, ...] = ()
    created_at: dt.datetime | None = None
    expires_at: dt.datetime | None = None
    raw: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StoredChat:
    """A chat completion that the account stored, with the messages that were sent.

    `options` has the options that the provider reports for it; `metadata` is what the caller sent.
    """

    id: str
    model: str | None
    messages: tuple[Mapping[str, Any], ...]
    answer: ChatAnswer
    created_at: dt.datetime | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
