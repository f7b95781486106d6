"""The hook for pre-commit: its entry is run as pre-commit runs it, with arguments and then files."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
HOOKS = ROOT / ".pre-commit-hooks.yaml"
pytestmark = pytest.mark.skipif(not HOOKS.is_file(), reason="the repository is not around the tests")  # fmt: skip

FINE = {
    "messages": [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "good day"}]
}


@pytest.fixture
def hook() -> dict[str, Any]:
    yaml = pytest.importorskip("yaml")
    (found,) = yaml.safe_load(HOOKS.read_text())
    return dict(found)


def run(hook: dict[str, Any], *words: str | Path) -> subprocess.CompletedProcess[str]:
    command, *first = shlex.split(hook["entry"])
    script = Path(sys.executable).with_name(command)
    if not script.is_file():
        pytest.skip("the command is not installed beside this Python")
    return subprocess.run([script, *first, *words], capture_output=True, text=True, check=False)


def test_it_fails_on_faults_and_names_each_file(hook: dict[str, Any], tmp_path: Path) -> None:
    good, bad = tmp_path / "good.jsonl", tmp_path / "bad.jsonl"
    good.write_text(json.dumps(FINE) + "\n")
    bad.write_text(json.dumps(FINE) + '\n{"messages": []}\n')
    assert run(hook, good).returncode == 0
    both = run(hook, good, bad)
    assert both.returncode == 3
    assert "good.jsonl" in both.stdout
    assert "line 2" in both.stdout
    good.write_text(2 * (json.dumps(FINE) + "\n"))
    assert run(hook, good).returncode == 0
    assert run(hook, "--strict", good).returncode == 3


def test_it_takes_the_files_that_its_environment_can_read(hook: dict[str, Any]) -> None:
    taken = [n for n in ("a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.json", "a.parquet", "jsonl.py")
             if re.search(hook["files"], n)]  # fmt: skip
    assert taken == ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst"]
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]  # fmt: skip
    names = {re.split(r"[<>=; ]", one)[0] for one in extras["data"]}
    assert set(hook["additional_dependencies"]) == names - {"pyarrow"}
