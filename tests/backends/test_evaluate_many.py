"""An evaluation of many rows by three models is killed: each answer is paid once.

Memory grows by less than 16 KB an answer, which the report holds.

The short tier has 60 rows; `--long` has 2,000.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.backends.metered import Metered

pytest.importorskip("openai", reason="needs the extra `openai`")
MODELS = ("gpt-4.1-mini-2025-04-14", "gpt-4o-mini-2024-07-18", "gpt-6-luna")
_RUN = """
import json, resource, sys
import ftsdk
report = ftsdk.evaluate(
    sys.argv[1], sys.argv[2:], provider="openai",
    metrics=["exact"], recoverable=True, concurrency=16,
)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"verdict": report.verdict, "n": report.compare().n, "peak_mb": peak / 1024}))
"""


def write(path: Path, count: int) -> Path:
    rows = (
        {
            "messages": [
                {"role": "user", "content": f"question {i} about parcels of kind {i * i}"},
                {"role": "assistant", "content": f"answer {i}"},
            ]
        }
        for i in range(count)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def evaluation(path: Path, double: Metered, home: Path) -> subprocess.Popen[str]:
    env = {**os.environ, **double.variables(), "FTSDK_HOME": str(home)}
    command = [sys.executable, "-c", _RUN, str(path), *MODELS]
    return subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ended(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    found: dict[str, Any] = json.loads(out)
    return found


@pytest.mark.timeout(1200)
def test_a_killed_evaluation_of_many_rows_asks_nothing_twice(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    count = 2000 if request.config.getoption("--long") else 60
    path = write(tmp_path / "rows.jsonl", count)
    with Metered() as double:
        process = evaluation(path, double, tmp_path / "home")
        while double.paid.total() < count:
            assert process.poll() is None, process.communicate()
            time.sleep(0.005)
        process.kill()
        process.communicate()
        at_kill = double.paid.total()
        found = ended(evaluation(path, double, tmp_path / "home"))
        assert at_kill < 3 * count, "it was not killed before its end"
        assert found["n"] == count
        assert len(double.paid) == 3 * count
        assert set(double.paid.values()) == {1}
        few_rows = write(tmp_path / "few.jsonl", max(20, count // 10))
        few = ended(evaluation(few_rows, double, tmp_path / "other"))
    print(f"{3 * count} answers, killed at {at_kill}: none asked twice; {found} {few}")
    more = 3 * (count - max(20, count // 10))
    assert found["peak_mb"] < few["peak_mb"] + 20 + more * 16 / 1024
