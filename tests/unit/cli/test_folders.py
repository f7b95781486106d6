"""The working folder is gone or unreadable; the home is read-only or unreadable."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftsdk.client import Client

ROOT = Path(__file__).resolve().parents[3]
Rows = Callable[[int], list[dict[str, Any]]]
READING = (["list"], ["list", "--json"], ["show"], ["costs"], ["list", "--offline"])

pytestmark = pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")


def _obey_permissions() -> None:
    """Take from root what lets it ignore the permissions of files; others obey them anyway."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            assert libc.prctl(24, capability, 0, 0, 0) == 0  # PR_CAPBSET_DROP


def run(*words: str, home: Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "FTSDK_HOME": str(home),
        "FTSDK_PROVIDER": "fake",
        "FTSDK_MODEL": "m",
        "NO_COLOR": "1",
    }
    return subprocess.run(
        [sys.executable, "-m", "ftsdk", *words],
        env=env,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=_obey_permissions,
    )


@pytest.fixture
def job_id(home: Path, rows: Rows, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the id of a job that has ended at its provider, and is running in the journal."""
    monkeypatch.setenv("FTSDK_PROVIDER", "fake")
    monkeypatch.setenv("FTSDK_MODEL", "m")
    with Client() as client:
        timeline = {"timeline": [["running", 0], ["succeeded", 0.05]]}
        return client.create_job(rows(4), provider_options=timeline).id


@pytest.fixture
def read_only(home: Path, job_id: str) -> Path:
    folders = [home, *(path for path in home.rglob("*") if path.is_dir())]
    files = [path for path in home.rglob("*") if path.is_file()]
    for path in files:
        path.chmod(0o400)
    for path in folders:
        path.chmod(0o500)
    yield home  # type: ignore[misc]  # a fixture
    for path in folders:
        path.chmod(0o700)


@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_a_read_only_home_can_be_read(words: list[str], read_only: Path, job_id: str) -> None:
    words = [*words, job_id] if words == ["show"] else words
    ran = run(*words, home=read_only)
    assert (ran.returncode, "bug" in ran.stderr) == (0, False), ran
    if "--json" in words:
        assert json.loads(ran.stdout)["jobs"][0]["status"] == "succeeded"
    elif words[0] != "costs":
        assert job_id in ran.stdout
        assert ("succeeded" in ran.stdout) is ("--offline" not in words)


def test_nothing_is_created_in_a_read_only_home(
    read_only: Path, tmp_path: Path, rows: Rows
) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows(4)))
    ran = run("create", str(data), "--yes", "--key", "other", home=read_only)
    assert ran.returncode == 2
    assert "nothing was submitted" in ran.stderr
    assert "bug" not in ran.stderr


@pytest.mark.parametrize("words", [["list"], ["costs"], ["doctor"], ["show", "x"], ["watch"]])
def test_an_unreadable_home_is_named(words: list[str], home: Path, job_id: str) -> None:
    home.chmod(0)
    ran = run(*words, home=home)
    home.chmod(0o700)
    assert "bug" not in ran.stderr
    assert str(home) in ran.stderr + ran.stdout
    assert "Permission denied" in ran.stderr + ran.stdout


@pytest.mark.parametrize(
    "words",
    [["list"], ["doctor"], ["costs"], ["create", "x.jsonl"], ["validate", "x.jsonl"], ["init"],
     ["plan", "x.jsonl"], ["journal", "export", "x.jsonl"], ["watch"]],
    ids=" ".join,
)  # fmt: skip
def test_a_folder_that_was_deleted_is_named(words: list[str], home: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    quoted = " ".join(words)
    shell = f"cd {gone} && rmdir {gone} && exec {sys.executable} -m ftsdk {quoted}"
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "FTSDK_HOME": str(home)}
    ran = subprocess.run(
        ["sh", "-c", shell], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    said = ran.stdout + ran.stderr
    assert "bug" not in said
    assert "current folder" in said or words[0] == "validate", said
    assert ran.returncode in (1, 2, 3)


def test_an_unreadable_folder_of_the_configuration_is_named(home: Path, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    inner = closed / "inner"
    inner.mkdir(parents=True)
    (closed / "ftsdk.toml").write_text('provider = "fake"\n')
    closed.chmod(0)
    try:
        ran = subprocess.run(
            [sys.executable, "-c", f"""
from pathlib import Path
from ftsdk.config import load_config
from ftsdk.errors import ConfigError
try:
    load_config(folder=Path({str(inner)!r}), env={{}})
except ConfigError as error:
    print(error)
"""],
            env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60, check=False,
            preexec_fn=_obey_permissions,
        )  # fmt: skip
    finally:
        closed.chmod(0o700)
    assert "cannot be looked for: Permission denied" in ran.stdout, ran.stderr
