"""Spaces requests so that a provider's rate limits are used and not exceeded.

Each limit is a bucket that fills at the limit's rate. A request takes its share when its turn is
planned, and is sent once the bucket has held it. A reply bounds the level from both sides: the
provider has at most what it reports and what has come in since, and at least what it reports less the
requests that it may not have counted. The level moves only when it is outside of these bounds, so
neither the delay of a reply nor requests under way disturb the pace.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

from ftsdk.backends.hosted.rate_limits import RateLimit, RateLimits
from ftsdk.util.clock import Clock

_LONG = 2.0
"""A reset later than this many periods means that the limit has a longer period, such as a day."""
_BURST_S = 1.0
"""Where requests were refused although some were left, this many seconds of them may gather."""


@dataclass
class Turn:
    """The turn of one request: it may be sent at `at`, by the monotonic clock.

    `taken` is what all requests had taken when it was planned, itself included.
    """

    at: float
    tokens: float
    taken: tuple[float, float]
    sent_at: float | None = None


class _Bucket:
    """One limit. `level` is what may be taken now; it is negative while requests wait."""

    def __init__(self, limit: RateLimit, now: float) -> None:
        self.capacity = self.burst = limit.limit
        self.rate = limit.limit / limit.period_s
        self.level = limit.remaining
        self._at = now

    def take(self, amount: float, now: float) -> float:
        """Take `amount`, or all that fits; return the seconds until it is there."""
        self._fill(now)
        self.level -= min(amount, self.burst)
        return max(0.0, -self.level / self.rate)

    def give_back(self, amount: float) -> None:
        """Return what was taken for a request that is not sent."""
        self.level += min(amount, self.burst)

    def correct(
        self, limit: RateLimit, now: float, *, since: float, uncounted: float, unsent: float
    ) -> None:
        """Bring the level inside the bounds that a report sets.

        `since` is when its request was sent, `uncounted` what was taken after it, and `unsent` the
        part of it that was not sent yet.
        """
        self._fill(now)
        self._adopt(limit)
        least = limit.remaining - uncounted
        most = limit.remaining - unsent + self.rate * (now - since)
        self.level = min(max(self.level, least), max(most, least), self.burst)

    def _adopt(self, limit: RateLimit) -> None:
        if limit.limit != self.capacity:
            self.burst = min(self.burst, limit.limit) if self._is_smoothed else limit.limit
            self.capacity = limit.limit
        used = limit.limit - limit.remaining
        is_long = limit.reset_s is not None and limit.reset_s > _LONG * limit.period_s
        if is_long and used > 0 and limit.reset_s is not None:
            self.rate = used / limit.reset_s
        else:
            self.rate = limit.limit / limit.period_s

    @property
    def _is_smoothed(self) -> bool:
        return self.burst < self.capacity

    def smooth(self) -> None:
        """Let fewer requests gather: the provider counts in shorter periods than it says."""
        self.burst = min(self.burst, max(1.0, self.rate * _BURST_S))
        self.level = min(self.level, self.burst)

    def _fill(self, now: float) -> None:
        self.level = min(self.burst, self.level + self.rate * max(0.0, now - self._at))
        self._at = now


class Pacer:
    """Plans when requests are sent. Safe to use from several threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._requests: _Bucket | None = None
        self._tokens: _Bucket | None = None
        self._taken = (0.0, 0.0)
        self._unsent = (0.0, 0.0)
        self._held_until = -math.inf

    def plan(self, tokens: float) -> Turn:
        """Plan the turn of a request of about `tokens` tokens, prompt and answer."""
        with self._lock:
            now = self._clock.monotonic()
            wait = 0.0
            if self._requests is not None:
                wait = self._requests.take(1.0, now)
            if self._tokens is not None:
                wait = max(wait, self._tokens.take(tokens, now))
            self._taken = (self._taken[0] + 1.0, self._taken[1] + tokens)
            self._unsent = (self._unsent[0] + 1.0, self._unsent[1] + tokens)
            return Turn(now + wait, tokens, self._taken)

    def wait_s(self, turn: Turn) -> float:
        """Return the seconds until a planned request may be sent; zero or less for now."""
        with self._lock:
            return max(turn.at, self._held_until) - self._clock.monotonic()

    def sent(self, turn: Turn) -> None:
        """Note that a planned request is sent now."""
        with self._lock:
            self._mark_sent(turn)

    def cancel(self, turn: Turn) -> None:
        """Give up a planned request that was not sent."""
        with self._lock:
            if turn.sent_at is not None:
                return
            self._mark_sent(turn)
            for bucket, amount in ((self._requests, 1.0), (self._tokens, turn.tokens)):
                if bucket is not None:
                    bucket.give_back(amount)

    def _mark_sent(self, turn: Turn) -> None:
        if turn.sent_at is None:
            turn.sent_at = self._clock.monotonic()
            self._unsent = (self._unsent[0] - 1.0, self._unsent[1] - turn.tokens)

    def replied(self, turn: Turn, limits: RateLimits) -> None:
        """Note what the reply to a request says of the limits."""
        with self._lock:
            now = self._clock.monotonic()
            self._requests = self._corrected(self._requests, limits.requests, turn, 0, now)
            self._tokens = self._corrected(self._tokens, limits.tokens, turn, 1, now)

    def _corrected(
        self, bucket: _Bucket | None, limit: RateLimit | None, turn: Turn, which: int, now: float
    ) -> _Bucket | None:
        if limit is None:
            return bucket
        uncounted, unsent = self._taken[which] - turn.taken[which], self._unsent[which]
        if bucket is None:
            bucket = _Bucket(limit, now)
            bucket.level -= uncounted
        since = now if turn.sent_at is None else turn.sent_at
        unsent = min(unsent, uncounted)
        bucket.correct(limit, now, since=since, uncounted=uncounted, unsent=unsent)
        return bucket

    def refused(self, turn: Turn, limits: RateLimits, retry_after_s: float | None) -> None:
        """Note that a request was refused for pace.

        Where the reply says that something is left, only this request is too early: the provider
        counts in shorter periods than it says, and requests gather less from now on. Otherwise no
        request is sent for `retry_after_s`.
        """
        found = [limit for limit in (limits.requests, limits.tokens) if limit is not None]
        exhausted = not found or any(
            limit.remaining < amount
            for limit, amount in ((limits.requests, 1.0), (limits.tokens, turn.tokens))
            if limit is not None
        )
        if retry_after_s is None:
            resets = [min(one.reset_s, one.period_s) for one in found if one.reset_s is not None]
            retry_after_s = max(resets, default=0.0)
        with self._lock:
            if exhausted:
                until = self._clock.monotonic() + retry_after_s
                self._held_until = max(self._held_until, until)
            if not exhausted:
                for bucket in (self._requests, self._tokens):
                    if bucket is not None:
                        bucket.smooth()
