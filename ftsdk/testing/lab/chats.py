"""What the doubles' chats have in common: rate limits, latency, a meter, answers that vary.

Settings: `answer_s` (how long an answer takes, in seconds of real time), `burst_s` (how many seconds
of a limit may gather), `noise` (the share of repeated requests that get another answer),
`fingerprint`, and the limits, whose names the doubles set. `answers` is a function `(model, messages)`
that answers in place of the simulated model; where it returns None, that one answers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ftsdk.testing.lab import fake_training
from ftsdk.testing.lab.base import Double
from ftsdk.testing.lab.chat_choices import choices_of, usage_of
from ftsdk.testing.lab.messages import Request
from ftsdk.testing.lab.meter import Meter, request_hash
from ftsdk.testing.lab.rate_limiter import Bucket, Limiter

_CACHED_FROM = 1024
_CACHED_STEP = 128
Answers = Callable[[str, Sequence[Mapping[str, Any]]], str | None]
"""Answers a conversation with a model, or returns None."""


class Chats(Double):
    """Chat completions of a double; a mixin."""

    period_s = 60.0
    """The period of the limits."""

    has_empty_logprobs = True
    """Whether a choice without log probabilities says so, or leaves the field out."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.meter = Meter()
        self.limiter = Limiter()
        self._chat_limits: tuple[Any, ...] = (None, None, self.period_s)
        self.answer_s = 0.0
        self.noise = 0.0
        self.fingerprint = "fp_lab"
        self.answers: Answers | None = None
        self._prefixes: set[int] = set()

    # --- limits ---

    @property
    def request_limit(self) -> float | None:
        """The most requests in a period; None for no limit."""
        limit: float | None = self._chat_limits[0]
        return limit

    @request_limit.setter
    def request_limit(self, limit: float | None) -> None:
        self._set_limits(limit, self._chat_limits[1], self._chat_limits[2])

    @property
    def token_limit(self) -> float | None:
        """The most tokens in a period; None for no limit."""
        limit: float | None = self._chat_limits[1]
        return limit

    @token_limit.setter
    def token_limit(self, limit: float | None) -> None:
        self._set_limits(self._chat_limits[0], limit, self._chat_limits[2])

    @property
    def burst_s(self) -> float:
        """How many seconds of a limit may gather; the whole period at first."""
        return float(self._chat_limits[2])

    @burst_s.setter
    def burst_s(self, seconds: float) -> None:
        self._set_limits(self._chat_limits[0], self._chat_limits[1], seconds)

    def _set_limits(self, requests: float | None, tokens: float | None, burst_s: float) -> None:
        self._chat_limits = (requests, tokens, burst_s)
        self.limiter.requests, self.limiter.tokens = (
            None if limit is None else Bucket(self.clock, limit, self.period_s, burst_s)
            for limit in (requests, tokens)
        )

    def is_chat(self, request: Request) -> bool:
        """Whether a request asks for a chat completion."""
        return request.method == "POST" and request.path.endswith("/chat/completions")

    def delay_s(self, request: Request) -> float:
        return self.answer_s if self.is_chat(request) else 0.0

    def _limited(self, body: Mapping[str, Any]) -> tuple[str, Bucket, float] | None:
        """Count a request; return what is exhausted where it is refused."""
        longest = body.get("max_completion_tokens") or body.get("max_tokens") or 16
        return self.limiter.take(_tokens(body.get("messages")) + longest)

    # --- answers ---

    def _choices(self, body: Mapping[str, Any], text: str) -> tuple[list[dict[str, Any]], Any]:
        """Return the choices and the usage for a request, and count it as paid."""
        given = None if self.answers is None else self.answers(body["model"], body["messages"])
        text = text if given is None else given
        choices = choices_of(body, text, variant=self._variant(body))
        if not self.has_empty_logprobs:
            choices = [{k: v for k, v in one.items() if (k, v) != ("logprobs", None)} for one in choices]  # fmt: skip
        tokens = _tokens(body.get("messages"))
        usage = usage_of(tokens, choices, self._cached(body.get("messages") or [], tokens))
        self.meter.add(body, usage)
        return choices, usage

    def _variant(self, body: Mapping[str, Any]) -> int:
        """Return a number above 0 for a repeat whose answer is to differ from the first."""
        before = self.meter.times(body)
        if not before or not self.noise:
            return 0
        draw = int(request_hash({**body, "repeat": before})[:8], 16) / 0xFFFFFFFF
        return before if draw < self.noise else 0

    def _cached(self, messages: Sequence[Any], tokens: int) -> int:
        """Return how many tokens of a long prompt were seen before."""
        known = hash(json.dumps(messages, sort_keys=True))
        is_known = known in self._prefixes
        self._prefixes.add(known)
        return tokens // _CACHED_STEP * _CACHED_STEP if is_known and tokens >= _CACHED_FROM else 0


def _tokens(messages: Any) -> int:
    return fake_training.count_tokens(json.dumps({"messages": messages}).encode())
