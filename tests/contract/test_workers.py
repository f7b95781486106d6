"""Tests that cannot share a machine, or that share a fixture, run on one worker of pytest-xdist.

The groups are made by two packages together, and one release of pytest made them disappear without
a warning. So a small suite is run on two workers, and each of its tests writes down where it ran.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

CONFTEST = Path(__file__).resolve().parents[1] / "conftest.py"
OPTIONS = ["-q", "-p", "no:cacheprovider", "-c", "/dev/null", "-n", "2", "--dist", "loadgroup"]
RECORD = """
import os, time
from pathlib import Path
import pytest

def record(group):
    name = f"{group}-{os.environ['PYTEST_XDIST_WORKER']}-{time.monotonic_ns()}"
    (Path(os.environ["RECORDS"]) / name).touch()
    time.sleep(0.02)
"""
BY_MARK = """
pytestmark = pytest.mark.xdist_group("marked")

@pytest.mark.parametrize("number", range(6))
def test_marked(number):
    record("marked")
"""
BY_FIXTURE = """
@pytest.fixture(scope="module")
def shared():
    return object()

@pytest.mark.parametrize("number", range(6))
def test_shared(shared, number):
    record("shared")
"""
ALONE = """
@pytest.mark.parametrize("number", range(12))
def test_alone(number):
    record("alone")
    end = time.monotonic() + 30
    while number == 0 and time.monotonic() < end:  # a busy machine may stop the other worker
        if len({one.name.split("-")[1] for one in Path(os.environ["RECORDS"]).glob("alone-*")}) > 1:
            break
        time.sleep(0.05)
"""


def test_a_group_runs_on_one_worker(tmp_path: Path) -> None:
    suite, records = tmp_path / "suite", tmp_path / "records"
    suite.mkdir()
    records.mkdir()
    shutil.copy(CONFTEST, suite / "conftest.py")
    for name, body in {"marked": BY_MARK, "fixture": BY_FIXTURE, "alone": ALONE}.items():
        (suite / f"test_{name}.py").write_text(RECORD + body)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *OPTIONS, "--rootdir", str(suite), str(suite)],
        env={**_without_xdist(), "RECORDS": str(records)},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    workers = defaultdict(list)
    for record in records.iterdir():
        group, worker, _ = record.name.split("-")
        workers[group].append(worker)
    assert {group: len(where) for group, where in workers.items()} == {
        "marked": 6,
        "shared": 6,
        "alone": 12,
    }
    assert len(set(workers["marked"])) == 1
    assert len(set(workers["shared"])) == 1
    assert len(set(workers["alone"])) == 2, "two workers share what belongs to no group"


def _without_xdist() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
