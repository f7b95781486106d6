"""Copies of rows that a killed process left behind are removed; those in use are not."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ftsdk.dataset import Dataset, validate_for_job
from ftsdk.dataset.validation.stale_copies import copy_folder

HOLDER = """
import sys, time
from pathlib import Path
from ftsdk.dataset.validation.stale_copies import copy_folder
with copy_folder(Path(sys.argv[1])) as folder:
    (folder / "0.jsonl").write_text("a row")
    print(folder, flush=True)
    time.sleep(600)
"""


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def next_pass(folder: Path) -> None:
    rows = folder.parent / "rows.jsonl"
    rows.write_text('{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n')  # fmt: skip
    assert validate_for_job(Dataset.load(rows), None, folder=folder).report.ok


@pytest.mark.skipif(sys.platform == "win32", reason="needs kill -9")
def test_the_copy_of_a_killed_process_is_removed_and_that_of_a_living_one_is_not(
    tmp_path: Path,
) -> None:
    parent = tmp_path / "datasets"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(parent)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            left = Path(process.stdout.readline().strip())
            age(left / "lock", 2 * 86_400)
            age(left, 2 * 86_400)
            next_pass(parent)
            in_use = (left / "0.jsonl").exists()
        finally:
            process.kill()
            process.wait()
    assert in_use
    assert left.exists()
    next_pass(parent)
    assert list(parent.iterdir()) == []


def test_what_has_no_lock_is_removed_after_a_day(tmp_path: Path) -> None:
    parent = tmp_path / "datasets"
    names = {".copy.abc.tmp": True, ".copy.def.tmp": False}
    for name, is_old in names.items():
        (parent / name).mkdir(parents=True)
        (parent / name / "0.jsonl").write_text("a row")
        age(parent / name, 2 * 86_400 if is_old else 3600)
    for name, is_old in ((".a.jsonl.0123456789ab.tmp", True), (".b.jsonl.0123456789ab.tmp", False)):
        (parent / name).write_text("a row")
        age(parent / name, 2 * 86_400 if is_old else 3600)
    for name in ("kept.jsonl", ".mine.tmp"):
        (parent / name).write_text("a row")
        age(parent / name, 2 * 86_400)
    (parent / ".copy.link.tmp").symlink_to(tmp_path)
    next_pass(parent)
    assert {path.name for path in parent.iterdir()} == {
        ".copy.def.tmp", ".b.jsonl.0123456789ab.tmp", "kept.jsonl", ".mine.tmp", ".copy.link.tmp",
    }  # fmt: skip


def test_a_new_folder_whose_lock_is_not_taken_yet_is_left(tmp_path: Path) -> None:
    parent = tmp_path / "datasets"
    (parent / ".copy.new.tmp").mkdir(parents=True)
    (parent / ".copy.new.tmp" / "lock").touch()
    next_pass(parent)
    assert (parent / ".copy.new.tmp").exists()


def test_the_folder_is_gone_after_its_block(tmp_path: Path) -> None:
    with copy_folder(tmp_path / "datasets") as folder:
        assert folder.is_dir()
    assert list((tmp_path / "datasets").iterdir()) == []
