"""Cancel a call that runs in another thread, up to the point where it must not stop any more.

`AsyncClient` runs each call in a thread and cannot interrupt it. It binds a `Cancellation` to the
call; code that takes long asks it now and then:

- `check_cancelled` and `until_cancelled` end a call that was cancelled;
- `pass_point_of_no_return` ends it for the last time. From there on the call runs to its end, since
  a job may be journaled, or something may be paid for.

Without a cancellation, as in every synchronous call, all of them do nothing.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

_R = TypeVar("_R")
_T = TypeVar("_T")


class CallCancelled(BaseException):
    """Ends a cancelled call. Nobody receives it: whoever waited for the call was cancelled."""


class Cancellation:
    """The cancellation of one call; safe to use from several threads.

    With `is_too_late` the call runs to its end from the start.
    """

    def __init__(self, *, is_too_late: bool = False) -> None:
        self._lock = threading.Lock()
        self._is_requested = False
        self._is_too_late = is_too_late
        self.job_id: str | None = None
        """The job that the call works on, once the point of no return has passed."""

    @property
    def is_requested(self) -> bool:
        """Whether the call was cancelled, even if it was too late."""
        return self._is_requested

    def request(self) -> bool:
        """Cancel the call; returns False when it has passed its point of no return."""
        with self._lock:
            self._is_requested = True
            return not self._is_too_late

    def check(self) -> None:
        """Raise `CallCancelled` if the call is cancelled and has not passed its point of no return."""
        if self._is_requested and not self._is_too_late:
            raise CallCancelled

    def pass_point_of_no_return(self, job_id: str) -> None:
        """Raise `CallCancelled` if the call is cancelled; after this it cannot be."""
        with self._lock:
            self.check()
            self._is_too_late, self.job_id = True, job_id

    def bind(self, call: Callable[[], _R]) -> Callable[[], _R]:
        """Return a call that this cancels; it must run in a context of its own, as a new thread has."""

        def bound() -> _R:
            _CURRENT.set(self)
            try:
                self.check()
                return call()
            except CallCancelled:
                pass
            # Without a traceback, whose frames would keep the call's rows and files.
            raise CallCancelled

        return bound


_CURRENT: contextvars.ContextVar[Cancellation | None] = contextvars.ContextVar(
    "ftsdk_cancellation", default=None
)


def check_cancelled() -> None:
    """End this thread's call if it was cancelled."""
    current = _CURRENT.get()
    if current is not None:
        current.check()


def is_cancel_requested() -> bool:
    """Return whether this thread's call was cancelled, also after its point of no return."""
    current = _CURRENT.get()
    return current is not None and current.is_requested


def is_cancellable() -> bool:
    """Return whether somebody may cancel this thread's call."""
    return _CURRENT.get() is not None


def until_cancelled(items: Iterable[_T]) -> Iterator[_T]:
    """Yield the items, and end this thread's call between two of them if it was cancelled."""
    current = _CURRENT.get()
    return iter(items) if current is None else _checked(items, current)


def _checked(items: Iterable[_T], current: Cancellation) -> Iterator[_T]:
    for item in items:
        current.check()
        yield item


def pass_point_of_no_return(job_id: str) -> None:
    """End this thread's call if it was cancelled. From here on it runs to its end."""
    current = _CURRENT.get()
    if current is not None:
        current.pass_point_of_no_return(job_id)
