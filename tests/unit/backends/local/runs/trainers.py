"""Runs whose trainers are a few lines of Python, without torch."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ftsdk.backends.local.runs.run_dir import RunDir
from ftsdk.backends.local.runs.run_spec import RunSpec

ROWS = [{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}]
PRELUDE = """
import json, os, signal, sys, time
from pathlib import Path
from ftsdk.backends.local.runs.run_dir import RunDir
from ftsdk.backends.local.runs.outcome import ended
from ftsdk.backends.local.runs.events import EventWriter
from ftsdk.util.files import atomic_write_json
run = RunDir(sys.argv[-1])
events = EventWriter(run.path / "events.jsonl")
def wait_for(name):
    for _ in range(6000):  # a minute, so that a test that fails leaves nothing behind for long
        if (run.path / name).exists():
            return
        time.sleep(0.01)
    sys.exit("the file did not appear")
def end(outcome, message="done"):
    atomic_write_json(run.path / "outcome.json", ended(outcome, message))
"""


def spec(**options: Any) -> RunSpec:
    return RunSpec.model_validate(
        {
            "job_id": "ftj_x",
            "base_model": {"path": "/m", "name": "m"},
            "adapter": None,
            "options": {"cancel_grace_s": 0.3, **options},
        }
    )


def make(path: Path, **options: Any) -> RunDir:
    return RunDir.create(path, spec(**options), train=ROWS)


def launcher(body: str) -> list[str]:
    """The command of a supervisor whose trainer runs `body`."""
    inner = [sys.executable, "-c", PRELUDE + body]
    code = (
        "import sys\n"
        "from ftsdk.backends.local.runs import supervisor as s\n"
        "from ftsdk.backends.local.runs.run_dir import RunDir\n"
        f"s.supervise(RunDir(sys.argv[-1]), command={inner!r}, term_patience_s=0.5)\n"
    )
    return [sys.executable, "-c", code]


def until(check: Callable[[], Any], timeout_s: float = 20.0) -> Any:
    """Poll until `check` returns something true; return that."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        value = check()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError("it did not become true in time")


def supervisor_pid(run: RunDir) -> int:
    """Its process id; never 0, which would mean our own process group."""
    return int(until(lambda: run.read_state().supervisor_pid))


def wait_dead(run: RunDir) -> None:
    until(lambda: not run.read_state().alive)
