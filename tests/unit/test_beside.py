"""Two commands at once: what is shown, in which order, and the exit status."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

BESIDE = Path(__file__).resolve().parents[1] / "beside.py"
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="make test needs a POSIX shell")


def run(beside: str, longer: str) -> tuple[int, list[str]]:
    command = [sys.executable, str(BESIDE), f"sh -c '{beside}'", f"sh -c '{longer}'"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    return done.returncode, [line for line in done.stdout.split("\n") if line]


def test_the_output_comes_in_one_piece_and_the_longer_command_ends_the_run(tmp_path: Path) -> None:
    shown, go = tmp_path / "shown", tmp_path / "go"
    beside = f"echo one; touch {go}; sleep 0.2; echo two"
    longer = f"until test -e {go}; do sleep 0.05; done; sleep 1; touch {shown}; echo last"
    assert run(beside, longer) == (0, ["one", "two", "last"])


def test_a_failure_beside_is_shown_again_at_the_end_and_fails_the_run() -> None:
    status, lines = run("echo wrong; exit 3", "sleep 1; echo last")
    assert status == 3
    assert lines[:4] == ["wrong", "last", "wrong", lines[3]]
    assert lines[3].endswith("failed with 3")


def test_the_status_of_the_longer_command_comes_first() -> None:
    assert run("exit 3", "exit 5")[0] == 5
    assert run("exit 0", "exit 5")[0] == 5


def test_an_interrupt_ends_both(tmp_path: Path) -> None:
    ids = tmp_path / "ids"
    process = subprocess.Popen(
        [sys.executable, str(BESIDE), f"sh -c 'echo $$ >{ids}; exec sleep 600'", "sleep 600"],
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    while not (ids.is_file() and ids.read_text()):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) != 0
    end = time.monotonic() + 60
    while Path(f"/proc/{ids.read_text().strip()}").exists():
        assert time.monotonic() < end, "it goes on"
        time.sleep(0.05)
