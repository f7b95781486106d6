"""Preference methods and DoRA on an NF4 base: as plain peft and the formulas of the papers compute."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from tests.train import tiny
from tests.train.test_numbers import gradients, load, padded_reference, randomize_adapters, rendered
from tests.train.test_preference_losses import BETA, examples_of, packed, plain_loss, prepared

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed"
)


@pytest.fixture(scope="module")
def wide_model(tmp_path_factory: Any) -> Path:
    """Full quantization blocks, as in real models."""
    folder = tmp_path_factory.mktemp("wide") / "model"
    return tiny.write_model(folder, hidden_size=128, intermediate_size=256, num_hidden_layers=1)


def as_peft_has_it(owner: Any) -> int:
    """Let every layer compute with peft's own code; returns how many did not."""
    from peft.tuners.lora.layer import LoraLayer

    layers = [module for module in owner.modules() if isinstance(module, LoraLayer)]
    assert layers
    return sum(module.__dict__.pop("forward", None) is not None for module in layers)


@pytest.mark.parametrize("method", ["dpo", "orpo", "kto"])
def test_a_method_on_nf4_has_the_loss_and_gradients_of_its_formula(
    method: str, wide_model: Path, tmp_path: Path
) -> None:
    import torch

    from ftsdk.backends.local.training.objectives.objective import MicroBatchLimits

    model, spec = load(
        wide_model,
        method=method,
        adapter={"quantize": "nf4", "dropout": 0.0},
        hyperparameters={"beta": BETA},
    )
    examples = examples_of(method, model.network.config.vocab_size)[:3]
    objective, examples = prepared(model, spec, tmp_path / "run", examples)
    randomize_adapters(model.owner)
    loss, _, fast = packed(model, objective, examples, MicroBatchLimits(2, 1000))
    assert as_peft_has_it(model.owner) == 7
    model.network.set_attn_implementation("eager")
    expected = plain_loss(model.owner, method, examples, {})
    expected.backward()
    slow = gradients(model.owner)
    assert loss == pytest.approx(float(expected.detach()), rel=1e-5, abs=1e-6)
    assert fast.keys() == slow.keys()
    assert any(float(gradient.norm()) > 1e-3 for gradient in fast.values())
    for name in fast:
        torch.testing.assert_close(fast[name], slow[name], rtol=1e-3, atol=1e-5, msg=name)


def dora_output(module: Any, x: Any) -> Any:
    """The output of a DoRA layer by equation 5 of Liu et al. 2024, on the unpacked weight."""
    import torch
    from bitsandbytes.functional import dequantize_4bit

    weight = module.base_layer.weight
    dense = dequantize_4bit(weight, weight.quant_state).to(x.dtype)
    product = module.lora_B["default"].weight @ module.lora_A["default"].weight
    changed = dense + module.scaling["default"] * product
    magnitude = module.lora_magnitude_vector["default"].weight
    # The norm is taken for a constant in the backward pass (section 4.3).
    norms = torch.linalg.norm(changed, dim=1).detach()
    return x @ (changed * (magnitude / norms)[:, None]).t()


def test_dora_on_nf4_is_that_of_its_paper(wide_model: Path) -> None:
    import torch
    from peft.tuners.lora.layer import LoraLayer

    from ftsdk.backends.local.training.batches import PackedBatch

    adapter = {"quantize": "nf4", "use_dora": True, "dropout": 0.0}
    model, _ = load(wide_model, adapter=adapter)
    rows = rendered([19, 7, 12], model.network.config.vocab_size)
    batch = PackedBatch.of(rows, torch.device("cpu"))
    untrained = model.loss_sum(batch)
    base, _ = load(wide_model, adapter={"quantize": "nf4", "dropout": 0.0})
    torch.testing.assert_close(untrained, base.loss_sum(batch), rtol=1e-5, atol=1e-5)

    randomize_adapters(model.owner)
    layers = [m for m in model.owner.modules() if isinstance(m, LoraLayer)]
    assert len(layers) == 7
    for layer in layers:
        layer.lora_magnitude_vector["default"].weight.data.mul_(1.1)
    model.loss_sum(batch).backward()
    fast = gradients(model.owner)
    assert any("magnitude" in name and float(g.norm()) > 1e-3 for name, g in fast.items())
    for layer in layers:
        layer.forward = lambda x, layer=layer: dora_output(layer, x)
    model.network.set_attn_implementation("eager")
    reference = padded_reference(model.network, rows)
    reference.backward()
    slow = gradients(model.owner)
    assert fast.keys() == slow.keys()
    for name in fast:
        assert float((fast[name] - slow[name]).norm()) < 1e-4 * float(slow[name].norm()), name


def test_a_dora_run_on_nf4_is_loaded_by_plain_peft(
    wide_model: Path, train: Any, tmp_path: Path
) -> None:
    import torch
    from peft import PeftModel

    from ftsdk.backends.local.compute.base_model import load_base
    from ftsdk.backends.local.compute.hardware import choose_hardware
    from ftsdk.backends.local.runs.run_dir import RunDir

    rows = tiny.rows(12)
    spec = tiny.spec(
        wide_model,
        adapter={"quantize": "nf4", "use_dora": True, "dropout": 0.0},
        hyperparameters={"max_steps": 4},
        options={"dtype": "float32"},
    )
    run = RunDir.create(tmp_path / "run", spec, train=rows, validation=rows[:4])
    assert train(run.path) == 0, run.log_tail()
    said = [e["validation_loss"] for e in run.read_events() if "validation_loss" in e]
    assert said[-1] < said[0]
    network = load_base(wide_model, choose_hardware("cpu", "float32", 1), "nf4")
    owner = PeftModel.from_pretrained(network, str(run.result_path))
    from ftsdk.backends.local.training.encode_rows import load_rows
    from ftsdk.dataset.tokenize.chat_template import ChatTokenizer

    tokenizer = ChatTokenizer.from_folder(run.result_path)
    encoded = load_rows(run.path / "validation.jsonl", tokenizer, max_length=128, truncate=False)
    with torch.no_grad():
        loss = padded_reference(owner, encoded) / sum(row.trained_count for row in encoded)
    assert float(loss) == pytest.approx(said[-1], rel=1e-3)
