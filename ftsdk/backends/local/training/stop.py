"""Requests to stop: the `cancel` file of the run directory, and SIGTERM."""

from __future__ import annotations

import signal
from pathlib import Path
from types import FrameType

from ftsdk.backends.local.training.outcome import Stopped


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
        if self._cancel.exists():
            raise Stopped(cancelled=True)
        if self._terminated:
            raise Stopped(cancelled=False)
