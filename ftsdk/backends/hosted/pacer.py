"""Spaces requests so that a provider's rate limits are used and not exceeded.

Each limit is a bucket that fills at the limit's rate. A request takes its share when its turn is
planned, and is sent once the bucket has held it. A reply bounds the level from both sides: the
provider has at most what it reports and what has come in since, and at least what it reports less the
requests that it may not have counted. The level moves only when it is outside of these bounds, so
neither the delay of a reply nor requests under way disturb the pace.

What a request takes is first a guess. Two reports some requests apart show what the provider charged
between them, and the guesses are scaled by it: a wrong count of tokens is corrected, and where others
use the same limit, their share is left to them.
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
"""Where the provider counts in shorter periods than it says, as many seconds may gather."""
_REFUSALS = 3.0
_FORGOTTEN = 0.25
"""So many refusals although something is left mean that it does; each answer forgets a part of one."""
_COMPARED = 20
"""Reports that are compared are this many requests apart."""
_LEAST_SCALES = (1.0, 0.05)
"""A request counts at least as one; of tokens fewer may be charged than we think."""
_MOST_SCALE = 20.0


@dataclass
class Turn:
    """The turn of one request: it may be sent at `at`, by the monotonic clock.

    `tokens` is a guess, and `taken` what all requests had taken when it was planned, itself included,
    in requests and in tokens.
    """

    at: float
    tokens: float
    taken: tuple[float, float]
    sent_at: float | None = None


@dataclass(frozen=True)
class _Report:
    """What was left when a request was counted."""

    remaining: float
    sent_at: float
    taken: float


class _Bucket:
    """One limit. `level` is what may be taken now; it is negative while requests wait.

    `scale` is what the provider charges for one unit of our guess.
    """

    def __init__(self, limit: RateLimit, now: float, least_scale: float) -> None:
        self._least_scale = least_scale
        self.capacity = self.burst = limit.limit
        self.rate = limit.limit / limit.period_s
        self.level = limit.remaining
        self.scale = 1.0
        self._at = now
        self._compared: _Report | None = None

    def take(self, amount: float, now: float) -> float:
        """Take `amount`, or all that fits; return the seconds until it is there."""
        self._fill(now)
        self.level -= self._share(amount)
        return max(0.0, -self.level / self.rate)

    def give_back(self, amount: float) -> None:
        """Return what was taken for a request that is not sent."""
        self.level += self._share(amount)

    def _share(self, amount: float) -> float:
        return min(amount * self.scale, self.burst)

    def correct(
        self, limit: RateLimit, now: float, *, since: float, uncounted: float, unsent: float
    ) -> None:
        """Bring the level inside the bounds that a report sets.

        `since` is when its request was sent, `uncounted` what was taken after it, and `unsent` the
        part of it that was not sent yet.
        """
        self._fill(now)
        self._adopt(limit)
        least = -math.inf if self._is_smoothed else limit.remaining - uncounted * self.scale
        most = limit.remaining - unsent * self.scale + self.rate * (now - since)
        self.level = min(max(self.level, least), max(most, least), self.burst)

    def compare(self, limit: RateLimit, *, sent_at: float, taken: float, least: float) -> None:
        """Learn what is charged from this report and one at least `least` taken before."""
        last, report = self._compared, _Report(limit.remaining, sent_at, taken)
        if last is None or taken < last.taken or limit.remaining >= limit.limit - 1:
            self._compared = report
        elif taken - last.taken >= least:
            charged = last.remaining - limit.remaining + self.rate * (sent_at - last.sent_at)
            scale = charged / (taken - last.taken)
            scale = 0.5 * self.scale + 0.5 * scale
            self.scale = min(_MOST_SCALE, max(self._least_scale, scale))
            self._compared = report

    def uncharged(self, amount: float) -> None:
        """Note that a refused request was taken and not charged."""
        if self._compared is not None:
            last = self._compared
            self._compared = _Report(last.remaining, last.sent_at, last.taken + amount)

    def _adopt(self, limit: RateLimit) -> None:
        if limit.limit != self.capacity:
            self.burst = min(self.burst, limit.limit) if self._is_smoothed else limit.limit
            self.capacity = limit.limit
            self._compared = None
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
        self._buckets: list[_Bucket | None] = [None, None]
        self._taken = (0.0, 0.0)
        self._unsent = (0.0, 0.0)
        self._held_until = -math.inf
        self._refusals = 0.0

    def plan(self, tokens: float) -> Turn:
        """Plan the turn of a request of about `tokens` tokens, prompt and answer."""
        with self._lock:
            now = self._clock.monotonic()
            waits = [
                bucket.take(amount, now)
                for bucket, amount in zip(self._buckets, (1.0, tokens), strict=True)
                if bucket is not None
            ]
            self._taken = (self._taken[0] + 1.0, self._taken[1] + tokens)
            self._unsent = (self._unsent[0] + 1.0, self._unsent[1] + tokens)
            return Turn(now + max(waits, default=0.0), tokens, self._taken)

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
            for bucket, amount in zip(self._buckets, (1.0, turn.tokens), strict=True):
                if bucket is not None:
                    bucket.give_back(amount)

    def _mark_sent(self, turn: Turn) -> None:
        if turn.sent_at is None:
            turn.sent_at = self._clock.monotonic()
            self._unsent = (self._unsent[0] - 1.0, self._unsent[1] - turn.tokens)

    def replied(self, turn: Turn, limits: RateLimits) -> None:
        """Note what the reply to a request says of the limits, and that it was not refused."""
        with self._lock:
            self._refusals = max(0.0, self._refusals - _FORGOTTEN)
            self._correct(turn, limits)
            for which, limit in enumerate((limits.requests, limits.tokens)):
                bucket = self._buckets[which]
                if limit is not None and bucket is not None and turn.sent_at is not None:
                    least = _COMPARED * (1.0, turn.tokens)[which]
                    taken = turn.taken[which]
                    bucket.compare(limit, sent_at=turn.sent_at, taken=taken, least=least)

    def _correct(self, turn: Turn, limits: RateLimits) -> None:
        now = self._clock.monotonic()
        for which, limit in enumerate((limits.requests, limits.tokens)):
            if limit is None:
                continue
            uncounted = self._taken[which] - turn.taken[which]
            bucket = self._buckets[which]
            if bucket is None:
                bucket = self._buckets[which] = _Bucket(limit, now, _LEAST_SCALES[which])
                bucket.level -= uncounted
            since = now if turn.sent_at is None else turn.sent_at
            unsent = min(self._unsent[which], uncounted)
            bucket.correct(limit, now, since=since, uncounted=uncounted, unsent=unsent)

    def refused(self, turn: Turn, limits: RateLimits, retry_after_s: float | None) -> None:
        """Note that a request was refused for pace.

        Where the reply says that something is left, only this request is too early; after several
        of them, requests gather less from now on. Otherwise nothing is sent for `retry_after_s`, or
        without it until the limit's reset, at most its period.
        """
        with self._lock:
            exhausted = self._exhausted(turn, limits)
            if exhausted is not None:
                wait = _reset_s(exhausted) if retry_after_s is None else retry_after_s
                self._held_until = max(self._held_until, self._clock.monotonic() + wait)
            self._refusals += exhausted is None
            self._correct(turn, limits)
            for bucket, amount in zip(self._buckets, (1.0, turn.tokens), strict=True):
                if bucket is not None:
                    bucket.uncharged(amount)
                    if self._refusals >= _REFUSALS:
                        bucket.smooth()

    def _exhausted(self, turn: Turn, limits: RateLimits) -> list[RateLimit] | None:
        """Return the limits of which too little is left; an empty list where none is stated."""
        found, stated = [], False
        for which, limit in enumerate((limits.requests, limits.tokens)):
            if limit is None:
                continue
            stated, bucket = True, self._buckets[which]
            scale = 1.0 if bucket is None else bucket.scale
            if limit.remaining < (1.0, turn.tokens)[which] * max(1.0, scale):
                found.append(limit)
        return found if found or not stated else None


def _reset_s(limits: list[RateLimit]) -> float:
    resets = (min(one.reset_s, one.period_s) for one in limits if one.reset_s is not None)
    return max(resets, default=0.0)
