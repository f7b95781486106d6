"""The plan of memory offloads the inputs of layers where nothing else fits, and counts what that takes."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest

from tests.train import tiny

LAYERS, WIDTH, TOKENS = 20, 2048, 4096
INPUT = TOKENS * WIDTH * 2
"""Bytes of the input of one layer in bf16."""


@functools.cache
def planner(kind: str, layers: int) -> Any:
    """A planner, which simulates each micro-batch once."""
    from transformers import AutoConfig

    from ftsdk.backends.local.compute.skeleton import build
    from ftsdk.backends.local.training.footprint.planner import Planner, Room

    config = AutoConfig.for_model(
        "llama", vocab_size=2000, hidden_size=WIDTH, intermediate_size=4096, num_hidden_layers=layers,
        num_attention_heads=16, num_key_value_heads=4,
    )  # fmt: skip
    return Planner(lambda: build(config), Room(kind, "a device", 0, 0))


def plan(
    kind: str = "cuda",
    room: int = 60 * 10**9,
    *,
    layers: int = LAYERS,
    beside: int | None = None,
    **asked: Any,
) -> Any:
    import torch

    from ftsdk.backends.local.training.footprint.asked import Asked
    from ftsdk.backends.local.training.footprint.planner import Room
    from ftsdk.backends.local.training.footprint.simulate import Way
    from ftsdk.types.spec import LoRA

    one = planner(kind, layers)
    one._room = Room(kind, "a device", room, 0, None, beside)
    given = Asked(2048, 8, **{"tokens": TOKENS, **asked})
    return one.plan(Way(LoRA(), torch.bfloat16, kind), given, advise=False)


def test_what_the_layers_keep_is_in_the_machine() -> None:
    kept, away = plan(checkpointing=True, offload=False), plan(checkpointing=True, offload=True)
    assert (kept.offload_activations, away.offload_activations) == (False, True)
    assert kept.away_bytes == 0
    assert away.away_bytes == LAYERS * INPUT
    saved = kept.items["activations"] - away.items["activations"]
    assert saved == (LAYERS - 1) * INPUT  # autograd keeps the embeddings, where the graph begins
    assert saved / 2 < kept.peak_bytes - away.peak_bytes < saved
    assert "in the machine's memory" in away.describe()


def test_the_peak_does_not_grow_with_the_layers_but_for_their_weights() -> None:
    """Two inputs are on their way, however many layers there are."""
    found = {}
    for offload in (True, False):
        few, many = (plan(layers=n, checkpointing=True, offload=offload) for n in (4, LAYERS))
        grown = {name: many.items[name] - few.items[name] for name in many.items}
        passing = ("activations", "temporaries of one pass", "kept by the allocator")
        found[offload] = sum(grown.get(name, 0) for name in passing)
    assert found[False] > 0.9 * (LAYERS - 4) * INPUT
    assert found[True] < INPUT


def test_it_is_chosen_where_nothing_else_fits() -> None:
    asked = {"tokens": None}
    least = plan(room=1, offload=False, **asked)
    smallest = plan(room=1, **asked)
    assert not least.fits
    assert smallest.peak_bytes < least.peak_bytes
    between = (least.peak_bytes + smallest.peak_bytes) // 2
    chosen = plan(room=between, **asked)
    assert chosen.fits
    assert chosen.offload_activations
    assert chosen.gradient_checkpointing
    assert not plan(**asked).offload_activations
    assert not plan(room=least.peak_bytes, **asked).offload_activations
    assert not plan(room=between, offload=False, **asked).fits
    assert not plan(room=between, checkpointing=False, **asked).fits
    assert not plan(room=between, beside=chosen.away_bytes - 1, **asked).fits
    assert plan(room=between, beside=chosen.away_bytes, **asked).fits
    assert not plan("cpu", room=1, **asked).offload_activations


def test_what_was_decided_is_kept_for_a_resumed_run(tmp_path: Path) -> None:
    from ftsdk.backends.local.compute.hardware import choose_hardware
    from ftsdk.backends.local.runs.run_dir import RunDir
    from ftsdk.backends.local.training.footprint.asked import Asked
    from ftsdk.backends.local.training.footprint.settle import keep_tokens, settle

    spec = tiny.spec(tmp_path)
    run = RunDir.create(tmp_path / "run", spec, train=tiny.rows(2))
    decided = {"tokens": 99, "checkpointing": True, "offload": True, "lean": False}
    (run.path / "memory.json").write_text(json.dumps(decided))

    def settled() -> Any:
        hardware = choose_hardware("cpu", "float32", 1)
        return settle(run.path, spec, hardware, Asked(10, 4)).options

    assert settled().offload_activations is True
    keep_tokens(run.path, spec.options, 50)
    assert (settled().micro_batch_tokens, settled().offload_activations) == (50, True)
    del decided["offload"]  # as an older version wrote it
    (run.path / "memory.json").write_text(json.dumps(decided))
    assert settled().offload_activations is None


def test_nothing_is_offloaded_where_processes_divide_the_weights() -> None:
    from ftsdk.backends.local.options import RunHyperparameters, RunOptions
    from ftsdk.backends.local.training.footprint.asked import Asked
    from ftsdk.dataset.findings.token_summary import RowLengths

    options = RunOptions(sharding="fsdp")
    asked = Asked.of("sft", RunHyperparameters(), options, RowLengths(2, 20, 10, 10))
    assert asked.offload is False


@pytest.mark.parametrize("given", [True, False, None])
def test_a_job_asks_for_what_its_options_say(given: bool | None) -> None:
    from ftsdk.backends.local.options import RunHyperparameters, RunOptions
    from ftsdk.backends.local.training.footprint.asked import Asked
    from ftsdk.dataset.findings.token_summary import RowLengths

    options = RunOptions(offload_activations=given)
    asked = Asked.of("sft", RunHyperparameters(), options, RowLengths(2, 20, 10, 10))
    assert (asked.offload, asked.checkpointing) == (given, True if given else None)
