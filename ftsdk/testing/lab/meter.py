"""The meter of a double: which chats were answered, and so billed, however their reply was lost."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_NOT_ASKED = frozenset({"metadata", "store", "user"})
"""Fields that do not change the answer."""


@dataclass(frozen=True)
class Metered:
    """What was billed for one model: answers, tokens, and how many of the answers were in a batch."""

    answers: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    in_batches: int = 0


def request_hash(body: Mapping[str, Any]) -> str:
    """Return the SHA-256 of what a chat asks: its fields, in any order, without labels."""
    asked = {name: value for name, value in body.items() if name not in _NOT_ASKED}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


class Meter:
    """Counts paid answers, by model and by request. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._models: dict[str, Metered] = {}
        self._requests: Counter[str] = Counter()
        self._in_batch = False

    def add(self, body: Mapping[str, Any], usage: Mapping[str, Any]) -> None:
        """Count one answer to a request."""
        model, cached = str(body.get("model")), usage.get("prompt_tokens_details") or {}
        with self._lock:
            self._requests[request_hash(body)] += 1
            found = self._models.get(model, Metered())
            self._models[model] = Metered(
                found.answers + 1,
                found.prompt_tokens + int(usage.get("prompt_tokens", 0)),
                found.cached_tokens + int(cached.get("cached_tokens", 0)),
                found.completion_tokens + int(usage.get("completion_tokens", 0)),
                found.in_batches + self._in_batch,
            )

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """Count what is answered in this block as part of a batch."""
        before, self._in_batch = self._in_batch, True
        try:
            yield
        finally:
            self._in_batch = before

    @property
    def answers(self) -> int:
        """The number of paid answers."""
        with self._lock:
            return sum(self._requests.values())

    @property
    def models(self) -> dict[str, Metered]:
        """What was billed, by the model that was asked for."""
        with self._lock:
            return dict(self._models)

    def of(self, model: str) -> Metered:
        """Return what was billed for one model."""
        return self.models.get(model, Metered())

    def times(self, body: Mapping[str, Any]) -> int:
        """Return how many answers to this request were paid."""
        with self._lock:
            return self._requests[request_hash(body)]

    def paid(self) -> dict[str, int]:
        """Return the number of paid answers by the hash of the request."""
        with self._lock:
            return dict(self._requests)
