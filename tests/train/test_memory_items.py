"""What a plan of memory counts: the run that is trained, and not always one supervised pass."""

from __future__ import annotations

import functools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

CONFIG = {
    "model_type": "llama", "vocab_size": 8000, "num_key_value_heads": 2, "hidden_size": 256,
    "intermediate_size": 768, "num_hidden_layers": 4, "num_attention_heads": 4,
    "tie_word_embeddings": False,
}  # fmt: skip
TOKENS, LONGEST = 1024, 512


@functools.cache
def _plan(kind: str, asked: str, adapter: str, room: tuple[int, int | None]) -> Any:
    import json

    import torch
    from pydantic import TypeAdapter
    from transformers import AutoConfig

    from ftsdk.backends.local.training.footprint.asked import Asked
    from ftsdk.backends.local.training.footprint.planner import Room
    from ftsdk.backends.local.training.footprint.program import plan_memory
    from ftsdk.types.spec import LoRA

    given = {"longest": LONGEST, "rows": 8, "tokens": TOKENS, **json.loads(asked)}
    lora = None if adapter == "null" else LoRA.model_validate_json(adapter)
    return plan_memory(
        AutoConfig.for_model(**CONFIG),
        lora,
        TypeAdapter(Asked).validate_python(given),
        torch.bfloat16,
        Room(kind, "a device", room[0], 0, room[1]),
        advise=False,
    )


def plan(
    kind: str = "cuda",
    adapter: dict[str, Any] | None = {},  # noqa: B006  # never changed
    room: int = 60 * 10**9,
    free: int | None = None,
    **asked: Any,
) -> Any:
    import json

    lora = "null" if adapter is None else json.dumps(adapter)
    found = _plan(kind, json.dumps(asked), lora, (room, free))
    assert found.unknown is None, found.unknown
    return found


# --- methods ----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["dpo", "orpo"])
def test_a_pair_is_two_sequences(method: str) -> None:
    row = plan(tokens=LONGEST)
    pair = plan(tokens=LONGEST, method=method, example=2 * LONGEST)
    assert pair.tokens_at_once == 2 * LONGEST  # a pair is not divided
    assert pair.items["activations"] == pytest.approx(2 * row.items["activations"], rel=0.03)


def test_losses_of_whole_answers_take_more_than_one_of_tokens() -> None:
    # The gradient of a loss of whole answers is known only after all logits.
    row, pair = plan("cpu"), plan("cpu", method="kto")
    assert pair.items["temporaries of one pass"] > 1.1 * row.items["temporaries of one pass"]


def test_the_untrained_model_sees_sequences_that_are_longer_than_those_trained() -> None:
    short = {"longest": 64, "tokens": 64, "method": "kto", "checkpointing": True}
    alone = plan(**short)
    found = plan(**short, untrained=8192)
    more = found.items["more for the untrained model"]
    assert more > 8192 * 256 * 2  # at least one hidden state of each token
    assert found.peak_bytes == alone.peak_bytes + more
    assert "more for the untrained model" not in plan(method="dpo", untrained=LONGEST).items


# --- what is trained besides a plain adapter ------------------------------------------------------


def test_variants_of_adapters_are_counted() -> None:
    plain = plan()
    assert plan(adapter={"use_dora": True}).items["activations"] > 1.2 * plain.items["activations"]
    four = plan(adapter={"use_dora": True, "quantize": "nf4"})
    assert four.items["activations"] > 1.2 * plain.items["activations"]
    whole = plan(adapter={"modules_to_save": ["lm_head"]})
    assert whole.items["adapter"] == plain.items["adapter"] + 8000 * 256 * 2
    logits = TOKENS * 8000 * 4
    assert whole.items["temporaries of one pass"] > logits  # its own code computes all at once


def test_new_tokens_make_the_embedding_and_the_head_larger() -> None:
    plain = plan(adapter=None)
    rows = {"known": [5], "new": list(range(8000, 8100))}
    grown = plan(adapter=None, token_ids=rows)
    assert grown.items["trained weights"] == plain.items["trained weights"] + 2 * 100 * 256 * 2
    trained = plan(token_ids=rows)
    assert trained.items["adapter"] == plan().items["adapter"] + (101 + 100) * 256 * 2


def test_noise_takes_what_it_adds() -> None:
    import torch

    from ftsdk.backends.local.training.footprint.allocators import live_peak
    from ftsdk.backends.local.training.footprint.trace import Trace
    from ftsdk.backends.local.training.footprint.without_numbers import put_noise

    with torch.device("meta"):
        embedding = torch.nn.Embedding(10, 64)
        ids = torch.zeros(1, 100, dtype=torch.long)
    put_noise(SimpleNamespace(get_input_embeddings=lambda: embedding))
    with Trace([embedding.weight, ids]) as trace:
        out = embedding(ids)
    assert out.shape == (1, 100, 64)
    one = 100 * 64 * 4
    assert 3 * one < live_peak(trace.events) < 5 * one


def test_compiled_kernels_pass_less_and_the_compiler_takes_its_own() -> None:
    plain, compiled = plan("cpu", kernels="plain"), plan("cpu", kernels="compiled")
    assert compiled.items["activations"] <= plain.items["activations"]
    passing = "temporaries of one pass"
    assert compiled.items[passing] < 0.7 * plain.items[passing]
    assert compiled.items["compiler"] > 100 << 20
    assert "compiler" not in plain.items
    # `auto` may compile or not, so the larger of both counts
    short, long = plan("cpu", kernels="auto"), plan("cpu", kernels="auto", step_tokens=10**9)
    assert "compiler" not in short.items
    assert long.items["activations"] == plain.items["activations"]
    assert long.items["compiler"] == compiled.items["compiler"]


def test_a_plan_with_compiled_kernels_leaves_the_architecture_as_it_was() -> None:
    """The trainer plans in its own process: a model loaded after that must compute numbers."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.models.llama import modeling_llama

    torch.manual_seed(0)
    network = AutoModelForCausalLM.from_config(AutoConfig.for_model(**CONFIG)).eval()
    ids = torch.arange(20)[None]
    before, rotary = network(input_ids=ids).logits, modeling_llama.apply_rotary_pos_emb
    _plan.cache_clear()
    plan("cpu", kernels="compiled")
    assert modeling_llama.apply_rotary_pos_emb is rotary
    assert torch.equal(network(input_ids=ids).logits, before)


def test_averages_in_8_bits_take_less() -> None:
    whole, small = plan(adapter=None), plan(adapter=None, optimizer="adamw_8bit")
    weights = whole.items["trained weights"] // 2
    saved = whole.items["gradients and AdamW"] - small.items["gradients and AdamW"]
    assert saved == pytest.approx(weights * (8 - 2.03), rel=0.01)


def test_rows_in_memory_and_the_result_that_is_loaded_back_are_counted() -> None:
    alone, with_rows = plan("cpu"), plan("cpu", data_tokens=10**9)
    assert with_rows.items["rows of the dataset"] == 8 * 10**9
    assert "rows of the dataset" not in alone.items
    few = {"tokens": 16, "longest": 16, "checkpointing": True}
    saved = plan(adapter={"rank": 256}, **few)
    assert saved.items["more for saving"] > 0


def test_logits_that_a_model_scales_exist_all_at_once() -> None:
    import torch
    from transformers import AutoConfig

    from ftsdk.backends.local.training.footprint.asked import Asked
    from ftsdk.backends.local.training.footprint.planner import Room
    from ftsdk.backends.local.training.footprint.program import plan_memory
    from ftsdk.types.spec import LoRA

    found = {}
    for kind, more in (("llama", {}), ("granite", {"logits_scaling": 2.0})):
        config = AutoConfig.for_model(
            **{**CONFIG, "model_type": kind, "vocab_size": 50_000}, **more
        )
        room = Room("cpu", "a machine", 60 * 10**9, 0)
        made = plan_memory(config, LoRA(), Asked(LONGEST, 8, TOKENS), torch.bfloat16, room)
        assert made.unknown is None, made.unknown
        found[kind] = made.items["temporaries of one pass"]
    assert found["granite"] > 1.9 * TOKENS * 50_000 * 4
    assert found["llama"] < found["granite"]


# --- what is free -----------------------------------------------------------------------------


def test_what_is_free_now_decides_where_less_than_all_is() -> None:
    whole = plan("cpu", tokens=None)
    assert not whole.gradient_checkpointing
    assert not whole.lean
    least = plan("cpu", tokens=None, room=1)
    assert not least.fits
    free = (whole.peak_bytes + least.peak_bytes) // 2
    smaller = plan("cpu", tokens=None, free=free)
    assert smaller.fits
    assert smaller.peak_bytes <= free < whole.peak_bytes
    assert "free now" in smaller.why
    assert smaller.fits_now
    assert smaller.warning() is None
    assert f"{free / 1e6:.0f} MB free now" in smaller.describe()


def test_a_run_that_fits_when_others_end_is_not_refused() -> None:
    asked = {"tokens": None, "checkpointing": True}
    least = plan("cpu", room=1, **asked)
    found = plan("cpu", free=least.peak_bytes // 2, **asked)
    assert found.fits
    assert not found.fits_now
    assert found.peak_bytes == least.peak_bytes
    warning = found.warning()
    assert "close other programs" in warning
    assert f"{least.peak_bytes // 2 / 1e6:.0f} MB of 60.0 GB are free" in warning
    assert not least.fits
    assert least.warning() is None


SMI = """#!/bin/sh
echo '0, GPU-aaaa-1, 11000'
echo '1, GPU-bbbb-2, 22000'
"""


def test_the_driver_says_what_is_free_on_the_card_that_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ftsdk.backends.local.training.footprint.card_memory import free_on_card

    tool = tmp_path / "nvidia-smi"
    tool.write_text(SMI)
    tool.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert free_on_card("auto") == 11000 << 20
    assert free_on_card("cuda:1") == 22000 << 20
    assert free_on_card("cuda:2") is None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert free_on_card("cuda") == 22000 << 20
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-bb,0")
    assert free_on_card("cuda:0") == 22000 << 20
    assert free_on_card("cuda:1") == 11000 << 20
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert free_on_card("cuda") is None
    tool.write_text("#!/bin/sh\necho 'no devices were found'\nexit 6\n")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert free_on_card("cuda") is None
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    assert free_on_card("cuda") is None


# --- many questions ---------------------------------------------------------------------------


@pytest.mark.own_process
def test_one_process_of_the_stack_plans_several_models_and_the_answers_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ftsdk.backends.local import memory
    from ftsdk.types.spec import LoRA

    configs = [{**CONFIG, "num_hidden_layers": 1}, {"model_type": "none such"}, CONFIG]
    questions = [
        memory.on_card(LoRA(), 24 * 10**9, longest=64, rows=1, config=config) for config in configs
    ]
    small, unknown, larger = memory.memories(questions, tmp_path / "cache")
    assert small.fits
    assert 0 < small.peak_bytes < larger.peak_bytes
    assert unknown.unknown is not None
    assert "none such" in unknown.unknown
    asked = []
    monkeypatch.setattr(memory, "ask_many", lambda _, open_: asked.append(list(open_)) or iter(()))
    again = list(memory.memories(questions, tmp_path / "cache"))
    assert again == [small, unknown, larger]
    assert asked == [[]]


def test_the_speed_of_matrix_products_is_measured_for_a_plan_of_this_machine() -> None:
    import torch

    from ftsdk.backends.local.training.footprint.program import answer

    threads = torch.get_num_threads()
    question = {
        "folder": None, "config": CONFIG, "device": "cpu", "dtype": "float32", "adapter": None,
        "card_bytes": None, "asked": {"longest": 64, "rows": 1}, "advise": False,
    }  # fmt: skip
    found = answer(question)
    assert 1e9 < found["matrix_rate"] < 1e15
    assert (
        found["parameters"]
        == 2 * 8000 * 256 + 4 * (256 * (2 * 256 + 2 * 128) + 3 * 256 * 768) + 9 * 256
    )
    assert torch.get_num_threads() == threads
    shared = answer({**question, "asked": {"longest": 64, "rows": 1, "processes": 4}})
    assert shared["room_bytes"] == found["room_bytes"] // 4
    assert answer({**question, "card_bytes": 10**10})["matrix_rate"] is None
