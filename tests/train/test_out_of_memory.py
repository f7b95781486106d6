"""A step that runs out of memory is computed again with half the tokens, to the same bits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.train import tiny


def run_of(folder: Path, model: Path, **options: Any) -> Any:
    from ftsdk.backends.local.runs.run_dir import RunDir

    changes = {"hyperparameters": {"max_steps": 3}, "options": options}
    return RunDir.create(folder, tiny.spec(model, **changes), train=tiny.rows(12), validation=None)


def result(run: Any) -> bytes:
    return bytes((run.result_path / "adapter_model.safetensors").read_bytes())


@pytest.mark.parametrize("error", ["cuda", "cpu", "python"])
def test_the_result_is_that_of_a_run_with_half_the_tokens(
    error: str, tiny_model: Path, train: Any, tmp_path: Path
) -> None:
    whole = run_of(tmp_path / "whole", tiny_model, micro_batch_tokens=190)  # two passes a step
    assert train(whole.path, "run_out_of_memory", error, 100) == 0
    warnings = [
        e for e in whole.read_events() if e["kind"] == "warning" and "emory" in e["message"]
    ]
    assert len(warnings) == 1, whole.read_events()
    tokens = warnings[0]["micro_batch_tokens"]
    assert tokens <= 100
    assert json.loads((whole.path / "memory.json").read_bytes())["tokens"] == tokens
    asked = run_of(tmp_path / "asked", tiny_model, micro_batch_tokens=tokens)
    assert train(asked.path) == 0
    assert result(whole) == result(asked)


def test_one_example_that_does_not_fit_ends_the_run(
    tiny_model: Path, train: Any, tmp_path: Path
) -> None:
    run = run_of(tmp_path / "run", tiny_model)
    assert train(run.path, "run_out_of_memory", "cuda", 4) == 1
    outcome = json.loads((run.path / "outcome.json").read_bytes())
    assert outcome["error"]["kind"] == "out_of_memory"
