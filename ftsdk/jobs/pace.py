"""Wait and send again after a provider refused a create call for pace, before accepting the job.

The journal has the job as `created` meanwhile, with the refusal as its `error`, so that a process
that is killed while it waits leaves a job that the next call sends.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from ftsdk.errors import BackendError, FtsdkError, RateLimited
from ftsdk.session import Horizon
from ftsdk.types.job import JobSnapshot
from ftsdk.types.status import JobStatus
from ftsdk.util.cancellation import is_cancel_requested, is_cancellable
from ftsdk.util.clock import Clock

_log = logging.getLogger("ftsdk")


class PaceRefused(Exception):
    """Internal: the provider refused for pace; the refusal is journaled."""

    def __init__(self, error: FtsdkError) -> None:
        super().__init__(error.what)
        self.error = error


def is_pace_refusal(error: FtsdkError) -> bool:
    """Return whether the provider refused before acceptance, and may accept the same call later."""
    return isinstance(error, RateLimited) and error.submitted == "no" and error.retryable


def was_refused_for_pace(snapshot: JobSnapshot) -> bool:
    """Return whether the last create call of an unsent job was refused for pace."""
    refusal = snapshot.error or {}
    return snapshot.status is JobStatus.CREATED and refusal.get("code") == RateLimited.code


@dataclass
class Pacer:
    """The waits of one submission: as long as the provider asks, and within `horizon.pace_s` in all."""

    clock: Clock
    horizon: Horizon
    say: Callable[[str], None] = _log.warning

    def __post_init__(self) -> None:
        self._waited_s = 0.0
        self._backoff_s = self.horizon.first_pause_s

    def wait(self, snapshot: JobSnapshot, error: FtsdkError) -> None:
        """Wait before the next call. Raises `error` when the provider asks for more time than is left."""
        asked = error.retry_after_s if isinstance(error, BackendError) else None
        pause = max(asked or 0.0, self._backoff_s)
        if snapshot.status is JobStatus.CREATED:
            again = f"then make the same call again: it sends job {snapshot.id}"
            error.hint = f"wait {pause:g} s, {again}"
        if self._waited_s + pause > self.horizon.pace_s:
            raise error from error.__cause__
        self.say(f"{error.what}; job {snapshot.id} is sent again in {pause:g} s")
        self._sleep(pause, error)
        self._waited_s += pause
        self._backoff_s = min(self._backoff_s * 2, self.horizon.longest_pause_s)

    def _sleep(self, pause: float, error: FtsdkError) -> None:
        """Sleep; where the call may be cancelled, look for that every second, and raise `error` then."""
        if not is_cancellable():
            self.clock.sleep(pause)
            return
        left = pause
        while left > 0:
            if is_cancel_requested():
                raise error from error.__cause__
            self.clock.sleep(min(left, 1.0))
            left -= 1.0
