"""The supervisor of several processes: restarts, requests to stop, and its own death."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from ftsdk.backends.local.runs.run_dir import RunDir
from tests.unit.backends.local.runs.trainers import (
    launcher,
    make,
    supervisor_pid,
    until,
    wait_dead,
)

WHO = """
rank = os.environ["RANK"]
def mark(name):
    (run.path / (name + "-" + rank)).write_text(str(os.getpid()))
"""
"""What each trainer begins with: its number, and a way to leave its process id."""
WAITS = f"{WHO}mark('pid')\nwait_for('go')"


def pids(run: RunDir, name: str = "pid") -> list[int]:
    """The process ids that both trainers have left."""
    paths = [run.path / f"{name}-{rank}" for rank in range(2)]
    until(lambda: all(path.exists() and path.read_text() for path in paths))
    return [int(path.read_text()) for path in paths]


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def messages(run: RunDir) -> list[str]:
    return [event.get("message", "") for event in run.read_events()]


def test_a_killed_process_starts_the_group_again(tmp_path: Path) -> None:
    body = (
        f"{WHO}first = not (run.path / ('tried-' + rank)).exists()\nmark('tried')\n"
        "if first and rank == '1': os.kill(os.getpid(), 9)\n"
        "if first: sys.exit(76)\n"
        "if rank == '0': end('succeeded')"
    )
    run = make(tmp_path / "a", processes=2)
    run.start(command=launcher(body))
    wait_dead(run)
    assert run.read_state().phase == "succeeded"
    assert [text for text in messages(run) if "start again" in text] == [
        (
            "Process 2 of 2 was killed by signal 9; all of them start again from the last checkpoint "
            "(restart 1 of at most 3)."
        )
    ]


def test_a_cancel_that_is_not_obeyed_ends_all(tmp_path: Path) -> None:
    run = make(tmp_path / "a", processes=2)
    run.start(command=launcher(WAITS))
    alive = pids(run)
    assert run.request_cancel()
    wait_dead(run)
    assert run.read_state().phase == "cancelled"
    assert all(map(is_gone, alive))
    assert not any("start again" in text for text in messages(run))


def test_sigterm_to_the_supervisor_reaches_all(tmp_path: Path) -> None:
    run = make(tmp_path / "a", processes=2)
    run.start(command=launcher(WAITS))
    alive = pids(run)
    os.kill(supervisor_pid(run), signal.SIGTERM)
    wait_dead(run)
    assert run.read_state().phase == "interrupted"
    assert all(map(is_gone, alive))


def test_the_run_is_alive_for_as_long_as_one_process_is(tmp_path: Path) -> None:
    """So no second group can start beside what a killed supervisor has left."""
    run = make(tmp_path / "a", processes=2)
    run.start(command=launcher(WAITS))
    first, second = pids(run)
    os.kill(supervisor_pid(run), signal.SIGKILL)
    os.kill(first, signal.SIGKILL)
    until(lambda: is_gone(first))
    assert run.read_state().alive
    assert not run.resume()
    os.kill(second, signal.SIGKILL)
    wait_dead(run)
    assert run.read_state().phase == "interrupted"
