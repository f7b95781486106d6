"""The model at a kept checkpoint answers as the weights that the checkpoint has."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftsdk.backends.local.result import checkpoint_of_run, model_of
from ftsdk.backends.local.runs.run_dir import RunDir
from ftsdk.errors import NotFound, StoreError
from ftsdk.types.model import ModelHandle
from tests.train import tiny


@pytest.fixture(scope="module", params=["lora", "full"])
def run(request: Any, tiny_model: Path, train: Callable[..., int], tmp_path_factory: Any) -> RunDir:
    """A run that kept its checkpoints."""
    spec = tiny.spec(
        tiny_model,
        hyperparameters={"max_steps": 4, "learning_rate": 8e-3},
        options={"dtype": "float32", "checkpoint_every_steps": 2, "keep_checkpoints": 5},
        **({} if request.param == "lora" else {"adapter": None}),
    )
    made = RunDir.create(tmp_path_factory.mktemp("run") / "run", spec, train=tiny.rows(8))
    assert train(made.path) == 0, made.log_tail()
    return made


def tensors(handle: ModelHandle) -> dict[str, Any]:
    from safetensors.torch import load_file

    assert handle.path is not None
    [path] = handle.path.glob("*.safetensors")
    return {name: one.tolist() for name, one in load_file(path).items()}


def test_a_checkpoint_is_a_model_with_its_own_weights(run: RunDir) -> None:
    steps = [one.step for one in run.checkpoints()]
    assert steps == [2, 4]
    early, last = (checkpoint_of_run(run, "ftj_1", "local", step) for step in steps)
    result = model_of(run, "ftj_1", "local")
    assert (early.id, result.id) == ("local:ftj_1@2", "local:ftj_1")
    weights = [tensors(handle) for handle in (early, last, result)]
    assert weights[1] == weights[2] != weights[0]
    facts = json.loads((early.path or Path()).joinpath("ftsdk.json").read_bytes())
    assert (facts["steps"], facts["train_loss"]) == (2, None)
    assert facts["base_model"] == result.raw["base_model"]
    from ftsdk.backends.local.inference import load_model

    answers = [
        load_model(Path(str(handle.path)), device="cpu").chat(
            [{"role": "user", "content": "cat dog sun"}], max_tokens=12
        )
        for handle in (early, last, result)
    ]
    assert answers[1] == answers[2]
    assert answers[0].text != answers[1].text


def test_one_that_is_not_there_or_was_changed_is_refused(run: RunDir) -> None:
    with pytest.raises(NotFound, match="no checkpoint at step 3"):
        checkpoint_of_run(run, "ftj_1", "local", 3)
    folder = run.path / "checkpoints" / "step-00000004"
    [weights] = folder.glob("*model.safetensors")
    whole = weights.read_bytes()
    made = run.path / "checkpoint-models" / "step-4"
    if made.exists():
        made.rename(made.with_name("aside"))
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(StoreError, match="was changed"):
        checkpoint_of_run(run, "ftj_1", "local", 4)
    assert not made.exists()
    weights.write_bytes(whole)
