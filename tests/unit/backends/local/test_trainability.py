"""What a model's config says against training it, also where the training stack is not installed."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from ftsdk.backends.local import trainability as module
from ftsdk.backends.local.models.config_faults import config_faults, quantization_of
from ftsdk.backends.local.trainability import trainability


@pytest.fixture
def without_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    original = importlib.util.find_spec

    def find_spec(name: str) -> Any:
        if name in ("transformers", "safetensors"):  # as if they alone were installed
            return original("json")
        return None if name in ("torch", "peft") else original(name)

    monkeypatch.setattr(module.importlib.util, "find_spec", find_spec)


def folder_with(tmp_path: Path, config: dict[str, Any]) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path


@pytest.mark.usefixtures("without_stack")
def test_without_the_stack_the_config_is_read_and_the_rest_is_unknown(tmp_path: Path) -> None:
    found = trainability(folder_with(tmp_path, {"model_type": "llama"}), None, cache=tmp_path)
    assert found == module.Trainability((), unknown="torch, peft not installed")
    settings = {"quantization_config": {"quant_method": "gptq", "bits": 4}}
    found = trainability(folder_with(tmp_path, settings), None, cache=tmp_path)
    assert [fault.what for fault in found.faults] == [
        "its weights are quantized already (gptq, 4 bits), and such weights cannot be trained"
    ]


@pytest.mark.parametrize(
    ("config", "method"),
    [
        ({}, None),
        ({"quantization_config": None}, None),
        ({"quantization_config": {}}, "an unnamed method"),
        ({"quantization_config": {"quant_method": "awq", "w_bit": 4}}, "awq, 4 bits"),
        ({"quantization_config": {"load_in_8bit": True}}, "bitsandbytes"),
        ({"text_config": {"quantization_config": {"quant_method": "fp8"}}}, "fp8"),
        ({"text_config": {}}, None),
    ],
)
def test_how_weights_are_quantized(config: dict[str, Any], method: str | None) -> None:
    assert quantization_of(config) == method


@pytest.mark.parametrize(("value", "faults"), [(True, 1), (False, 0), (None, 0)])
def test_an_encoder_decoder_config(value: bool | None, faults: int, tmp_path: Path) -> None:
    config = {"model_type": "t5", "is_encoder_decoder": value}
    assert len(config_faults(folder_with(tmp_path, config))) == faults
