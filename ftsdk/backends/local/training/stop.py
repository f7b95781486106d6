"""Requests to stop: the `cancel` file of the run directory, and SIGTERM."""

from __future__ import annotations

import signal
from pathlib import Path
from types import FrameType

from ftsdk.backends.local.training.group import Group
from ftsdk.backends.local.training.outcome import Stopped

_LACKS_MEMORY, _INTERRUPTED, _CANCELLED = 1, 2, 3
"""What the ranks of a group agree on: the largest of what each of them has."""


class PeerLacksMemory(MemoryError):
    """A rank of the group has run out of memory in this round."""


class StopRequests:
    """Notices when the run directory `run` is asked to stop."""

    def __init__(self, run: Path) -> None:
        self._cancel = run / "cancel"
        self._terminated = False

    def handle_sigterm(self) -> None:
        """From now on SIGTERM is a request; before, it ends the process."""
        signal.signal(signal.SIGTERM, self._on_sigterm)

    def _on_sigterm(self, number: int, frame: FrameType | None) -> None:
        self._terminated = True

    def check(self) -> None:
        """Raise `Stopped` when there is a request."""
        if (request := self._request()) > 0:
            raise Stopped(cancelled=request == _CANCELLED)

    def agree(self) -> None:
        """Return when no rank of the group has a request, at the end of the rounds of a step.

        A process on its own ends its step first.
        """

    def lacks_memory(self) -> None:
        """Let the other ranks know that memory ran out here. Raises `Stopped` as `check` does."""

    def _request(self) -> int:
        if self._cancel.exists():
            return _CANCELLED
        return _INTERRUPTED if self._terminated else 0


class GroupStop(StopRequests):
    """The same for a group: a request to one rank stops all of them, in the same place.

    Every rank checks equally often, and each check is an exchange.
    """

    def __init__(self, run: Path, group: Group) -> None:
        super().__init__(run)
        self._group = group

    def check(self) -> None:
        """Raise `Stopped` when a rank has a request, and `PeerLacksMemory` when one lacks memory."""
        self._exchange(self._request())

    def agree(self) -> None:
        self.check()

    def lacks_memory(self) -> None:
        try:
            self._exchange(max(_LACKS_MEMORY, self._request()))
        except PeerLacksMemory:
            return

    def _exchange(self, own: int) -> None:
        agreed = self._group.most(own)
        if agreed == _LACKS_MEMORY:
            raise PeerLacksMemory
        if agreed:
            raise Stopped(cancelled=agreed == _CANCELLED)


def stop_requests(run: Path, group: Group) -> StopRequests:
    """What notices requests to stop the run directory `run`, on a rank of the group."""
    return StopRequests(run) if group.size == 1 else GroupStop(run, group)
