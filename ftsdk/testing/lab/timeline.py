"""The status of a simulated job, computed from the clock, so that tests move time instead of sleeping."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """The provider's raw status `status`, from `at_s` seconds of work on."""

    status: str
    at_s: float


@dataclass
class Timeline:
    """The stages of one job. It can be paused, resumed and ended.

    `training` and `trained` are the statuses between which training happens; `fraction` rises from 0
    to 1 between them.
    """

    started: dt.datetime
    stages: Sequence[Stage]
    training: str
    trained: str
    paused_status: str | None = None
    _paused_at: dt.datetime | None = None
    _paused_s: float = 0.0
    _ended: tuple[str, dt.datetime] | None = None

    def age_s(self, now: dt.datetime) -> float:
        """Return the seconds of work so far, without pauses and the time after the end."""
        until = self._paused_at or now
        if self._ended is not None:
            until = min(until, self._ended[1])
        return max(0.0, (until - self.started).total_seconds() - self._paused_s)

    def status(self, now: dt.datetime) -> str:
        """Return the provider's raw status at `now`."""
        if self._ended is not None:
            return self._ended[0]
        if self.paused_status is not None:
            return self.paused_status
        return self._stage(now).status

    def _stage(self, now: dt.datetime) -> Stage:
        return self.reached(now)[-1]

    def start_of(self, status: str) -> dt.datetime | None:
        """Return when `status` begins (or was set by `end`); None when it never does."""
        if self._ended is not None and self._ended[0] == status:
            return self._ended[1]
        for stage in self.stages:
            if stage.status == status:
                return self.started + dt.timedelta(seconds=stage.at_s + self._paused_s)
        return None

    def fraction(self, now: dt.datetime) -> float:
        """Return how much of the training is done, from 0 to 1."""
        begin = next((s.at_s for s in self.stages if s.status == self.training), 0.0)
        end = next((s.at_s for s in self.stages if s.status == self.trained), begin)
        return min(1.0, max(0.0, (self.age_s(now) - begin) / max(end - begin, 1e-9)))

    def reached(self, now: dt.datetime) -> list[Stage]:
        """Return the stages entered so far, oldest first."""
        age = self.age_s(now)
        return [stage for stage in self.stages if age >= stage.at_s]

    def pause(self, status: str, now: dt.datetime) -> None:
        """Stop the work, and report `status` until `resume`."""
        if self.paused_status is None:
            self._paused_at = now
        self.paused_status = status

    def resume(self, now: dt.datetime) -> None:
        """Continue from where the job was paused."""
        if self._paused_at is not None:
            self._paused_s += (now - self._paused_at).total_seconds()
        self.paused_status, self._paused_at = None, None

    def end(self, status: str, now: dt.datetime) -> None:
        """End the job now with `status`. The first end counts."""
        if self._ended is None:
            self._ended = (status, now)
