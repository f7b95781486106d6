"""When a chat request is sent again, and when it has failed.

Only what got no answer is sent again: a refusal for pace, a fault of the provider, a lost
connection. An answer is never asked for twice, whatever it says. A request without a complete
reply may have been answered and billed, so it is repeated less often than one that was refused.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from ftsdk.errors import FtsdkError, RateLimited, Unavailable

DEADLINE_S = 600.0
"""A request is not sent again later than this after it was first sent."""
MOST_FAULTS = 8
"""Attempts that may fail before anything can be billed: an HTTP 5xx, no connection."""
MOST_LOST = 3
"""Attempts that may be lost: each may have been answered and billed."""


@dataclass
class Attempts:
    """The attempts of one request."""

    chance: Callable[[], float] = random.random
    count: int = 0
    lost: int = 0
    _faults: int = 0
    _pace: int = 0
    _begun: float | None = field(default=None)

    def begin(self, now: float) -> None:
        """Count an attempt that is sent now."""
        self.count += 1
        self._begun = now if self._begun is None else self._begun

    def wait_s(self, error: FtsdkError, now: float) -> float | None:
        """Return the seconds until the next attempt after this error; None where there is none."""
        if not isinstance(error, RateLimited | Unavailable) or not error.retryable:
            return None
        wait = self._backoff_s(error)
        late = self._begun is not None and now + wait - self._begun > DEADLINE_S
        return None if late or self._faults >= MOST_FAULTS or self.lost >= MOST_LOST else wait

    def _backoff_s(self, error: RateLimited | Unavailable) -> float:
        """Count the failure, and return what the provider asks to wait, else doubling with jitter."""
        if isinstance(error, RateLimited):
            self._pace += 1
            doubled = min(30.0, 0.5 * 2.0 ** (self._pace - 1))
        else:
            self._faults += 1
            self.lost += error.status_code is None and error.reached
            doubled = min(30.0, 0.5 * 2.0 ** (self._faults - 1))
        jittered = doubled * (0.5 + 0.5 * self.chance())
        asked = error.retry_after_s
        return jittered if asked is None else asked + min(jittered, 0.1 * asked + 0.05)

    def described(self, error: FtsdkError) -> FtsdkError:
        """Return the last error of a request, which says how often it was sent and what may be billed."""
        if self.count > 1 or self.lost:
            more = f"sent {self.count} times" if self.count > 1 else "sent once"
            if self.lost:
                times = "once" if self.lost == 1 else f"{self.lost} times"
                more += f", {times} without a complete reply: it may have been answered and billed"
                error.submitted = "maybe"
            error.where = f"{error.where}; {more}" if error.where else more
        return error
