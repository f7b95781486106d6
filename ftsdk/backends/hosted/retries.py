"""The one place that retries: reads only, with jitter, `Retry-After`, a deadline and a budget.

The SDKs' own retries are off. A create call is never retried here: see `ftsdk.jobs.submitter`.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from typing import TypeVar

import tenacity

from ftsdk.errors import BackendError
from ftsdk.util.clock import Clock

_T = TypeVar("_T")
LONGEST_WAIT_S = 120.0
"""A longer `Retry-After` is not waited for: the error is raised and names it."""


class RetryBudget:
    """How many retries a process may make: a share of its calls, and a small reserve.

    In an outage every call fails; without a budget each would be made three times, just when the
    provider can bear it least. Each call adds `share` of a retry, up to `most`.
    """

    def __init__(self, share: float = 0.15, reserve: float = 20.0, most: float = 100.0) -> None:
        self._share = share
        self._most = most
        self._left = reserve
        self.unlock()

    def unlock(self) -> None:
        """Make a new lock: in a forked process another thread may have held the old one."""
        self._lock = threading.Lock()

    def call(self) -> None:
        """Count one call."""
        with self._lock:
            self._left = min(self._most, self._left + self._share)

    def take(self) -> bool:
        """Whether one more retry may be made; it is then counted."""
        with self._lock:
            if self._left < 1:
                return False
            self._left -= 1
            return True


PROCESS_BUDGET = RetryBudget()
"""The budget of this process, shared by all providers."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=PROCESS_BUDGET.unlock)


class Retries:
    """Makes up to `attempts` calls within `deadline_s` seconds, sleeping by the given clock."""

    def __init__(
        self,
        clock: Clock,
        *,
        attempts: int = 3,
        deadline_s: float = 180.0,
        budget: RetryBudget | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._clock = clock
        self._attempts = attempts
        self._deadline_s = deadline_s
        self.budget = budget or PROCESS_BUDGET
        self._chance = chance

    def __call__(self, ask: Callable[[], _T]) -> _T:
        """Return what `ask` returns. Raises the last `BackendError` when no attempt succeeds."""
        started = self._clock.monotonic()
        self.budget.call()

        def stop(state: tenacity.RetryCallState) -> bool:
            if state.attempt_number >= self._attempts:
                return True
            spent = self._clock.monotonic() - started
            return spent + state.upcoming_sleep > self._deadline_s or not self.budget.take()

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_is_worth_a_retry),
            wait=self._wait,
            stop=stop,
            sleep=self._clock.sleep,
            reraise=True,
        )
        return retrying(ask)

    def _wait(self, state: tenacity.RetryCallState) -> float:
        """Return seconds until the next attempt: what the provider asks, else doubling, with
        jitter.
        """
        backoff = min(8.0, 0.5 * 2.0 ** (state.attempt_number - 1))
        jittered = backoff * (0.5 + 0.5 * self._chance())
        error = None if state.outcome is None else state.outcome.exception()
        asked = error.retry_after_s if isinstance(error, BackendError) else None
        if asked is None:
            return jittered
        return min(LONGEST_WAIT_S, asked + min(jittered, 0.1 * asked + 0.1))


def _is_worth_a_retry(error: BaseException) -> bool:
    if not isinstance(error, BackendError) or not error.retryable:
        return False
    return error.retry_after_s is None or error.retry_after_s <= LONGEST_WAIT_S
