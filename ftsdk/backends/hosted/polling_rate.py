"""How often a provider is asked: what may wait is spread, so that many jobs make no burst of reads."""

from __future__ import annotations

import threading

from ftsdk.util.clock import Clock

MOST_PER_S = 1.8
"""Requests a second, on average, that reads which can wait bring a provider to at most."""


class Pace:
    """Counts every request to one provider, and lets a read wait until there is room for it.

    The requests themselves are never held up: whoever can wait asks with `wait`.
    """

    def __init__(self, clock: Clock, per_s: float = MOST_PER_S) -> None:
        self._clock, self._each_s = clock, 1 / per_s
        self._free_at = clock.monotonic()
        self._lock = threading.Lock()

    def count(self) -> None:
        """A request is made."""
        with self._lock:
            self._free_at = max(self._free_at, self._clock.monotonic()) + self._each_s

    def wait(self, until: float) -> bool:
        """Sleep until one more request keeps the pace; False, at once, where that is after `until`."""
        with self._lock:
            free_at = self._free_at
        if free_at > until:
            return False
        self._clock.sleep(max(0.0, free_at - self._clock.monotonic()))
        return True
