"""Memory stays small whatever the file: many rows, one endless row, a bomb, a hole.

Each case runs in a process of its own, whose peak is read from the kernel. `FTSDK_MEMORY_MB=1000`
makes the file of many rows a gigabyte.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from Linux")

MEGABYTES = int(os.environ.get("FTSDK_MEMORY_MB", "60"))
LIMIT_MB = 150

# VmHWM belongs to the program alone; ru_maxrss would start from the peak of who launched it.
PEAK = """
import json, re, sys
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) / 1024
"""
CHILD = (
    PEAK
    + """
from ftsdk.dataset import validate
report = validate(sys.argv[1], tokens=False, near_duplicates=False)
print(json.dumps({"peak": peak(), "rows": report.rows, "counts": dict(report.counts)}))
"""
)
NAIVE = (
    PEAK
    + """
rows = sum(1 for line in open(sys.argv[1], "rb"))
print(json.dumps({"peak": peak(), "rows": rows}))
"""
)


def run(path: Path, code: str = CHILD) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=280,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_many_rows(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "rows.jsonl"
    filler = "word " * 370
    with path.open("wb") as handle:
        for number in range(MEGABYTES * 500):
            row = {
                "messages": [
                    {"role": "user", "content": f"{number} {filler}"},
                    {"role": "assistant", "content": f"answer {number}"},
                ]
            }
            handle.write(json.dumps(row).encode() + b"\n")
    start = time.perf_counter()
    found = run(path)
    took = time.perf_counter() - start
    with capsys.disabled():
        print(
            f"\nmemory: {path.stat().st_size / 1e6:,.0f} MB of rows, peak {found['peak']:.0f} MB, {path.stat().st_size / 1e6 / took:.0f} MB/s"
        )
    assert found["rows"] == MEGABYTES * 500
    assert found["counts"] == {}
    assert found["peak"] < LIMIT_MB


def test_one_endless_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    piece = b"x" * (1 << 20)
    with path.open("wb") as handle:
        handle.write(b'{"text": "')
        for _ in range(400):
            handle.write(piece)
        handle.write(b'"}\n{"text": "short"}\n')
    found = run(path)
    assert found["counts"] == {"FT009": 1}
    assert found["rows"] == 2
    assert found["peak"] < LIMIT_MB
    assert run(path, NAIVE)["peak"] > 400  # the figure means something


def test_a_bomb(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    piece = b'{"text": "' + b" " * 4000 + b'"}\n'
    with gzip.open(path, "wb", compresslevel=9) as handle:
        for _ in range(64):
            handle.write(piece * 1024)
    found = run(path)
    assert found["counts"].get("FT006") == 1
    assert found["peak"] < LIMIT_MB


def test_a_sparse_file_of_zeros_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with path.open("wb") as handle:
        handle.truncate(10 << 30)
    start = time.perf_counter()
    found = run(path)
    assert time.perf_counter() - start < 10
    assert found["counts"] == {"FT016": 1}
    with path.open("r+b") as handle:  # the zeros may come later, too
        handle.write(b'{"text": "a"}\n')
    found = run(path)
    assert found["counts"] == {"FT016": 1}
    assert found["peak"] < LIMIT_MB
