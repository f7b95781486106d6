"""The memory of one of several processes that divide the weights, and when the planner chooses that."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import pytest

from ftsdk.backends.local.device_options import sharding_of
from ftsdk.backends.local.options import RunOptions
from ftsdk.backends.local.training.footprint.asked import Asked
from ftsdk.types.spec import LoRA


@functools.cache
def bounds() -> tuple[int, int]:
    """The least that a process takes with all weights, and with its share of them."""
    ways: tuple[Asked, Asked] = replace(ASKED, sharding="ddp"), replace(ASKED, sharding="fsdp")
    least, divided = (plan(way, 1).peak_bytes for way in ways)
    return least, divided


def plan(asked: Asked, room_bytes: int = 1 << 40, adapter: LoRA | None = None) -> Any:
    import torch
    from transformers import LlamaConfig

    from ftsdk.backends.local.training.footprint.planner import Room
    from ftsdk.backends.local.training.footprint.program import plan_memory

    config = LlamaConfig(
        vocab_size=2000,
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=6,
        num_attention_heads=4,
        tie_word_embeddings=True,
    )
    room = Room("cuda", "a card", room_bytes, 0)
    return plan_memory(config, adapter, asked, torch.bfloat16, room, advise=False)


ASKED = Asked(64, 4, processes=4)


def test_each_process_has_its_share_of_what_is_trained() -> None:
    alone, shared = plan(ASKED), plan(replace(ASKED, sharding="fsdp"))
    for name in ("trained weights", "gradients and AdamW"):
        assert shared.items[name] == -(-alone.items[name] // 4)
    assert shared.items["activations"] == alone.items["activations"]
    weights = alone.items["trained weights"]
    assert 0 < shared.items["weights gathered to compute"] < 2 * weights
    assert "weights divided over 4 processes" in shared.describe()
    assert alone.sharding == "ddp"


def test_the_base_of_an_adapter_is_divided_too() -> None:
    alone = plan(ASKED, adapter=LoRA())
    shared = plan(replace(ASKED, sharding="fsdp"), adapter=LoRA())
    assert shared.items["layers in bf16"] == -(-alone.items["layers in bf16"] // 4)


@pytest.mark.parametrize(
    ("asked", "fits", "sharding"),
    [
        (ASKED, True, "fsdp"),
        (replace(ASKED, sharding="ddp"), False, "ddp"),
        (replace(ASKED, processes=1, sharding="fsdp"), False, "ddp"),
    ],
    ids=["left open", "asked for", "one process"],
)
def test_weights_are_divided_where_they_do_not_fit(asked: Asked, fits: bool, sharding: str) -> None:
    least, divided = bounds()
    assert divided < 0.6 * least
    found = plan(asked, (least + divided) // 2)
    assert (found.fits, found.sharding) == (fits, sharding)


def test_the_planner_does_not_choose_what_cannot_be_divided() -> None:
    assert sharding_of(RunOptions(), LoRA()) is None
    assert sharding_of(RunOptions(), LoRA(quantize="nf4")) == "ddp"
    assert sharding_of(RunOptions(optimizer="adamw_8bit"), None) == "ddp"
    assert sharding_of(RunOptions(sharding="fsdp"), None) == "fsdp"
