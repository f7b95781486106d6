"""Which programs and providers take which adapters, by the settings that decide it."""

from __future__ import annotations

from typing import Any

import pytest

from ftsdk.artifacts.portability import (
    ModelFacts,
    adapter_warning,
    check_portability,
    folded_alpha,
    vllm_rank,
)
from ftsdk.types.portability import Portability
from ftsdk.types.spec import LoRA


def verdict(target: str, form: str, **facts: Any) -> Portability:
    given = {"model_type": "llama", "hub_id": "someone/model", "rank": 16, "alpha": 32.0, **facts}
    found = check_portability(ModelFacts(**given), [target])
    return next(one for one in found if one.form == form)


def test_a_plain_lora_is_taken_everywhere_as_an_adapter() -> None:
    facts = ModelFacts(model_type="llama", hub_id="someone/model", rank=16, alpha=32.0)
    assert all(one.ok for one in check_portability(facts))
    assert adapter_warning(facts) is None


@pytest.mark.parametrize(
    ("target", "facts", "words"),
    [
        ("vllm", {"use_dora": True}, "DoRA"),
        ("vllm", {"rank": 513}, "rank 513"),
        ("vllm", {"modules_to_save": ("lm_head",)}, "lm_head"),
        ("vllm", {"added_tokens": ("<x>",)}, "<x>"),
        ("sglang", {"use_rslora": True}, "use_rslora"),
        ("sglang", {"patterns": True}, "rank_pattern"),
        ("llama.cpp", {"use_dora": True}, "DoRA"),
        ("llama.cpp", {"model_type": "gemma2"}, "gemma2"),
        ("llama.cpp", {"token_rows": True}, "rows of the embedding"),
        ("fireworks", {"rank": 2}, "4 to 64"),
        ("fireworks", {"rank": 65}, "4 to 64"),
        ("fireworks", {"targets": ("q_proj", "in_proj")}, "in_proj"),
        ("fireworks", {"use_rslora": True}, "use_rslora"),
        ("together", {"modules_to_save": ("lm_head",)}, "lm_head"),
        ("hub", {"hub_id": None}, "folder"),
    ],
)
def test_what_a_target_refuses_or_reads_wrongly_is_named(
    target: str, facts: dict[str, Any], words: str
) -> None:
    found = verdict(target, "adapter", **facts)
    assert not found.ok
    assert words in str(found.problems[0])


def test_limits_themselves_are_taken() -> None:
    assert verdict("vllm", "adapter", rank=512).ok
    assert verdict("fireworks", "adapter", rank=4).ok
    assert verdict("fireworks", "adapter", rank=64).ok


def test_a_merged_model_has_no_fault_of_its_adapter() -> None:
    for target in ("vllm", "sglang", "llama.cpp", "ollama", "fireworks", "bedrock", "hub"):
        assert verdict(target, "merged", use_dora=True, modules_to_save=("lm_head",)).ok


def test_a_model_without_an_adapter_has_only_the_merged_form() -> None:
    found = check_portability(ModelFacts(model_type="qwen3"))
    assert {one.form for one in found} == {"merged"}


def test_a_plan_warns_by_the_settings_of_the_job() -> None:
    warning = adapter_warning(ModelFacts.of_lora(LoRA(use_dora=True)))
    assert warning is not None
    assert "vllm and sglang" in warning
    assert "DoRA" in warning
    assert adapter_warning(ModelFacts.of_lora(LoRA())) is None


def test_a_config_and_a_job_give_the_same_facts() -> None:
    adapter = LoRA(rank=8, alpha=16, target_modules=("q_proj",), use_rslora=True)
    config = {"r": 8, "lora_alpha": 16, "target_modules": ["q_proj"], "use_rslora": True}
    assert ModelFacts.of_lora(adapter) == ModelFacts.of_config(config)


def test_vllm_is_started_with_the_next_rank_that_it_has() -> None:
    assert [vllm_rank(rank) for rank in (1, 2, 16, 17, 100, 512)] == [1, 8, 16, 32, 128, 512]


def test_the_folded_alpha_scales_as_rslora_does() -> None:
    rank, alpha = 16, 32.0
    assert folded_alpha(rank, alpha) / rank == pytest.approx(alpha / rank**0.5)
