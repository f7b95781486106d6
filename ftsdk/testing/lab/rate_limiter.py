"""The rate limits of a double: buckets that fill at the limit's rate, as OpenAI and Together have."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ftsdk.util.clock import Clock


class Bucket:
    """At most `limit` in `period_s` seconds. It holds what `burst_s` seconds bring, at most."""

    def __init__(self, clock: Clock, limit: float, period_s: float, burst_s: float) -> None:
        self.limit = limit
        self._rate, self._clock = limit / period_s, clock
        self.capacity = max(1.0, self._rate * min(burst_s, period_s))
        self._level, self._at = self.capacity, clock.monotonic()

    def _fill(self) -> None:
        now = self._clock.monotonic()
        self._level = min(self.capacity, self._level + self._rate * (now - self._at))
        self._at = now

    def missing_s(self, amount: float) -> float:
        """Return the seconds until `amount` is there; 0 when it is."""
        self._fill()
        return max(0.0, (min(amount, self.capacity) - self._level) / self._rate)

    def take(self, amount: float) -> None:
        """Take `amount`, or all that fits."""
        self._level -= min(amount, self.capacity)

    @property
    def remaining(self) -> int:
        """What is left, in whole units."""
        self._fill()
        return max(0, math.floor(self._level))

    @property
    def reset_s(self) -> float:
        """The seconds until it is full."""
        self._fill()
        return (self.capacity - self._level) / self._rate


@dataclass
class Limiter:
    """The limits of requests and of tokens; None where there is none."""

    requests: Bucket | None = None
    tokens: Bucket | None = None
    refused: int = 0
    """How many requests were refused."""

    def take(self, tokens: float) -> tuple[str, Bucket, float] | None:
        """Count a request; return what is exhausted and for how many seconds where it is refused."""
        asked = (("requests", self.requests, 1.0), ("tokens", self.tokens, tokens))
        for name, bucket, amount in asked:
            wait = 0.0 if bucket is None else bucket.missing_s(amount)
            if bucket is not None and wait > 0:
                self.refused += 1
                return name, bucket, wait
        for _, bucket, amount in asked:
            if bucket is not None:
                bucket.take(amount)
        return None

    def openai_headers(self) -> Mapping[str, str]:
        """Return the headers that OpenAI sends, with durations such as `1m30.25s`."""
        found = {}
        for name, bucket in (("requests", self.requests), ("tokens", self.tokens)):
            if bucket is not None:
                found[f"x-ratelimit-limit-{name}"] = f"{bucket.limit:g}"
                found[f"x-ratelimit-remaining-{name}"] = str(bucket.remaining)
                found[f"x-ratelimit-reset-{name}"] = go_duration(bucket.reset_s)
        return found

    def together_headers(self) -> Mapping[str, str]:
        """Return the headers that Together sends, with seconds."""
        found = {}
        if self.requests is not None:
            found["x-ratelimit-limit"] = f"{self.requests.limit:g}"
            found["x-ratelimit-remaining"] = str(self.requests.remaining)
            found["x-ratelimit-reset"] = f"{self.requests.reset_s:.3f}"
        if self.tokens is not None:
            found["x-tokenlimit-limit"] = f"{self.tokens.limit:g}"
            found["x-tokenlimit-remaining"] = str(self.tokens.remaining)
        return found


def go_duration(seconds: float) -> str:
    """Return a duration as Go prints it: `0s`, `12ms`, `1.5s`, `6m0s`."""
    milliseconds = round(seconds * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms" if milliseconds else "0s"
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{rest / 1000:g}s"
    return f"{hours}h{minutes}m{text}" if hours else f"{minutes}m{text}" if minutes else text
