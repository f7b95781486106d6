"""The run directory: created, started once, read by any process."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ftsdk.backends.local.runs.run_dir import RunDir
from ftsdk.errors import NotFound, StoreError, UsageError
from tests.unit.backends.local.runs.trainers import (
    ROWS,
    launcher,
    make,
    spec,
    until,
    wait_dead,
)

# --- the folder -------------------------------------------------------------------------------


def test_create_writes_every_file_private(tmp_path: Path) -> None:
    run = make(tmp_path / "runs" / "a")
    assert run.path.stat().st_mode & 0o777 == 0o700
    for path in run.path.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
    assert run.spec.format == 1
    assert run.spec.train == "train.jsonl"
    assert run.spec.validation is None
    assert run.read_state().phase == "not_started"
    assert run.read_events() == []
    assert run.checkpoints() == []
    assert run.log_tail() == []


def test_create_twice_is_refused_and_harmless(tmp_path: Path) -> None:
    run = make(tmp_path / "a")
    before = (run.path / "spec.json").read_bytes()
    with pytest.raises(UsageError):
        make(tmp_path / "a")
    assert (run.path / "spec.json").read_bytes() == before


def test_a_create_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def rows() -> Iterator[dict[str, Any]]:
        yield ROWS[0]
        raise OSError("the source went away")

    with pytest.raises(OSError, match="went away"):
        RunDir.create(tmp_path / "a", spec(), train=rows())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_a_run_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        RunDir(tmp_path)


def test_a_spec_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    run = make(tmp_path / "a")
    (run.path / "spec.json").write_text('{"job_id": "ftj_x"}')
    with pytest.raises(StoreError) as caught:
        _ = RunDir(run.path).spec
    assert str(run.path / "spec.json") in caught.value.where


# --- start to end ------------------------------------------------------------------------------


def test_a_run_from_start_to_success(tmp_path: Path) -> None:
    run = make(tmp_path / "a")
    body = """
events.write("status", status="validating", message="")
wait_for("one")
events.write("status", status="running", message="Training.")
events.write("progress", step=3, total_steps=9)
wait_for("two")
events.write("status", status="finalizing", message="")
wait_for("three")
end("succeeded")
"""
    assert run.start(command=launcher(body))
    assert run.read_state().alive
    assert run.read_state().phase == "starting"
    assert not run.start(command=launcher(body))
    until(lambda: run.read_state().phase == "validating")
    (run.path / "one").touch()
    until(lambda: run.read_state().phase == "running")
    until(lambda: run.read_state().progress.get("step") == 3)
    assert run.read_state().message == "Training."
    (run.path / "two").touch()
    until(lambda: run.read_state().phase == "finalizing")
    (run.path / "three").touch()
    wait_dead(run)
    state = run.read_state()
    assert state.phase == "succeeded"
    assert state.is_final
    assert state.attempt == 1
    assert not run.start()
    assert not run.resume()
    assert not run.request_cancel()
    first = run.read_events()
    assert [event["seq"] for event in first] == list(range(1, len(first) + 1))
    assert run.read_events(first[-1]["seq"]) == []
    assert run.read_events(first[1]["seq"]) == first[2:]


def test_many_starts_at_once_start_one_run(tmp_path: Path) -> None:
    run = make(tmp_path / "a")
    code = (
        "import sys\nfrom ftsdk.backends.local.runs.run_dir import RunDir\n"
        "print(RunDir(sys.argv[1]).start(command=eval(sys.argv[2])))\n"
    )
    command = repr(
        launcher('events.write("log", message="born")\nwait_for("go")\nend("succeeded")')
    )
    callers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(run.path), command], stdout=subprocess.PIPE
        )
        for _ in range(4)
    ]
    answers = [caller.communicate()[0].strip() for caller in callers]
    (run.path / "go").touch()
    wait_dead(run)
    assert sorted(answers) == [b"False", b"False", b"False", b"True"]
    born = [event for event in run.read_events() if event.get("message") == "born"]
    assert len(born) == 1


LOCKER = """
import sys
from ftsdk.backends.local.runs.run_dir import RunDir
with RunDir(sys.argv[1])._lock(wait_s=10) as fd:
    print(fd is not None)
"""


def test_readers_do_not_keep_a_run_from_starting(tmp_path: Path) -> None:
    run = make(tmp_path / "a")
    with (run.path / "lock").open() as reader:
        fcntl.flock(reader, fcntl.LOCK_SH)
        waiter = subprocess.Popen(
            [
                sys.executable,
                "-c",
                LOCKER,
                str(run.path),
            ],
            stdout=subprocess.PIPE,
        )
    assert waiter.communicate()[0].strip() == b"True"
