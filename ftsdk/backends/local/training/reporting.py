"""Copies of the events for experiment trackers: TensorBoard, Weights & Biases, MLflow, Trackio.

Each tracker works in a thread of its own, behind a queue, so that a slow one delays no step. One
that raises becomes one warning event and is turned off; none can stop a run.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ftsdk.backends.local.runs.events import EventWriter
from ftsdk.backends.local.runs.run_spec import RunSpec
from ftsdk.backends.local.training.trackers import TRACKERS, RunFacts, Tracker

_WAITING = 2000
"""Points that wait for a slow tracker; further ones are left out."""
_CLOSE_S = 30.0
"""How long the end of a run waits for all its trackers together."""
_STOP_S = 5.0
"""The same for a run that was asked to stop."""
_COUNTED = ("step", "epoch", "seq", "time", "kind")


class Reporting:
    """Passes the metrics of a run on to its trackers.

    They are opened at the first metric, when `read_spec` cannot fail any more. `now` is a monotonic clock, in seconds.
    """

    def __init__(
        self,
        read_spec: Callable[[], RunSpec],
        run: Path,
        events: EventWriter,
        *,
        trackers: Mapping[str, Callable[[RunFacts], Tracker]] = TRACKERS,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read_spec, self._run, self._trackers = read_spec, run, trackers
        self._events, self._now = events, now
        self._workers: list[_Worker] | None = None
        self._warned: set[str] = set()
        events.listen(self.take)

    def take(self, event: Mapping[str, Any]) -> None:
        """Pass one event on; only metrics and progress have something to show."""
        if event["kind"] not in ("metric", "progress"):
            return
        if self._workers is None:
            self._workers = self._opened(int(event["step"]))
        values = dict(values_of(event))
        for worker in self._workers:
            worker.send(int(event["step"]), values)
        self._warn()

    def _opened(self, step: int) -> list[_Worker]:
        spec = self._read_spec()
        facts = RunFacts.of(spec, self._run, first_step=step)
        return [_Worker(name, self._trackers[name], facts) for name in spec.options.report_to]

    def close(self, outcome: str) -> None:
        """End every tracker with the outcome of the run, and wait half a minute for them at most."""
        limit_s = _CLOSE_S if outcome in ("succeeded", "failed") else _STOP_S
        until = self._now() + limit_s
        for worker in self._workers or ():
            worker.end(outcome)
        for worker in self._workers or ():
            worker.join(max(0.0, until - self._now()))
            if worker.is_alive():
                worker.fault = f"it did not end within {limit_s:.0f} s"
        self._warn()

    def _warn(self) -> None:
        for worker in self._workers or ():
            if worker.fault is not None and worker.name not in self._warned:
                self._warned.add(worker.name)
                message = f"Reports to {worker.name} are off: {worker.fault}. The run goes on."
                self._events.write("warning", message=message, tracker=worker.name)


class _Worker(threading.Thread):
    """One tracker in its thread; `fault` says why it is turned off."""

    def __init__(self, name: str, make: Callable[[RunFacts], Tracker], facts: RunFacts) -> None:
        super().__init__(name=name, daemon=True)
        self.fault: str | None = None
        self._make, self._facts = make, facts
        self._queue: queue.Queue[tuple[int, Mapping[str, float]] | str] = queue.Queue(_WAITING)
        self._left_out = 0
        self.start()

    def send(self, step: int, values: Mapping[str, float]) -> None:
        if self.fault is not None:
            return
        try:
            self._queue.put_nowait((step, values))
        except queue.Full:
            self._left_out += 1

    def end(self, outcome: str) -> None:
        with suppress(queue.Full):
            self._queue.put(outcome, timeout=1.0)

    def run(self) -> None:
        try:
            tracker = self._make(self._facts)
            while not isinstance(item := self._queue.get(), str):
                tracker.log(*item)
            tracker.end(item)
            if self._left_out:
                self.fault = f"it was too slow, and {self._left_out} points were left out"
        except (Exception, SystemExit) as error:  # noqa: BLE001  # whatever a tracker raises, the run goes on
            line = str(error).strip().partition("\n")[0][:200]
            self.fault = f"{type(error).__name__}: {line}" if line else type(error).__name__


def values_of(event: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield the numbers of an event by the names that trackers group: `train/loss`, `eval/loss`."""
    for name, value in event.items():
        if name in _COUNTED or isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if name.startswith("validation_"):
            yield f"eval/{name.removeprefix('validation_')}", float(value)
        else:
            yield f"train/{name.removeprefix('train_')}", float(value)
