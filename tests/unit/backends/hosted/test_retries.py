"""Retries are asked again within bounds: attempts, waits, deadline, and the budget of the process."""

from __future__ import annotations

import random

import pytest

from ftsdk.backends.hosted.error_facts import retry_after_s
from ftsdk.backends.hosted.retries import Retries, RetryBudget
from ftsdk.errors import AuthError, BackendError, RateLimited, Unavailable
from ftsdk.util.clock import ManualClock

RETRY_AFTER = (
    "0",
    "1",
    "119",
    "121",
    "1e9",
    "-1",
    "NaN",
    "inf",
    "garbage",
    None,
    "Wed, 21 Oct 2015 07:28:00 GMT",
    "Fri, 31 Dec 9999 23:59:59 GMT",
)


def failing(make, times=10**9):
    state = {"calls": 0}

    def ask():
        state["calls"] += 1
        if state["calls"] <= times:
            raise make()
        return "there"

    return ask, state


def test_recovers_and_tells_nothing():
    clock = ManualClock()
    ask, state = failing(lambda: Unavailable("x"), times=2)
    assert Retries(clock, budget=RetryBudget())(ask) == "there"
    assert state["calls"] == 3
    assert len(clock.slept) == 2


def test_a_refusal_is_asked_once():
    ask, state = failing(lambda: AuthError("no"))
    with pytest.raises(AuthError):
        Retries(ManualClock(), budget=RetryBudget())(ask)
    assert state["calls"] == 1


@pytest.mark.parametrize("text", RETRY_AFTER)
@pytest.mark.parametrize("attempts", [3, 10])
def test_no_sleep_over_120_s_and_no_loop_past_the_deadline(text, attempts):
    clock = ManualClock()
    headers = {} if text is None else {"retry-after": text}
    wait = retry_after_s(headers, clock.now())
    ask, state = failing(lambda: RateLimited("busy", retry_after_s=wait))
    reads = Retries(clock, attempts=attempts, deadline_s=180, budget=RetryBudget(reserve=50))
    with pytest.raises(RateLimited):
        reads(ask)
    assert all(one <= 120 for one in clock.slept)
    assert sum(clock.slept) <= 180
    assert state["calls"] <= attempts
    if wait is not None and wait > 120:
        assert clock.slept == []
    if text in ("1", "119"):
        assert clock.slept
        assert clock.slept[0] >= float(text)


@pytest.mark.parametrize(("chance", "share"), [(0.0, 0.5), (1.0, 1.0)])
def test_waits_double_from_half_a_second_to_eight(chance, share):
    clock = ManualClock()
    ask, state = failing(lambda: Unavailable("x"))
    reads = Retries(clock, attempts=8, budget=RetryBudget(reserve=50), chance=lambda: chance)
    with pytest.raises(Unavailable):
        reads(ask)
    assert state["calls"] == 8
    assert clock.slept == [share * wait for wait in (0.5, 1, 2, 4, 8, 8, 8)]


@pytest.mark.parametrize(
    ("asked", "waits"),
    [
        (0.0, [0.1, 0.1]),
        (1.0, [1.2, 1.2]),
        (10.0, [10.5, 11.0]),
        (100.0, [100.5]),  # a second one would end after the deadline
        (119.8, [120.0]),
        (120.0, [120.0]),
        (120.1, []),
    ],
)
def test_a_wait_that_is_asked_for_is_kept_and_at_most_120_s(asked, waits):
    clock = ManualClock()
    ask, _ = failing(lambda: RateLimited("busy", retry_after_s=asked))
    with pytest.raises(RateLimited):
        Retries(clock, budget=RetryBudget(), chance=lambda: 1.0)(ask)
    assert clock.slept == pytest.approx(waits)


def test_a_wait_that_ends_at_the_deadline_is_made():
    for deadline, slept in ((1.5, [0.5, 1.0]), (1.4, [0.5])):
        clock = ManualClock()
        ask, _ = failing(lambda: Unavailable("x"))
        with pytest.raises(Unavailable):
            Retries(clock, deadline_s=deadline, budget=RetryBudget(), chance=lambda: 1.0)(ask)
        assert clock.slept == slept


def test_a_call_earns_its_share_and_a_retry_costs_one():
    budget = RetryBudget(share=0.25, reserve=0, most=2)
    assert not budget.take()
    for _ in range(3):
        budget.call()
        assert not budget.take()
    budget.call()
    assert budget.take()
    assert not budget.take()
    for _ in range(100):
        budget.call()
    assert [budget.take() for _ in range(3)] == [True, True, False]
    usual = RetryBudget()
    assert [usual.take() for _ in range(21)] == [True] * 20 + [False]


def test_waits_are_spread():
    chance = random.Random(7).random
    first = set()
    for _ in range(50):
        clock = ManualClock()
        ask, _ = failing(lambda: Unavailable("x"), times=1)
        Retries(clock, budget=RetryBudget(), chance=chance)(ask)
        first.add(round(clock.slept[0], 3))
    assert len(first) > 30
    assert min(first) < 0.3
    assert max(first) > 0.45


def test_an_outage_of_10_000_calls_stays_within_a_fifth():
    budget, clock, retries = RetryBudget(), ManualClock(), 0
    for _ in range(10_000):
        ask, state = failing(lambda: Unavailable("down"))
        with pytest.raises(BackendError):
            Retries(clock, budget=budget)(ask)
        retries += state["calls"] - 1
    assert 0 < retries <= 2_000


def test_a_planted_bug_is_caught():
    """Without the budget the same outage makes two retries for each call."""

    class Endless(RetryBudget):
        def take(self):
            return True

    retries = 0
    for _ in range(200):
        ask, state = failing(lambda: Unavailable("down"))
        with pytest.raises(BackendError):
            Retries(ManualClock(), budget=Endless())(ask)
        retries += state["calls"] - 1
    assert retries == 400
