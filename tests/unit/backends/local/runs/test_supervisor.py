"""The supervisor: deaths, cancels, and turns of trainers."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from ftsdk.backends.local.runs.outcome import EXIT_INTERRUPTED
from ftsdk.backends.local.runs.run_dir import RunDir
from tests.unit.backends.local.runs.trainers import (
    launcher,
    make,
    supervisor_pid,
    until,
    wait_dead,
)

# --- deaths -----------------------------------------------------------------------------------


def run_to_end(run: RunDir, body: str) -> dict[str, Any]:
    run.start(command=launcher(body))
    wait_dead(run)
    outcome: dict[str, Any] = json.loads((run.path / "outcome.json").read_bytes())
    return outcome


def test_an_exit_code_and_the_log_are_reported(tmp_path: Path) -> None:
    outcome = run_to_end(make(tmp_path / "a"), 'print("last words", flush=True)\nsys.exit(3)')
    assert outcome["outcome"] == "failed"
    assert outcome["exit_code"] == 3
    assert outcome["signal"] is None
    assert outcome["log_tail"][-1] == "last words"
    assert outcome["error"]["kind"] == "exit"
    assert "last words" in outcome["message"]


def test_a_kill_is_reported_as_a_signal(tmp_path: Path) -> None:
    run = make(tmp_path / "a")
    body = 'events.write("progress", step=4, trained_tokens=90)\nos.kill(os.getpid(), 9)'
    outcome = run_to_end(run, body)
    assert (outcome["outcome"], outcome["signal"], outcome["steps"]) == ("failed", 9, 4)
    assert outcome["error"]["kind"] == "signal"
    assert "SIGKILL" in outcome["message"]
    assert run.read_state().phase == "failed"


def test_out_of_memory_has_a_hint_of_what_to_lower(tmp_path: Path) -> None:
    outcome = run_to_end(make(tmp_path / "a"), "raise MemoryError")
    assert outcome["error"]["kind"] == "out_of_memory"
    for name in ("micro_batch_tokens", "max_length", "nf4", "gradient_checkpointing"):
        assert name in outcome["error"]["hint"]


def test_a_half_written_event_of_a_killed_trainer_is_ignored(tmp_path: Path) -> None:
    run = make(tmp_path / "a")
    body = 'os.write(events._fd, b\'{"seq": 3, "ki\')\nos.kill(os.getpid(), 9)'
    assert run_to_end(run, body)["outcome"] == "failed"
    assert [event["kind"] for event in run.read_events()] == ["log"]
    assert run.resume(command=launcher('end("succeeded")'))
    wait_dead(run)
    assert [event["seq"] for event in run.read_events()] == [1, 2]


def test_a_run_whose_processes_were_all_killed_is_resumed(tmp_path: Path) -> None:
    run = make(tmp_path / "a")
    run.start(command=launcher('events.write("status", status="running")\nwait_for("never")'))
    until(lambda: run.read_state().phase == "running")
    os.killpg(supervisor_pid(run), signal.SIGKILL)
    wait_dead(run)
    assert run.read_state().phase == "interrupted"
    assert run.resume(command=launcher('wait_for("go")\nend("succeeded")'))
    assert run.read_state().phase == "starting"
    (run.path / "go").touch()
    wait_dead(run)
    assert run.read_state().phase == "succeeded"
    assert run.read_state().attempt == 2


def test_the_trainer_outlives_a_killed_supervisor(tmp_path: Path) -> None:
    run = make(tmp_path / "a")
    run.start(
        command=launcher(
            'events.write("status", status="running")\nwait_for("go")\nend("succeeded")'
        )
    )
    until(lambda: run.read_state().phase == "running")
    os.kill(supervisor_pid(run), signal.SIGKILL)
    assert run.read_state().alive
    assert not run.resume()
    (run.path / "go").touch()
    wait_dead(run)
    assert run.read_state().phase == "succeeded"


def test_a_machine_that_shuts_down_leaves_an_interrupted_run(tmp_path: Path) -> None:
    run = make(tmp_path / "a")
    run.start(command=launcher('events.write("status", status="running")\nwait_for("never")'))
    until(lambda: run.read_state().phase == "running")
    os.kill(supervisor_pid(run), signal.SIGTERM)
    wait_dead(run)
    assert run.read_state().phase == "interrupted"


def test_a_trainer_that_exits_for_a_resume_is_interrupted(tmp_path: Path) -> None:
    run = make(tmp_path / "a")
    run.start(command=launcher(f"sys.exit({EXIT_INTERRUPTED})"))
    wait_dead(run)
    assert run.read_state().phase == "interrupted"


# --- cancelling -------------------------------------------------------------------------------


def test_a_trainer_obeys_a_cancel(tmp_path: Path) -> None:
    run = make(tmp_path / "a", cancel_grace_s=60)
    body = 'events.write("status", status="running")\nwait_for("cancel")\nwait_for("go")\nend("cancelled")'
    run.start(command=launcher(body))
    until(lambda: run.read_state().phase == "running")
    assert run.request_cancel()
    assert run.read_state().cancelling
    assert run.read_state().phase == "running"
    (run.path / "go").touch()
    wait_dead(run)
    assert run.read_state().phase == "cancelled"
    assert not run.read_state().cancelling


@pytest.mark.parametrize(
    ("ignore", "signal_name"),
    [("", "SIGTERM"), ("signal.signal(signal.SIGTERM, signal.SIG_IGN)\n", "SIGKILL")],
)
def test_a_cancel_that_is_ignored_is_enforced(
    tmp_path: Path, ignore: str, signal_name: str
) -> None:
    run = make(tmp_path / "a", cancel_grace_s=0.1)
    body = ignore + 'events.write("status", status="running")\nwait_for("never")'
    run.start(command=launcher(body))
    until(lambda: run.read_state().phase == "running")
    run.request_cancel()
    wait_dead(run)
    assert run.read_state().phase == "cancelled"
    assert signal_name in run.read_state().message


def test_a_cancel_before_the_start_ends_it_here(tmp_path: Path) -> None:
    run = make(tmp_path / "a")
    assert run.request_cancel()
    assert run.read_state().phase == "cancelled"
    assert not run.start()
    assert run.resume(command=launcher('end("succeeded")'))
    wait_dead(run)
    assert run.read_state().phase == "succeeded"


def test_resume_keeps_the_old_outcome(tmp_path: Path) -> None:
    run = make(tmp_path / "a")
    run_to_end(run, "sys.exit(1)")
    run.resume(command=launcher("sys.exit(2)"))
    wait_dead(run)
    run.resume(command=launcher('end("succeeded")'))
    wait_dead(run)
    old = [json.loads((run.path / f"outcome-{n}.json").read_bytes()) for n in (1, 2)]
    assert [o["exit_code"] for o in old] == [1, 2]
    assert run.read_state().attempt == 3


# --- taking turns -----------------------------------------------------------------------------

UNTIL_GO = 'wait_for("go"); end("succeeded")'


def test_runs_of_one_home_take_turns(tmp_path: Path) -> None:
    first, second = make(tmp_path / "a"), make(tmp_path / "b")
    first.start(command=launcher('(run.path / "here").touch(); ' + UNTIL_GO))
    until((first.path / "here").exists)
    second.start(command=launcher('(run.path / "here").touch(); end("succeeded")'))
    until(lambda: any(e.get("status") == "queued" for e in second.read_events()))
    assert second.read_state().phase == "starting"
    assert not (second.path / "here").exists()
    (first.path / "go").touch()
    wait_dead(second)
    assert second.read_state().phase == first.read_state().phase == "succeeded"


def test_a_waiting_run_can_be_cancelled_and_interrupted(tmp_path: Path) -> None:
    first, second, third = (make(tmp_path / name) for name in "abc")
    first.start(command=launcher('(run.path / "here").touch(); ' + UNTIL_GO))
    until((first.path / "here").exists)
    for run in (second, third):
        run.start(command=launcher('end("succeeded")'))
        until(lambda run=run: any(e.get("status") == "queued" for e in run.read_events()))
    second.request_cancel()
    wait_dead(second)
    assert second.read_state().phase == "cancelled"
    os.kill(supervisor_pid(third), signal.SIGTERM)
    wait_dead(third)
    assert third.read_state().phase == "interrupted"
    (first.path / "go").touch()
    wait_dead(first)


def test_a_concurrent_run_does_not_wait(tmp_path: Path) -> None:
    first, second = make(tmp_path / "a"), make(tmp_path / "b", concurrent=True)
    first.start(command=launcher('(run.path / "here").touch(); ' + UNTIL_GO))
    until((first.path / "here").exists)
    second.start(command=launcher('end("succeeded")'))
    wait_dead(second)
    assert second.read_state().phase == "succeeded"
    (first.path / "go").touch()
    wait_dead(first)


def test_a_trainer_whose_supervisor_died_keeps_its_turn(tmp_path: Path) -> None:
    first, second = make(tmp_path / "a"), make(tmp_path / "b")
    first.start(command=launcher('(run.path / "here").touch(); ' + UNTIL_GO))
    until((first.path / "here").exists)
    os.kill(supervisor_pid(first), signal.SIGKILL)
    second.start(command=launcher('end("succeeded")'))
    until(lambda: any(e.get("status") == "queued" for e in second.read_events()))
    assert second.read_state().phase == "starting"
    (first.path / "go").touch()
    wait_dead(second)
    assert second.read_state().phase == "succeeded"
