"""A provider's rate limits, as the headers of its replies state them.

- OpenAI, Azure: `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`, per minute; the time is a
  duration such as `6m0s` or `12ms` (guide "Rate limits", 2026).
- Together: `x-ratelimit-{limit,remaining,reset}` for requests and `x-tokenlimit-{limit,remaining}` for
  tokens, per second (docs.together.ai/docs/rate-limits, 2026).

`note_reply` is the clients' hook for each reply. It passes the limits to whoever listens in this
context; the answer itself need not carry them.
"""

from __future__ import annotations

import contextlib
import contextvars
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_PATH = "/chat/completions"
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|h|m|s)")
_MINUTE_S = 60.0


@dataclass(frozen=True)
class RateLimit:
    """At most `limit` in `period_s` seconds; `remaining` are left, and all again in `reset_s`."""

    limit: float
    remaining: float
    reset_s: float | None = None
    period_s: float = _MINUTE_S


@dataclass(frozen=True)
class RateLimits:
    """What one reply says. None where it says nothing of requests or of tokens."""

    requests: RateLimit | None = None
    tokens: RateLimit | None = None


Listener = Callable[[RateLimits], None]
_LISTENER: contextvars.ContextVar[Listener | None] = contextvars.ContextVar(
    "ftsdk_rate_limits", default=None
)


@contextlib.contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Call `listener` with the limits of each chat reply that arrives in this context."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


def note_reply(response: Any) -> None:
    """Pass on what a reply says of the limits: a hook for the replies of an httpx client."""
    listener = _LISTENER.get()
    if listener is not None and response.request.url.path.endswith(_PATH):
        listener(rate_limits_of(response.headers))


def rate_limits_of(headers: Mapping[str, str]) -> RateLimits:
    """Return the limits that headers state; values that make no sense are left out."""
    openai = RateLimits(
        _limit(headers, "x-ratelimit-{}-requests", _MINUTE_S),
        _limit(headers, "x-ratelimit-{}-tokens", _MINUTE_S),
    )
    if openai.requests is not None or openai.tokens is not None:
        return openai
    return RateLimits(
        _limit(headers, "x-ratelimit-{}", 1.0), _limit(headers, "x-tokenlimit-{}", 1.0)
    )


def _limit(headers: Mapping[str, str], name: str, period_s: float) -> RateLimit | None:
    limit = _number(headers.get(name.format("limit")))
    remaining = _number(headers.get(name.format("remaining")))
    if not limit or remaining is None:
        return None
    reset = duration_s(headers.get(name.format("reset")))
    return RateLimit(limit, min(remaining, limit), reset, period_s)


def duration_s(text: str | None) -> float | None:
    """Return a duration in seconds: `1m30.5s`, `12ms`, or a plain number of seconds."""
    if text is None:
        return None
    plain = _number(text)
    if plain is not None:
        return plain
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text.strip():
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _number(text: str | None) -> float | None:
    if text is None or not text.isascii():
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None
