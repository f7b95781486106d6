"""The migration that `benchmarks/migration.py` shows, with the rehearsal provider in place of training."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import ftsdk
from ftsdk.client import Client
from tests.scripts import load_script

pytest.importorskip("scipy", reason="needs the extra `eval`")
pytest.importorskip("openai", reason="needs the extra `openai`")
SCRIPT = Path(__file__).resolve().parents[3] / "benchmarks" / "migration.py"
LABELS = [f"intent_{i}" for i in range(8)]


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    """Return the script as a module."""
    return load_script(SCRIPT, "benchmark_migration")


def row(number: int, what: str) -> dict[str, Any]:
    label = LABELS[number % 8]
    words = f"{label} {label} {what} number {number} " + " ".join(
        f"w{number * k}" for k in (3, 5, 7)
    )
    return {
        "messages": [
            {"role": "system", "content": "Classify."},
            {"role": "user", "content": words},
            {"role": "assistant", "content": label},
        ]
    }


TRAIN = [row(number, "training") for number in range(160)]
TEST = [row(number, "asked") for number in range(1000, 1500)]


def old_model(messages: Sequence[Mapping[str, Any]]) -> str:
    """The old model: right, but for one row in 250."""
    asked = messages[-1]["content"].split()
    return "intent_9" if int(asked[4]) % 250 == 0 else str(asked[0])


def test_the_three_verdicts_of_a_migration(
    client: Client, benchmark: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    def tune(rows: Any, seed: int) -> ftsdk.FineTuneJob:
        if len(rows) < 20:
            rows = [one for one in rows if one["messages"][-1]["content"] < "intent_5"]
        return client.create_job(rows, provider="fake", model="smollm2-135m", seed=seed).wait()

    with benchmark.Served(TRAIN, old_model) as served:
        assert served.name.startswith("ft:gpt-4.1-mini")
        found = benchmark.migrate(client, served, TEST, tune)
        paid = served.double.meter.answers
    assert {name: one.verdict for name, one in found.items()} == benchmark.EXPECTED
    assert paid == 500  # each row once; no comparison asks the old model again
    assert found["retrained"].compare().n >= 490
    assert found["a tenth of the rows"].exit_code == 8
    few = found["40 rows"].compare()
    assert few.n == 40
    assert (few.rows_needed or 0) > 40
    text = benchmark.table(found)
    assert "rows needed" in text
    assert "training rows in file-" in capsys.readouterr().out
    json.dumps(found["retrained"].to_dict())


def test_the_rows_are_the_same_each_time(benchmark: ModuleType, tmp_path: Path) -> None:
    for name, rows in (("train", TRAIN), ("test", TEST)):
        text = "".join(json.dumps(one) + "\n" for one in rows)
        (tmp_path / f"banking77_{name}.jsonl").write_text(text)
    train, test = benchmark.rows_of(tmp_path, 3, 20)
    assert (len(train), {one["messages"][-1]["content"] for one in test}) == (
        20,
        {LABELS[i] for i in (0, 2, 4)},
    )
    assert benchmark.rows_of(tmp_path, 3, 20) == (train, test)
    with pytest.raises(ftsdk.ConfigError, match="data is not here"):
        benchmark.rows_of(tmp_path / "nowhere", 3, 20)
