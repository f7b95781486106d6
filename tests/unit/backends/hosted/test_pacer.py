"""The pacer against simulated providers: the limit is used and not exceeded.

The simulation is discrete: events are requests that are sent and replies that arrive, and the clock
jumps from one to the next.
"""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, field

import pytest

from ftsdk.backends.hosted.pacer import Pacer, Turn
from ftsdk.backends.hosted.rate_limits import RateLimit, RateLimits
from ftsdk.util.clock import ManualClock


@dataclass
class TokenBucket:
    """A provider whose limit fills all the time; `hidden_s` is the period that it really counts in."""

    limit: float
    period_s: float = 60.0
    hidden_s: float | None = None
    shows: bool = True
    level: float = field(init=False)
    at: float = 0.0

    def __post_init__(self) -> None:
        self.level = self.capacity

    @property
    def rate(self) -> float:
        return self.limit / self.period_s

    @property
    def capacity(self) -> float:
        return self.limit if self.hidden_s is None else self.rate * self.hidden_s

    def take(self, amount: float, now: float) -> tuple[float | None, RateLimit]:
        """Return the seconds to wait where it refuses, and what the headers say."""
        self.level = min(self.capacity, self.level + self.rate * (now - self.at))
        self.at = now
        wait = max(0.0, (amount - self.level) / self.rate)
        if not wait:
            self.level -= amount
        used = self.capacity - self.level
        shown = RateLimit(
            self.limit, float(int(self.limit - used)), used / self.rate, min(60.0, self.period_s)
        )
        return (wait or None), shown


@dataclass
class Window:
    """A provider that counts from minute to minute."""

    limit: float
    period_s: float = 60.0
    begun: float = 0.0
    used: float = 0.0

    @property
    def rate(self) -> float:
        return self.limit / self.period_s

    def take(self, amount: float, now: float) -> tuple[float | None, RateLimit]:
        if now - self.begun >= self.period_s:
            self.begun, self.used = now - (now - self.begun) % self.period_s, 0.0
        left = self.begun + self.period_s - now
        wait = left if self.used + amount > self.limit else None
        if wait is None:
            self.used += amount
        return wait, RateLimit(self.limit, self.limit - self.used, left, self.period_s)


@dataclass
class Run:
    """What a simulation gave: seconds, refusals, and when each request was accepted."""

    seconds: float
    refused: int
    accepted: list[float]


def simulate(
    server: TokenBucket | Window,
    *,
    requests: int,
    concurrency: int = 16,
    latency_s: float = 0.3,
    tokens: float | None = None,
    guess: float | None = None,
    other_every_s: float | None = None,
    shows: bool = True,
) -> Run:
    """Ask `requests` with a pacer. `tokens` is what each costs, and `guess` what we think it does."""
    clock = ManualClock()
    pacer = Pacer(clock)
    events: list[tuple[float, int, str, tuple[Turn, RateLimits, float | None] | None]] = []
    order, refused, accepted, todo = itertools.count(), 0, [], requests
    others = 0.0

    def at(time: float, kind: str, what=None) -> None:
        heapq.heappush(events, (time, next(order), kind, what))

    for _ in range(concurrency):
        at(0.0, "start")
    last = 0.0
    while events:
        time, _, kind, what = heapq.heappop(events)
        clock.advance(time - clock.monotonic())
        while other_every_s is not None and others <= time:
            server.take(1.0, time)
            others += other_every_s
        if kind == "start":
            if todo > 0:
                todo -= 1
                at(time, "wait", (pacer.plan(guess or tokens or 1.0), RateLimits(), None))
        elif kind == "wait":
            turn = what[0]
            wait = pacer.wait_s(turn)
            if wait > 1e-9:
                at(time + min(wait, 0.2), "wait", what)
                continue
            pacer.sent(turn)
            late, shown = server.take(tokens or 1.0, time)
            limits = RateLimits()
            if shows:
                limits = RateLimits(None, shown) if tokens else RateLimits(shown)
            at(time + latency_s, "reply", (turn, limits, late))
        else:
            turn, limits, late = what
            if late is not None:
                refused += 1
                todo += 1
                pacer.refused(turn, limits, late)
            else:
                accepted.append(time)
                pacer.replied(turn, limits)
            last = time
            at(time + (late or 0.0), "start")
    return Run(last, refused, accepted)


def used(
    run: Run, server: TokenBucket | Window, *, burst: float = 0.0, tokens: float = 1.0
) -> float:
    """The share of the limit that was used, beyond what could be sent at once."""
    return (len(run.accepted) * tokens - burst) / (run.seconds * server.rate)


@pytest.mark.parametrize("latency_s", [0.05, 0.3, 1.2])
def test_the_limit_of_requests_is_used_and_not_exceeded(latency_s: float) -> None:
    server = TokenBucket(600)
    run = simulate(server, requests=2000, latency_s=latency_s, concurrency=32)
    assert len(run.accepted) == 2000
    assert run.refused == 0
    assert used(run, server, burst=600) > 0.97


def test_the_limit_of_tokens_is_used_and_not_exceeded() -> None:
    server = TokenBucket(60_000)
    run = simulate(server, requests=1000, tokens=300)
    assert run.refused == 0
    assert used(run, server, burst=60_000, tokens=300) > 0.97


@pytest.mark.parametrize("guess", [30, 100, 900, 3000])
def test_a_wrong_guess_of_the_tokens_is_corrected_by_the_replies(guess: float) -> None:
    server = TokenBucket(60_000)
    run = simulate(server, requests=1000, tokens=300, guess=guess, concurrency=8)
    assert run.refused <= 5
    assert used(run, server, burst=60_000, tokens=300) > 0.97


@pytest.mark.parametrize(("concurrency", "latency_s"), [(32, 0.3), (2, 0.05)])
def test_a_limit_that_is_counted_by_the_second_is_learned(
    concurrency: int, latency_s: float
) -> None:
    server = TokenBucket(1200, hidden_s=1.0)
    run = simulate(server, requests=2000, concurrency=concurrency, latency_s=latency_s)
    assert run.refused <= 40
    assert used(run, server) > 0.95


def test_a_limit_that_is_counted_from_minute_to_minute_is_used() -> None:
    server = Window(600)
    run = simulate(server, requests=3000)
    assert run.refused <= 3 * 16  # a few at the end of each minute
    assert used(run, server) > 0.9


def test_a_limit_of_a_day_is_not_taken_for_one_of_a_minute() -> None:
    server = TokenBucket(2000, period_s=86_400)
    run = simulate(server, requests=2100)
    assert run.refused <= 16
    assert used(run, server, burst=2000) > 0.9


def test_others_who_use_the_same_limit_are_noticed() -> None:
    server = TokenBucket(600)
    run = simulate(server, requests=1000, other_every_s=0.2)  # half of the limit
    assert run.refused <= 0.05 * 1000
    assert len(run.accepted) / (run.seconds * server.rate) > 0.45


def test_without_headers_nothing_is_sent_while_the_provider_asks_to_wait() -> None:
    clock = ManualClock()
    pacer = Pacer(clock)
    first, second = pacer.plan(1), pacer.plan(1)
    pacer.sent(first)
    pacer.refused(first, RateLimits(), 20.0)
    assert pacer.wait_s(second) == 20.0
    clock.advance(20)
    assert pacer.wait_s(second) == 0.0


def test_a_refusal_although_some_are_left_delays_only_that_request() -> None:
    clock = ManualClock()
    pacer = Pacer(clock)
    first, second = pacer.plan(1), pacer.plan(1)
    pacer.sent(first)
    pacer.refused(first, RateLimits(RateLimit(600, 599, 0.1)), 20.0)
    assert pacer.wait_s(second) == 0.0


def test_together_names_the_wait_in_its_headers() -> None:
    pacer = Pacer(ManualClock())
    first = pacer.plan(1)
    pacer.sent(first)
    pacer.refused(first, RateLimits(RateLimit(10, 0, 0.7, 1.0)), None)
    assert pacer.wait_s(pacer.plan(1)) == 0.7


def test_a_request_that_is_not_sent_gives_its_turn_back() -> None:
    clock = ManualClock()
    pacer = Pacer(clock)
    first = pacer.plan(1)
    pacer.sent(first)
    pacer.replied(first, RateLimits(RateLimit(60, 0, 60.0)))
    second = pacer.plan(1)
    assert pacer.wait_s(second) == pytest.approx(1.0)
    pacer.cancel(second)
    pacer.cancel(second)  # once is enough
    assert pacer.wait_s(pacer.plan(1)) == pytest.approx(1.0)


def test_a_higher_limit_is_used_at_once() -> None:
    clock = ManualClock()
    pacer = Pacer(clock)
    first = pacer.plan(1)
    pacer.sent(first)
    pacer.replied(first, RateLimits(RateLimit(60, 0, 60.0)))
    second = pacer.plan(1)
    clock.advance(1.0)
    pacer.sent(second)
    pacer.replied(second, RateLimits(RateLimit(6000, 5999, 0.01)))
    assert pacer.wait_s(pacer.plan(1)) == 0.0
