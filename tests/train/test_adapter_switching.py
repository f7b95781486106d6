"""A model with fused adapters still does what peft's switches say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


def owner_of(folder: Path, *, fused: bool) -> Any:
    """The model with two adapters of random weights, the first fused or not."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from ftsdk.backends.local.compute.fused_lora import fuse_adapters

    torch.manual_seed(1)  # of the adapters' first matrices
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    config = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    owner = get_peft_model(network, config)
    if fused:
        assert fuse_adapters(owner) > 0
    owner.add_adapter("other", config)
    torch.manual_seed(2)
    with torch.no_grad():
        for name, parameter in owner.named_parameters():
            if ".lora_B." in name:
                parameter.copy_(0.1 * torch.randn_like(parameter))
    return owner.eval()


def logits(owner: Any, **named: Any) -> Any:
    import torch

    ids = torch.arange(3, 27).reshape(2, 12)
    with torch.no_grad():
        return owner(input_ids=ids, **named).logits


@pytest.mark.parametrize("how", ["default", "other", "both", "disabled", "merged", "by row"])
def test_a_fused_model_follows_the_switches(how: str, tiny_model: Path) -> None:
    import torch

    plain, fused = owner_of(tiny_model, fused=False), owner_of(tiny_model, fused=True)
    before = logits(fused)
    found = []
    for owner in (plain, fused):
        if how in ("default", "other"):
            owner.set_adapter(how)
        elif how == "both":
            owner.base_model.set_adapter(["default", "other"])
        elif how == "merged":
            owner.merge_adapter()
        if how == "disabled":
            with owner.disable_adapter():
                found.append(logits(owner))
        elif how == "by row":
            found.append(logits(owner, adapter_names=["default", "other"]))
        else:
            found.append(logits(owner))
    assert torch.allclose(found[0], found[1], atol=1e-4)
    if how not in ("default", "merged"):
        assert not torch.allclose(found[1], before, atol=1e-2), "the switch changed nothing"
