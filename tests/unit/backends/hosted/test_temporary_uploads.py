"""The files of an upload have rows, so what a killed process left of them is removed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from ftsdk.backends.hosted.uploads import temporary_folder

_KILLED = """
import os, signal, sys
from pathlib import Path
from ftsdk.backends.hosted.uploads import temporary_folder
with temporary_folder(Path(sys.argv[1])) as folder:
    (folder / "rows.jsonl").write_text("private")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def left(home: Path) -> list[Path]:
    return list((home / "uploads").rglob("rows.jsonl"))


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert len(left(tmp_path)) == 1
    with temporary_folder(tmp_path) as folder:
        assert left(tmp_path) == []
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()


def test_what_is_in_use_is_not_removed(tmp_path: Path) -> None:
    with temporary_folder(tmp_path) as first:
        (first / "rows.jsonl").write_text("private")
        with temporary_folder(tmp_path) as second:
            assert first != second
            assert (first / "rows.jsonl").read_text() == "private"
    assert list((tmp_path / "uploads").glob(".upload*")) == []
