"""The state of a run, read from its directory.

It follows from three facts: whether the run's lock is held, whether there is an outcome, and
whether the run was ever started.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ftsdk.backends.local.runs.files import read_json, tail_lines
from ftsdk.backends.local.runs.outcome import OUTCOME_FILE
from ftsdk.util.locks import is_locked

Phase = Literal[
    "not_started",
    "starting",
    "validating",
    "running",
    "finalizing",
    "succeeded",
    "failed",
    "cancelled",
    "interrupted",
]
"""`interrupted`: it was started, no process of it is alive, and there is no outcome."""

_ALIVE_PHASES: Mapping[str, Phase] = {
    "validating": "validating",
    "running": "running",
    "finalizing": "finalizing",
}
_EVENTS_READ = 4000


@dataclass(frozen=True, slots=True)
class RunState:
    """The state of a run at one moment.

    `alive` is True while its supervisor or trainer runs. `progress` is the last progress event
    (empty before the first), `error` the outcome's error, `attempt` how often the run was started
    (0: never).
    """

    phase: Phase
    alive: bool
    cancelling: bool
    attempt: int = 0
    message: str = ""
    progress: Mapping[str, Any] = field(default_factory=dict)
    error: Mapping[str, Any] | None = None
    outcome: Mapping[str, Any] | None = None
    started_at: str | None = None
    supervisor_pid: int | None = None

    @property
    def is_final(self) -> bool:
        """True when it succeeded, failed or was cancelled."""
        return self.phase in ("succeeded", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class LastEvents:
    """The last status of this attempt with its message, and the last progress of any attempt."""

    status: str
    message: str
    progress: Mapping[str, Any]


def read_state(run: Path) -> RunState:
    """Read the state of the run directory `run`; any process may do so at any time."""
    # The order matters: a run that ends during this call writes its outcome before it frees the
    # lock, so the outcome is read after the lock.
    alive = is_locked(run / "lock")
    process = read_json(run / "pid.json") or {}
    outcome = read_json(run / OUTCOME_FILE)
    last = read_last_events(run)
    message = last.message
    if outcome is not None:
        phase: Phase = outcome["outcome"]
        message = outcome.get("message", "")
    elif alive:
        phase = _ALIVE_PHASES.get(last.status, "starting")
    else:
        phase = "interrupted" if process else "not_started"
    return RunState(
        phase=phase,
        alive=alive,
        cancelling=alive and outcome is None and (run / "cancel").exists(),
        attempt=int(process.get("attempt", 0)),
        message=message,
        progress=last.progress,
        error=None if outcome is None else outcome.get("error"),
        outcome=outcome,
        started_at=process.get("started_at"),
        supervisor_pid=process.get("supervisor_pid"),
    )


def read_last_events(run: Path) -> LastEvents:
    """Read the end of the event log of the run directory `run`."""
    status, message = None, ""
    progress: Mapping[str, Any] | None = None
    for line in reversed(tail_lines(run / "events.jsonl", _EVENTS_READ)):
        try:
            event = json.loads(line)
        except json.JSONDecodeError:  # the first line read is cut, the last may be half written
            continue
        if event["kind"] == "progress" and progress is None:
            progress = event
        elif status is None and event["kind"] == "status":
            status, message = event["status"], event.get("message", "")
        elif status is None and event["kind"] == "log" and "attempt" in event:
            status = "starting"
        if status is not None and progress is not None:
            break
    return LastEvents(status or "", message, progress or {})
