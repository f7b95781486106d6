"""An evaluation of many rows by three models is killed: each answer is paid once, and memory is flat.

Memory may grow by 1.5 KB an answer: keys, scores and where the texts are in the store, not the texts.

The short tier has 60 rows; `--long` has 2,000.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.backends.metered import Metered

pytest.importorskip("openai", reason="needs the extra `openai`")
MOST_KB = 1.5
"""What an answer may take in memory."""
NOISE_MB = 5
"""By how much the peak of a process differs from one run to the next."""
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
    assert found["peak_mb"] < few["peak_mb"] + NOISE_MB + more * MOST_KB / 1024


# --- memory ---

_MEASURE = """
import gc, json, sys, tracemalloc
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import ftsdk
from ftsdk.evaluation.captured import Captured
from ftsdk.migration.comparison_rows import comparison_rows

folder, models = Path(sys.argv[1]), sys.argv[3:]


def wordy(messages):
    return f"a function on {messages[-1]['content']} " * 100


def evaluated(client, rows, place):
    # a function, a prompt and two models; every row is a flip
    given = [models[0], wordy, models[1], ftsdk.Prompt("Answer.", models[2])]
    found = client.evaluate(rows, given, provider="openai", metrics=["exact", "normalized"])
    assert len(found.to_html()) < 3_000_000
    with (place / "found.json").open("wb") as file:
        file.writelines(found.json_blocks())
    return found


def judged(client, rows, place):
    return client.evaluate(
        rows, [wordy, models[1]], provider="openai", metrics=["exact"], judge=models[2]
    )


def captured(client, rows, place):
    return client.capture(models[0], rows, provider="openai", repeats=3, batch=False)


def batched(client, rows, place):
    return client.capture(models[0], rows, provider="openai", repeats=3, batch=True)


def compared(client, rows, place):
    kept = client.capture(models[0], rows, provider="openai", batch=False, base=False)
    bundle = Captured(kept.folder)
    made = comparison_rows(bundle, rows, place / "rows")
    return client.evaluate(made.path, [bundle, models[1]], provider="openai")


work = globals()[sys.argv[2]]
peaks = []
for size in ("warm", "few", "many"):
    place = folder / size
    gc.collect()
    if place.name != "warm":
        tracemalloc.start()
    with ftsdk.Client(home=place / "home") as client:
        held = work(client, folder / f"{size}.jsonl", place)
    peaks.append(tracemalloc.get_traced_memory()[1])
    tracemalloc.stop()
    del held
print(json.dumps(peaks))
"""


def verdict(model: str, messages: Sequence[Mapping[str, Any]]) -> str:
    """A long answer that no other has; of two answers that a judge shows, the one that is no control."""
    asked = messages[-1]["content"]
    if "<answer_A>" not in asked:
        return f"{model} on {asked} " * 100
    first, second = (one.split("\n</answer_")[0][3:] for one in asked.split("<answer_")[1:])
    if first == second:
        return "VERDICT: TIE"
    return "VERDICT: B" if "teapot" in first else "VERDICT: A"


@pytest.mark.parametrize(
    ("work", "answers"),
    [("evaluated", 4), ("judged", 4), ("captured", 3), ("batched", 3), ("compared", 2)],
)
def test_no_texts_are_held(
    tmp_path: Path, request: pytest.FixtureRequest, work: str, answers: int
) -> None:
    """Answers of 4,000 characters. Two sizes show what one more row takes, at the peak.

    The short tier has those whose buffers are full at its sizes.
    """
    is_long = request.config.getoption("--long")
    if not is_long and work not in ("evaluated", "judged"):
        pytest.skip("needs --long")
    sizes = {"warm": 12, "few": 120 if is_long else 40, "many": 1200 if is_long else 130}
    for name, size in sizes.items():
        write(tmp_path / f"{name}.jsonl", size)
        (tmp_path / name).mkdir()
    with Metered() as double:
        double.answers = verdict
        command = [sys.executable, "-c", _MEASURE, str(tmp_path), work, *MODELS]
        found = subprocess.run(
            command,
            env={**os.environ, **double.variables()},
            capture_output=True,
            text=True,
            check=False,
        )
    assert found.returncode == 0, found.stderr
    _, few, many = json.loads(found.stdout)
    per_answer = (many - few) / (sizes["many"] - sizes["few"]) / answers
    print(f"{work}: {per_answer:,.0f} bytes an answer")
    assert per_answer < MOST_KB * 1024
