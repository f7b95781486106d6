"""Answers come from the base as it was in training: packed for QLoRA, plain for LoRA."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.train import tiny

WIDE = {"hidden_size": 128, "intermediate_size": 256}


def result_of(folder: Path, model: Path, quantize: str | None) -> Path:
    """A result folder with an adapter that changes nothing yet."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_pretrained(model)
    config = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "down_proj"])
    get_peft_model(network, config).save_pretrained(str(folder))
    facts = {"base_model": {"path": str(model), "name": "tiny"}, "adapter": {"quantize": quantize}}
    (folder / "ftsdk.json").write_text(json.dumps(facts))
    return folder


def packed_layers(model: Any) -> int:
    kinds = [type(module).__module__ for module in model.network.modules()]
    return sum(kind.startswith("bitsandbytes.") for kind in kinds)


def test_a_result_and_its_base_are_packed_as_in_training(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    from ftsdk.backends.local.inference import forget_models, load_base_of, load_model

    base = tiny.write_model(tmp_path / "model", **WIDE)
    packed = result_of(tmp_path / "packed", base, "nf4")
    plain = result_of(tmp_path / "plain", base, None)
    try:
        assert packed_layers(load_model(packed)) == 14
        assert packed_layers(load_base_of(packed)) == 14
        assert packed_layers(load_model(plain)) == 0
        assert packed_layers(load_base_of(plain)) == 0
        messages = [{"role": "user", "content": "red cat"}]
        answers = [
            model.chat(messages, max_tokens=4).text
            for model in (load_model(packed), load_base_of(packed))
        ]
        assert answers[0] == answers[1]  # the adapter changes nothing yet
    finally:
        forget_models()
