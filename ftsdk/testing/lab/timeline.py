"""Where a pretended job stands: computed from the clock, so tests move time instead of sleeping."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["Stage", "Timeline"]


@dataclass(frozen=True)
class Stage:
    """From `at_s` seconds of work on, the job is called `word`."""

    word: str
    at_s: float


@dataclass
class Timeline:
    """The way of one job through its stages; it can be held, let go on, and ended.

    `training` and `trained` name the words between which training happens; `fraction` runs from 0
    to 1 between them.
    """

    started: dt.datetime
    stages: Sequence[Stage]
    training: str
    trained: str
    held_word: str | None = None
    _held_at: dt.datetime | None = None
    _held_s: float = 0.0
    _ended: tuple[str, dt.datetime] | None = None
    marks: list[tuple[dt.datetime, str]] = field(default_factory=list)

    def age_s(self, now: dt.datetime) -> float:
        """Seconds of work so far: time in which the job was held, or after its end, is left out."""
        until = self._held_at or now
        if self._ended is not None:
            until = min(until, self._ended[1])
        return max(0.0, (until - self.started).total_seconds() - self._held_s)

    def word(self, now: dt.datetime) -> str:
        """The provider's word for where the job stands."""
        if self._ended is not None:
            return self._ended[0]
        if self.held_word is not None:
            return self.held_word
        return self._stage(now).word

    def _stage(self, now: dt.datetime) -> Stage:
        age = self.age_s(now)
        return [stage for stage in self.stages if age >= stage.at_s][-1]

    def start_of(self, word: str) -> dt.datetime | None:
        """When the stage called `word` begins (or was forced to); None when it never does."""
        if self._ended is not None and self._ended[0] == word:
            return self._ended[1]
        for stage in self.stages:
            if stage.word == word:
                return self.started + dt.timedelta(seconds=stage.at_s + self._held_s)
        return None

    def seconds_of(self, word: str) -> float:
        """The seconds of work at which the stage called `word` begins."""
        return next(stage.at_s for stage in self.stages if stage.word == word)

    def fraction(self, now: dt.datetime) -> float:
        """How much of the training is done, 0 to 1."""
        begin = next((s.at_s for s in self.stages if s.word == self.training), 0.0)
        end = next((s.at_s for s in self.stages if s.word == self.trained), begin)
        return min(1.0, max(0.0, (self.age_s(now) - begin) / max(end - begin, 1e-9)))

    def reached(self, now: dt.datetime) -> list[Stage]:
        """The stages that were entered so far, oldest first."""
        age = self.age_s(now)
        return [stage for stage in self.stages if age >= stage.at_s]

    def hold(self, word: str, now: dt.datetime) -> None:
        """Stand still under another word."""
        if self.held_word is None:
            self._held_at = now
        self.held_word = word

    def let_go(self, now: dt.datetime) -> None:
        """Go on where it was held."""
        if self._held_at is not None:
            self._held_s += (now - self._held_at).total_seconds()
        self.held_word, self._held_at = None, None

    def end(self, word: str, now: dt.datetime) -> None:
        """End here and now, as `word`."""
        if self._ended is None:
            self._ended = (word, now)

    @property
    def is_ended(self) -> bool:
        """True when it was ended from outside."""
        return self._ended is not None
