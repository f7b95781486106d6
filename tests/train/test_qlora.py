"""QLoRA: an NF4 base of a quarter the size, and an adapter that also fits the plain base."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from tests.train import tiny
from tests.train.test_numbers import gradients, randomize_adapters, rendered

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed"
)
WIDE = {"hidden_size": 128, "intermediate_size": 256}
"""Full quantization blocks, as in real models: 64 weights share a scale, 256 scales another."""


@pytest.fixture(scope="module")
def wide_model(tmp_path_factory: Any) -> Path:
    return tiny.write_model(tmp_path_factory.mktemp("wide") / "model", **WIDE)


def load(model: Path, quantize: str | None, dtype: str) -> Any:
    import torch

    from ftsdk.backends.local.compute.hardware import choose_hardware
    from ftsdk.backends.local.training.model import load_for_training

    spec = tiny.spec(
        model, adapter={"quantize": quantize, "dropout": 0.0}, options={"dtype": dtype}
    )
    torch.manual_seed(0)
    hardware = choose_hardware(spec.options.device, dtype, spec.options.threads)
    loaded = load_for_training(spec, hardware)
    randomize_adapters(loaded.owner)
    return loaded


def test_linear_weights_take_a_quarter_of_bf16(wide_model: Path) -> None:
    packed = load(wide_model, "nf4", "bf16").size
    plain = load(wide_model, None, "bf16").size
    share = packed.linear_weight_bytes / plain.linear_weight_bytes
    assert 0.25 < share < 0.27
    assert packed.parameters == plain.parameters


def test_the_fused_layer_equals_that_of_peft(wide_model: Path) -> None:
    import torch
    from peft.tuners.lora.layer import LoraLayer

    from ftsdk.backends.local.training.batches import PackedBatch

    model = load(wide_model, "nf4", "float32")
    fused = [m for m in model.owner.modules() if isinstance(m, LoraLayer) and "forward" in vars(m)]
    assert len(fused) == 14
    rows = rendered([31, 7, 18], model.network.config.vocab_size)
    batch = PackedBatch.of(rows, torch.device("cpu"))
    loss = model.loss_sum(batch)
    loss.backward()
    fast = gradients(model.owner)
    for module in fused:
        module.__dict__.pop("forward")
    reference = model.loss_sum(batch)
    reference.backward()
    slow = gradients(model.owner)
    torch.testing.assert_close(loss, reference, rtol=1e-5, atol=1e-5)
    assert fast.keys() == slow.keys()
    for name in fast:
        torch.testing.assert_close(fast[name], slow[name], rtol=1e-3, atol=1e-5, msg=name)


def test_a_run_learns_and_its_adapter_fits_the_plain_base(
    wide_model: Path, train: Any, tmp_path: Path
) -> None:
    from ftsdk.backends.local.local_model import LocalModel
    from ftsdk.backends.local.runs.run_dir import RunDir

    final = {}
    rows = tiny.rows(24)
    for quantize in (None, "nf4"):
        spec = tiny.spec(
            wide_model,
            adapter={"quantize": quantize, "dropout": 0.0, "rank": 16, "alpha": 32},
            hyperparameters={"epochs": 6.0, "gradient_accumulation_steps": 1},
            options={"checkpoint_every_steps": 1000},
        )
        run = RunDir.create(tmp_path / f"run-{quantize}", spec, train=rows, validation=rows)
        assert train(run.path) == 0, run.log_tail()
        losses = [e["validation_loss"] for e in run.read_events() if "validation_loss" in e]
        assert losses[-1] < 0.7 * losses[0]
        final[quantize] = losses[-1]
    # How close they are differs between processors; NF4 must not learn much worse.
    assert 0.6 * final[None] < final["nf4"] < 1.2 * final[None]
    model = LocalModel.load(tmp_path / "run-nf4" / "result", device="cpu")
    assert model.chat(rows[0]["messages"][:1], max_tokens=20).text
