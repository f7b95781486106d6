"""The bound of memory that needs no simulation: below it nothing is simulated, and it is never low."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs the extra `local`")

from ftsdk.backends.local.training.footprint import bound  # after the skip
from ftsdk.backends.local.training.footprint.asked import Asked

SIZES = {
    "hidden_size": 512,
    "intermediate_size": 1536,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model of 10 million weights in bf16, by its files."""
    (tmp_path / "config.json").write_text(json.dumps(SIZES))
    (tmp_path / "model.safetensors").write_bytes(bytes(20_000_000))
    return tmp_path


def fits(folder: Path, **changes: Any) -> bool:
    place = {"device": changes.pop("device", "cpu"), "adapter": changes.pop("adapter", True)}
    asked: dict[str, Any] = {"longest": 1024, "rows": 8, **changes}
    return bound.plainly_fits_here(folder, Asked(**asked), **place)


def test_a_small_model_plainly_fits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bound, "least_room", lambda: 22 * 10**9)
    assert fits(folder)
    assert fits(folder, adapter=False)
    assert not fits(folder, tokens=1_000_000, rows=1000)
    assert fits(folder, tokens=1_000_000, longest=20)  # 160 tokens at once
    assert not fits(folder, longest=60_000)
    assert not fits(folder, data_tokens=3 * 10**9)
    assert not fits(folder, method="kto", untrained=60_000)
    assert not fits(folder, device="cuda")
    monkeypatch.setattr(bound, "least_room", lambda: 10**9)
    assert not fits(folder)


def test_what_the_config_does_not_say_is_not_plain(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bound, "least_room", lambda: 22 * 10**9)
    (folder / "config.json").write_text(json.dumps({"hidden_size": 512}))
    assert not fits(folder)
    (folder / "config.json").write_text(json.dumps({"text_config": SIZES}))
    assert fits(folder)
    (folder / "config.json").write_text("[")
    assert not fits(folder)


PAIRS: dict[str, Any] = {"method": "dpo", "example": 2048, "untrained": 1024}


@pytest.mark.parametrize(
    ("adapter", "what"),
    [(True, {}), (False, {}), (True, PAIRS), (True, {"kernels": "compiled"})],
    ids=["lora", "full", "dpo", "compiled"],
)
def test_the_bound_is_above_the_simulation(
    adapter: bool, what: dict[str, Any], tmp_path: Path
) -> None:
    import torch
    from transformers import AutoConfig

    from ftsdk.backends.local.training.footprint.planner import Room
    from ftsdk.backends.local.training.footprint.program import plan_memory
    from ftsdk.types.spec import LoRA

    config = AutoConfig.for_model("llama", vocab_size=49152, num_key_value_heads=4, **SIZES)
    asked = Asked(1024, 8, **what)
    plan = plan_memory(
        config,
        LoRA() if adapter else None,
        asked,
        torch.float32,
        Room("cpu", "a machine", 60 * 10**9, bound.PROCESS_BYTES),
    )
    assert plan.unknown is None
    weights = 49152 * 512 * 2 + 8 * (2 * 512 * 512 + 2 * 512 * 256 + 3 * 512 * 1536)
    (tmp_path / "model.safetensors").write_bytes(bytes(2 * weights))
    most = bound.most_bytes({**SIZES}, tmp_path, asked, 2048, adapter=adapter, width=4)
    assert most is not None
    assert plan.peak_bytes <= most + bound.PROCESS_BYTES
