"""A backend in a package of its own: found by its entry point, and through the kit."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytest.importorskip("httpx")
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "third_party_backend"
USE = """
import ftsdk, sys
from ftsdk.clock import ManualClock
from ftsdk_parrot.double import ParrotDouble
rows = [
    {"messages": [{"role": "user", "content": f"q{i}"}, {"role": "assistant", "content": f"a{i}"}]}
    for i in range(4)
]
clock = ManualClock()
with ParrotDouble(clock=clock) as double:
    client = ftsdk.Client(home=sys.argv[1], clock=clock, env=double.variables())
    job = client.create_job(rows, provider="parrot", model="grey-1", adapter=None).wait()
    print(job.status, job.result().chat("q2").text)
    client.close()
"""


@pytest.fixture
def installed(tmp_path):
    """The package as an installer leaves it: its modules and its metadata on the path."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    site = tmp_path / "site"
    info = site / "ftsdk_parrot-0.1.0.dist-info"
    info.mkdir(parents=True)
    (site / "ftsdk_parrot").symlink_to(EXAMPLE / "ftsdk_parrot")
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
        for group, points in project["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))
    return {**os.environ, "PYTHONPATH": str(site), "FTSDK_HOME": str(tmp_path / "home")}


def run(env, *arguments):
    return subprocess.run(
        [sys.executable, *arguments], env=env, capture_output=True, text=True, timeout=120
    )


def test_it_is_found_by_its_entry_point_and_runs(installed, tmp_path):
    told = run(installed, "-c", USE, str(tmp_path / "h"))
    assert told.stdout.split() == ["succeeded", "a2"], told.stderr


def test_it_passes_the_kit(installed):
    told = run(installed, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLE / "tests"))
    assert told.returncode == 0, told.stdout[-3000:]
    assert " passed" in told.stdout
