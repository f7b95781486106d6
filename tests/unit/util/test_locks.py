"""The lock between processes: who gets it, who waits, and what is raised."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ftsdk.errors import StoreError
from ftsdk.util.clock import ManualClock
from ftsdk.util.locks import file_lock, is_locked, job_lock

HOLDER = """
import sys
from pathlib import Path
from ftsdk.util.locks import file_lock
with file_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_holder_at_a_time_also_within_a_process(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with file_lock(path) as first, file_lock(path, wait_s=0) as second:
        assert first is not None
        assert second is None
        assert is_locked(path)
    assert not is_locked(path)
    with file_lock(path, wait_s=0) as again:
        assert again is not None


def test_a_waiter_gives_up_after_its_time_by_the_clock(tmp_path: Path) -> None:
    clock = ManualClock()
    with (
        file_lock(tmp_path / "a.lock"),
        file_lock(tmp_path / "a.lock", wait_s=1.0, poll_s=0.25, clock=clock) as fd,
    ):
        assert fd is None
    assert clock.slept == [0.25] * 4


def test_a_waiter_gives_up_when_its_callback_says_so(tmp_path: Path) -> None:
    calls = iter([True, True, False])
    clock = ManualClock()
    with (
        file_lock(tmp_path / "a.lock"),
        file_lock(tmp_path / "a.lock", on_wait=lambda: next(calls), clock=clock) as fd,
    ):
        assert fd is None
    assert len(clock.slept) == 2


def test_a_killed_holder_frees_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert is_locked(path)
        holder.kill()
        holder.wait()
    assert not is_locked(path)


def test_a_child_with_the_descriptor_keeps_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with file_lock(path) as fd:
        assert fd is not None
        command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=(fd,))
    with child:
        assert is_locked(path)
        child.kill()
        child.wait()
    assert not is_locked(path)


def test_the_lock_of_a_file_that_does_not_exist_is_free(tmp_path: Path) -> None:
    assert not is_locked(tmp_path / "a.lock")


def test_job_lock_makes_a_private_file_in_a_private_folder(tmp_path: Path) -> None:
    with job_lock(tmp_path, "ftj_1", wait_s=0, clock=ManualClock()) as mine:
        assert mine
    with job_lock(tmp_path, "ftj_1", purpose="deploy", wait_s=0, clock=ManualClock()) as mine:
        assert mine
    locks = tmp_path / "locks"
    assert sorted(path.name for path in locks.iterdir()) == ["ftj_1.deploy.lock", "ftj_1.lock"]
    assert stat.S_IMODE(locks.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in locks.iterdir()} == {0o600}


def test_job_lock_yields_false_while_another_holds_it(tmp_path: Path) -> None:
    clock = ManualClock()
    with (
        job_lock(tmp_path, "ftj_1", wait_s=0, clock=clock),
        job_lock(tmp_path, "ftj_1", wait_s=2, clock=clock) as mine,
    ):
        assert not mine
    assert 2 <= clock.monotonic() < 2.1


def test_job_lock_names_the_folder_and_the_job_when_it_cannot_be_taken(tmp_path: Path) -> None:
    (tmp_path / "locks").write_text("not a folder")
    with (
        pytest.raises(StoreError, match="No lock for the deployment: ") as caught,
        job_lock(
            tmp_path,
            "ftj_1",
            wait_s=0,
            clock=ManualClock(),
            failure="No lock for the deployment",
            submitted="no",
        ),
    ):
        pass
    assert caught.value.where == str(tmp_path / "locks")
    assert (caught.value.job_id, caught.value.submitted) == ("ftj_1", "no")


def test_what_the_block_raises_is_left_as_it_is(tmp_path: Path) -> None:
    with (
        pytest.raises(FileNotFoundError),
        job_lock(tmp_path, "ftj_1", wait_s=0, clock=ManualClock()),
    ):
        (tmp_path / "missing").stat()
