"""Spread reads that can wait, so that many jobs cause no burst of requests."""

from __future__ import annotations

import threading

from ftsdk.util.clock import Clock

MOST_PER_S = 1.8
"""The average rate of requests up to which reads that can wait are made."""


class Pace:
    """Counts every request to one provider and delays those that can wait.

    Other requests are never delayed: only callers of `wait` are.
    """

    def __init__(self, clock: Clock, per_s: float = MOST_PER_S) -> None:
        self._clock, self._each_s = clock, 1 / per_s
        self._free_at = clock.monotonic()
        self._lock = threading.Lock()

    def count(self) -> None:
        """Count one request."""
        with self._lock:
            self._free_at = max(self._free_at, self._clock.monotonic()) + self._each_s

    def wait(self, until: float) -> bool:
        """Sleep until a request fits the rate; return False, at once, if that is after `until`."""
        with self._lock:
            free_at = self._free_at
        if free_at > until:
            return False
        self._clock.sleep(max(0.0, free_at - self._clock.monotonic()))
        return True
