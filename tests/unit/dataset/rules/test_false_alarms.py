"""The benchmark of false alarms counts what was not judged right, and refuses a file that changed."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[4] / "benchmarks" / "false_alarms.py"
pytestmark = pytest.mark.skipif(
    not SCRIPT.is_file(), reason="the benchmarks are not beside the tests"
)


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPT, "--files", folder], capture_output=True, text=True, check=False
    )


def test_the_table_has_each_file_and_what_is_false(tmp_path: Path) -> None:
    rows = [{"prompt": f"ask {n}", "completion": text} for n, text in
            enumerate(["mail jo@firm.io", "call 0171 2345678", "nothing", "{{name}}"])]  # fmt: skip
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    (tmp_path / "a.jsonl").write_bytes(data)
    entry = {"file": "a.jsonl", "repository": "o/n", "commit": "abcdef123", "path": "d/a.jsonl",
             "sha256": hashlib.sha256(data).hexdigest(), "right": {"FT406": [1]}}  # fmt: skip
    (tmp_path / "manifest.json").write_text(json.dumps([entry]))
    done = run(tmp_path)
    digest = entry["sha256"][:12]
    assert f"| `d/a.jsonl` | o/n `abcdef1` | `{digest}` | 4 | 3 | 2 | 500.00 |" in done.stdout
    assert "| FT406 | 1 | 0 | 0.00 |" in done.stdout
    assert "| FT407 | 1 | 1 | 250.00 |" in done.stdout
    (tmp_path / "a.jsonl").write_bytes(data + b"\n")
    changed = run(tmp_path)
    assert changed.returncode == 1
    assert "the manifest says" in changed.stderr
