"""The rows of a whole step fill a pass through the model, whatever `batch_size` divides them into."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ftsdk.backends.local.runs.run_dir import RunDir
from tests.train import architectures, tiny

CHANGES: dict[str, Any] = {"options": {"dtype": "float32"}, "hyperparameters": {"max_steps": 3}}


def rows_of(method: str) -> list[dict[str, Any]]:
    rows = tiny.rows(20)
    if method == "kto":
        return [{**row, "label": bool(k % 3)} for k, row in enumerate(rows)]
    if method == "sft":
        return rows
    return [
        {
            "input": {"messages": row["messages"][:1]},
            "preferred_output": row["messages"][1:],
            "non_preferred_output": [{"role": "assistant", "content": "red " * (1 + k % 4)}],
        }
        for k, row in enumerate(rows)
    ]


def make(path: Path, model: Path, method: str = "sft", **hyperparameters: Any) -> RunDir:
    changes = {**CHANGES, "hyperparameters": {**CHANGES["hyperparameters"], **hyperparameters}}
    return RunDir.create(path, tiny.spec(model, method=method, **changes), train=rows_of(method))


def weights(run: RunDir) -> bytes:
    return (run.result_path / "adapter_model.safetensors").read_bytes()


@pytest.mark.parametrize("method", ["kto", "sft", "dpo", "orpo"])
def test_the_bits_depend_on_the_rows_of_a_step_alone(
    method: str, tiny_model: Path, train: Any, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """All 8 rows of a step go at once; the losses, and KTO's estimate, are those of the step."""
    if method != "kto" and not pytestconfig.getoption("--long"):
        pytest.skip("with --long")
    whole = make(
        tmp_path / "whole", tiny_model, method, batch_size=8, gradient_accumulation_steps=1
    )
    parts = make(
        tmp_path / "parts", tiny_model, method, batch_size=2, gradient_accumulation_steps=4
    )
    for run in (whole, parts):
        assert train(run.path) == 0, run.log_tail()
    assert json.loads((parts.path / "rows.json").read_bytes()) == {"rows": 8, "alone": False}
    assert weights(whole) == weights(parts)


def test_a_run_that_an_older_version_began_keeps_its_bits(
    tiny_model: Path, train: Any, tmp_path: Path
) -> None:
    """It took `batch_size` rows at once, and wrote no rows.json."""
    sizes = {"batch_size": 2, "gradient_accumulation_steps": 4}
    uninterrupted = make(tmp_path / "uninterrupted", tiny_model, **sizes)
    killed = make(tmp_path / "killed", tiny_model, **sizes)
    for run in (uninterrupted, killed):
        (run.path / "rows.json").write_text('{"rows": 2, "alone": false}')
    assert train(uninterrupted.path) == 0
    assert train(killed.path, "kill_in_step", 3) != 0
    (killed.path / "rows.json").unlink()
    assert train(killed.path) == 0, killed.log_tail()
    assert weights(killed) == weights(uninterrupted)
    now = make(tmp_path / "now", tiny_model, **sizes)
    assert train(now.path) == 0
    assert weights(now) != weights(uninterrupted)  # the sums have other last bits


def test_a_run_that_an_older_version_began_row_by_row_keeps_its_bits(
    train: Any, tmp_path: Path
) -> None:
    """Its rows would go together now."""
    model = architectures.write("gemma2", tmp_path / "model")
    uninterrupted = make(tmp_path / "uninterrupted", model)
    killed = make(tmp_path / "killed", model)
    for run in (uninterrupted, killed):
        (run.path / "rows.json").write_text('{"rows": 4, "alone": true}')
    assert train(uninterrupted.path) == 0
    assert train(killed.path, "kill_in_step", 3) != 0
    (killed.path / "rows.json").unlink()
    assert train(killed.path) == 0, killed.log_tail()
    assert weights(killed) == weights(uninterrupted)
    now = make(tmp_path / "now", model)
    assert train(now.path) == 0
    assert weights(now) != weights(uninterrupted)
