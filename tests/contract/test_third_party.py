"""A backend in a package of its own: found by its entry point, and through the kit."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("httpx")
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "third_party_backend"
USE = """
import ftsdk, sys
from ftsdk.util.clock import ManualClock
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


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The package installed by pip into a folder of its own, with nothing fetched."""
    for needed in ("pip", "hatchling"):
        pytest.importorskip(needed, reason="pip builds the package with hatchling")
    target = tmp_path_factory.mktemp("site")
    source = tmp_path_factory.mktemp("source") / "parrot"
    shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("__pycache__", "tests"))
    told = subprocess.run(
        [
            sys.executable, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--no-index",
            "--disable-pip-version-check", "--target", str(target), str(source),
        ],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr[-3000:]
    return target


@pytest.fixture
def installed(site, tmp_path):
    """The environment of a program that has the package installed."""
    return {**os.environ, "PYTHONPATH": str(site), "FTSDK_HOME": str(tmp_path / "home")}


def run(env, *arguments):
    return subprocess.run(
        [sys.executable, *arguments], env=env, capture_output=True, text=True, timeout=120
    )


def test_the_wheel_holds_the_package_and_its_entry_point(site):
    names = {path.name for path in site.iterdir()}
    assert "ftsdk_parrot" in names
    (info,) = site.glob("ftsdk_parrot-*.dist-info")
    assert "parrot = ftsdk_parrot.backend:ParrotBackend" in (info / "entry_points.txt").read_text()


def test_its_backend_is_listed_without_being_imported(installed):
    code = (
        "import sys; from ftsdk.backends.registry import backend_names;"
        "assert 'parrot' in backend_names(); assert 'ftsdk_parrot' not in sys.modules"
    )
    told = run(installed, "-c", code)
    assert told.returncode == 0, told.stderr
    shown = run(installed, "-m", "ftsdk", "backends", "--json")
    assert "parrot" in shown.stdout, shown.stderr


def test_it_is_found_by_its_entry_point_and_runs(installed, tmp_path):
    told = run(installed, "-c", USE, str(tmp_path / "h"))
    assert told.stdout.split() == ["succeeded", "a2"], told.stderr


def test_it_passes_the_kit(installed):
    told = run(installed, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLE / "tests"))
    assert told.returncode == 0, told.stdout[-3000:]
    assert " passed" in told.stdout


def test_rows_are_judged_by_what_its_record_takes(installed):
    code = (
        "import ftsdk; print(ftsdk.validate([{'text': 'abc'}], provider='parrot').faults[0].message);"
        "print(ftsdk.validate([{'messages': [{'role': 'user', 'content': 'a'},"
        " {'role': 'assistant', 'content': 'b'}]}], provider='parrot').ok)"
    )
    told = run(installed, "-c", code)
    assert told.returncode == 0, told.stderr[-3000:]
    assert "parrot takes chat rows" in told.stdout
    assert told.stdout.endswith("True\n")
