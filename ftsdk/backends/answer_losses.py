"""The loss of a model on given answers: only for backends whose logits are ours.

A backend that has these methods is found by `isinstance(backend, HasAnswerLosses)`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from ftsdk.types.model import ModelHandle


@dataclass(frozen=True)
class AnswerLoss:
    """The loss of the last answer of a row: nats per token, and how many tokens it has."""

    per_token: float
    tokens: int


@runtime_checkable
class HasAnswerLosses(Protocol):
    """A backend that computes losses; with `base`, those of the model that `handle` was tuned from."""

    def tokenizer_of(self, handle: ModelHandle, *, base: bool = False) -> str:
        """Return a hash of the tokenizer: losses per token compare only where it is the same."""

    def answer_losses(
        self, handle: ModelHandle, rows: Iterable[dict[str, Any]], *, base: bool = False
    ) -> Iterator[AnswerLoss | None]:
        """Yield the loss of each row's last answer; None for a row that the model cannot read whole."""
