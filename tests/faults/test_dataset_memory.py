"""Memory stays small whatever the file: many rows, one endless row, a bomb, a hole.

Each case runs in a process of its own, whose peak is read from the kernel, and so are those of the
workers that it starts. `--long` makes the file of many rows and the unpacked bomb a gigabyte each.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from Linux")

LIMIT_MB = 150

CHILD = """
import json, sys
from ftsdk.dataset import validate
report = validate(sys.argv[1], tokens=False, near_duplicates=False)
print(json.dumps({"rows": report.rows, "counts": dict(report.counts)}))
"""
NAIVE = """
import json, sys
print(json.dumps({"rows": sum(1 for line in open(sys.argv[1], "rb"))}))
"""


def run(path: Path, code: str = CHILD) -> dict[str, Any]:
    """What the child says, and two measures of it and its workers.

    `peak` are the megabytes that they held at once, `read` the megabytes that they read.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True
    )
    peak = workers = read = 0
    with process:
        assert process.stdout is not None
        while process.poll() is None:
            family = [process.pid, *children(process.pid)]
            peak = max(peak, sum(map(held_kb, family)))
            workers = max(workers, len(family) - 1)
            read = max(read, sum(map(read_bytes, family)))
            time.sleep(0.02)
        found: dict[str, Any] = json.loads(process.stdout.read())
    assert process.returncode == 0
    return {**found, "peak": peak / 1024, "workers": workers, "read": read / 1e6}


def children(pid: int) -> list[int]:
    """Children, of whichever thread started them."""
    found: list[int] = []
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # the thread has ended
            found += map(int, tasks.read_text().split())
    return found


def held_kb(pid: int) -> int:
    """Resident memory, what processes share counted once (their proportional sets)."""
    try:
        reported = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:  # it has ended
        return 0
    match = re.search(r"^Pss:\s+(\d+) kB", reported, re.MULTILINE)
    return int(match[1]) if match else 0


def read_bytes(pid: int) -> int:
    """What it read so far, from files and pipes."""
    try:
        counters = Path(f"/proc/{pid}/io").read_text()
    except OSError:  # it has ended
        return 0
    match = re.search(r"^rchar: (\d+)", counters, re.MULTILINE)
    return int(match[1]) if match else 0


def test_many_rows(tmp_path: Path, capsys: Any, request: pytest.FixtureRequest) -> None:
    rows = 500_000 if request.config.getoption("--long") else 30_000
    path = tmp_path / "rows.jsonl"
    filler = "word " * 370
    with path.open("wb") as handle:
        for number in range(rows):
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
    size = path.stat().st_size / 1e6
    with capsys.disabled():
        print(
            f"\nmemory: {size:,.0f} MB of rows, peak {found['peak']:.0f} MB in all "
            f"({found['workers']} workers), {size / took:.0f} MB/s"
        )
    assert found["rows"] == rows
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


def test_a_bomb(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    blocks = 256 if request.config.getoption("--long") else 64
    path = tmp_path / "rows.jsonl.gz"
    piece = b'{"text": "' + b" " * 4000 + b'"}\n'
    with gzip.open(path, "wb", compresslevel=9) as handle:
        for _ in range(blocks):
            handle.write(piece * 1024)
    assert path.stat().st_size * 500 < blocks * 1024 * len(piece)
    found = run(path)
    assert found["counts"].get("FT006") == 1
    assert found["peak"] < LIMIT_MB


def test_a_sparse_file_of_zeros_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with path.open("wb") as handle:
        handle.truncate(10 << 30)
    found = run(path)
    assert found["read"] < 1000  # MB; of the file, which has ten times as much, only the beginning
    assert found["counts"] == {"FT016": 1}
    with path.open("r+b") as handle:  # the zeros may come later, too
        handle.write(b'{"text": "a"}\n')
    found = run(path)
    assert found["counts"] == {"FT016": 1}
    assert found["peak"] < LIMIT_MB
