"""A backend in a separate package: found by its entry point, and passes the conformance kit."""

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
    """Return a folder into which pip installed the package, without a download."""
    for needed in ("pip", "hatchling"):
        pytest.importorskip(needed, reason="pip builds the package with hatchling")
    target = tmp_path_factory.mktemp("site")
    source = tmp_path_factory.mktemp("source") / "parrot"
    shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("__pycache__", "tests"))
    ran = subprocess.run(
        [
            sys.executable, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--no-index",
            "--disable-pip-version-check", "--target", str(target), str(source),
        ],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-3000:]
    return target


@pytest.fixture
def installed(site, tmp_path):
    """Return the environment of a program that has the package installed."""
    return {**os.environ, "PYTHONPATH": str(site), "FTSDK_HOME": str(tmp_path / "home")}


def run(env, *arguments):
    return subprocess.run(
        [sys.executable, *arguments], env=env, capture_output=True, text=True, timeout=120
    )


def test_the_wheel_contains_the_package_and_its_entry_point(site):
    names = {path.name for path in site.iterdir()}
    assert "ftsdk_parrot" in names
    (info,) = site.glob("ftsdk_parrot-*.dist-info")
    assert "parrot = ftsdk_parrot.backend:ParrotBackend" in (info / "entry_points.txt").read_text()


def test_its_backend_is_listed_without_being_imported(installed):
    code = (
        "import sys; from ftsdk.backends.registry import backend_names;"
        "assert 'parrot' in backend_names(); assert 'ftsdk_parrot' not in sys.modules"
    )
    ran = run(installed, "-c", code)
    assert ran.returncode == 0, ran.stderr
    shown = run(installed, "-m", "ftsdk", "backends", "--json")
    assert "parrot" in shown.stdout, shown.stderr


def test_a_job_runs_on_it(installed, tmp_path):
    ran = run(installed, "-c", USE, str(tmp_path / "h"))
    assert ran.stdout.split() == ["succeeded", "a2"], ran.stderr


def test_it_passes_the_conformance_kit(installed):
    ran = run(installed, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLE / "tests"))
    assert ran.returncode == 0, ran.stdout[-3000:]
    assert " passed" in ran.stdout


def test_rows_are_validated_by_its_capabilities(installed):
    code = (
        "import ftsdk; print(ftsdk.validate([{'text': 'abc'}], provider='parrot').faults[0].message);"
        "print(ftsdk.validate([{'messages': [{'role': 'user', 'content': 'a'},"
        " {'role': 'assistant', 'content': 'b'}]}], provider='parrot').ok)"
    )
    ran = run(installed, "-c", code)
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert "parrot accepts chat rows" in ran.stdout
    assert ran.stdout.endswith("True\n")
