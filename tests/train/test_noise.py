"""NEFTune: noise by the length of each row, only while training, the same after a resume."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftsdk.backends.local.runs.run_dir import RunDir
from tests.train import tiny
from tests.train.plain import facts_of, plain_loss
from tests.train.test_numbers import load, rendered

Train = Callable[..., int]


def test_the_noise_of_a_row_follows_its_own_length() -> None:
    import torch

    from ftsdk.backends.local.training.noise import noise_like

    torch.manual_seed(3)
    noise = noise_like(torch.zeros(1, 120, 32), (100, 20), 5.0)[0]
    for part, length in ((noise[:100], 100), (noise[100:], 20)):
        most = 5.0 / math.sqrt(length * 32)
        assert 0.97 * most < float(part.abs().max()) <= most
        assert abs(float(part.mean())) < 0.06 * most
        assert float(part.std()) == pytest.approx(most / math.sqrt(3), rel=0.1)


def test_there_is_none_in_an_evaluation(tiny_model: Path) -> None:
    import torch

    from ftsdk.backends.local.training.batches import PackedBatch
    from ftsdk.backends.local.training.forward import evaluating
    from ftsdk.backends.local.training.noise import add_noise

    model, _ = load(tiny_model)
    batch = PackedBatch.of(rendered([20, 7], model.network.config.vocab_size), torch.device("cpu"))

    def losses() -> tuple[float, float]:
        with torch.no_grad():
            learning = float(model.loss_sum(batch))
        with evaluating(model.network):
            return learning, float(model.loss_sum(batch))

    before = losses()
    add_noise(model.network, 5.0)
    after = losses()
    assert before[0] == before[1] == after[1]
    assert after[0] != before[0]


def make(path: Path, model: Path, alpha: float | None) -> RunDir:
    options = {"dtype": "float32", "neftune_alpha": alpha, "checkpoint_every_steps": 2}
    spec = tiny.spec(
        model, adapter={"dropout": 0.0}, options=options,
        hyperparameters={"max_steps": 5, "learning_rate": 2e-2},
    )  # fmt: skip
    return RunDir.create(path, spec, train=tiny.rows(16), validation=tiny.rows(4, seed=1))


def test_a_killed_run_draws_the_same_noise(tiny_model: Path, train: Train, tmp_path: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    weights: dict[str, Any] = {}
    for name, alpha, plants in (
        ("plain", None, ()),
        ("whole", 5.0, ()),
        ("killed", 5.0, (("kill_in_step", 4),)),
        ("carried", 5.0, (("kill_in_step", 4), ("carried_random_state",))),
    ):
        run = make(tmp_path / name, tiny_model, alpha)
        for plant in plants:
            train(run.path, *plant)
        if not (run.path / "outcome.json").exists():
            assert train(run.path) == 0, run.log_tail()
        weights[name] = (run.result_path / "adapter_model.safetensors").read_bytes()
        if name == "whole":
            base = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
            loaded = PeftModel.from_pretrained(base, run.result_path)
            found = plain_loss(loaded, run.result_path, run.path / "validation.jsonl")
            assert found == pytest.approx(facts_of(run.result_path)["validation_loss"], rel=1e-4)
    assert weights["whole"] == weights["killed"] != weights["plain"]
    assert weights["carried"] != weights["whole"]  # a stream that a resume does not restore
