"""A saved adapter is the one that was trained: plain peft loads every weight of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftsdk.backends.local.models.resolve import ResolvedModel
from ftsdk.backends.local.runs.run_dir import RunDir
from tests.train import architectures, tiny
from tests.train.plain import facts_of, plain_loss

pytestmark = pytest.mark.filterwarnings(
    # peft looks for the patterns of experts among modules only, and then applies them.
    "ignore:The following (rank|alpha)_pattern keys did not match:RuntimeWarning"
)
EXPERTS = ("mixtral", "qwen3_moe", "olmoe", "deepseek_v3")


def trained(
    name: str, train: Callable[..., int], folder: Path, plant: tuple[Any, ...] = (), **changes: Any
) -> RunDir:
    """Train a tiny model of an architecture, with a planted bug if one is named."""
    model = architectures.write(name, folder / "base")
    settings = {
        "adapter": {"dropout": 0.0},
        "options": {"dtype": "float32"},
        "hyperparameters": {"learning_rate": 2e-2, "max_steps": 6},
        **changes,
    }
    run = RunDir.create(
        folder / "run",
        tiny.spec(model, **settings),
        train=tiny.rows(16),
        validation=tiny.rows(6, seed=1),
    )
    train(run.path, *plant)
    return run


def loss_of(network: Any, run: RunDir) -> float:
    return plain_loss(network, run.result_path, run.path / "validation.jsonl")


@pytest.mark.parametrize("name", EXPERTS)
def test_the_adapter_of_a_mixture_of_experts_has_its_experts(
    name: str, train: Callable[..., int], tmp_path: Path
) -> None:
    import torch
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    run = trained(name, train, tmp_path)
    facts = facts_of(run.result_path)
    base = AutoModelForCausalLM.from_pretrained(run.spec.base_model.path, dtype=torch.float32)
    before = loss_of(base, run)
    loaded = PeftModel.from_pretrained(base, run.result_path)
    weights = get_peft_model_state_dict(loaded)
    saved = load_file(run.result_path / "adapter_model.safetensors")
    assert weights.keys() == saved.keys()
    assert all(torch.equal(weights[key], saved[key]) for key in saved)
    experts = [key for key in saved if ".experts." in key and "lora_B" in key]
    router = [key for key in saved if ".mlp.gate." in key and "lora_B" in key]
    assert experts
    assert router
    assert all(float(saved[key].abs().max()) > 0 for key in [*experts, *router])
    after = loss_of(loaded, run)
    assert after == pytest.approx(facts["validation_loss"], rel=1e-4)
    assert after < before - 0.1
    assert facts["weights"]["adapted"]["summary"].startswith("attention, the router and experts")
    said = [event["message"] for event in run.read_events() if "message" in event]
    assert any("LoRA, rank 4, on attention, the router and experts" in line for line in said)


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_chat_uses_the_experts_of_the_adapter(train: Callable[..., int], tmp_path: Path) -> None:
    import torch

    from ftsdk.backends.local.local_model import LocalModel

    run = trained("qwen3_moe", train, tmp_path)
    loaded = LocalModel.load(run.result_path, device="cpu").network.float()
    facts = facts_of(run.result_path)
    assert loss_of(loaded, run) == pytest.approx(facts["validation_loss"], rel=2e-2)
    with torch.no_grad():
        for name, weight in loaded.named_parameters():
            if ".experts." in name and "lora_B" in name:
                weight.zero_()
    assert loss_of(loaded, run) > facts["validation_loss"] + 0.1


@pytest.mark.parametrize("field", ["target_parameters", "rank_pattern"])
def test_a_config_that_loses_a_setting_fails_before_the_first_step(
    field: str, train: Callable[..., int], tmp_path: Path
) -> None:
    run = trained("qwen3_moe", train, tmp_path, ("forget_in_config", field, "rehearsal"))
    outcome = run.read_state().outcome
    assert outcome is not None
    assert outcome["error"]["kind"] == "adapter_mismatch"
    assert "does not describe the adapter that is trained" in outcome["message"]
    assert ".mlp.experts." in outcome["message"]
    assert outcome["steps"] == 0


def test_a_result_that_loses_weights_fails_by_name(
    train: Callable[..., int], tmp_path: Path
) -> None:
    run = trained("qwen3_moe", train, tmp_path, ("forget_in_config", "target_parameters", "result"))
    outcome = run.read_state().outcome
    assert outcome is not None
    assert outcome["error"]["kind"] == "adapter_mismatch"
    assert "24 weights (model.layers.0.mlp." in outcome["message"]
    assert outcome["message"].endswith(" are lost.")
    assert len([name for name in outcome["error"]["lost"] if ".mlp.experts." in name]) == 16
    assert not run.result_path.exists()
    assert run.checkpoints()


@pytest.mark.parametrize(
    ("plant", "reason"),
    [
        ("halve_in_result", "loaded back, its answers differ by"),
        ("round_saved_weights", "have other values"),
    ],
)
def test_a_result_that_computes_another_thing_fails(
    plant: str, reason: str, train: Callable[..., int], tmp_path: Path
) -> None:
    run = trained("llama", train, tmp_path, (plant,))
    outcome = run.read_state().outcome
    assert outcome is not None
    assert outcome["error"]["kind"] == "adapter_mismatch"
    assert reason in outcome["message"]
    assert not run.result_path.exists()


def test_a_whole_model_that_loses_a_weight_fails(train: Callable[..., int], tmp_path: Path) -> None:
    run = trained("llama", train, tmp_path, ("lose_weight_of_full_model",), adapter=None)
    outcome = run.read_state().outcome
    assert outcome is not None
    assert "not complete: 1 weights (model.layers.0.mlp.up_proj.weight)" in outcome["message"]


def test_a_whole_mixture_of_experts_is_complete(train: Callable[..., int], tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    run = trained("mixtral", train, tmp_path, adapter=None)
    facts = facts_of(run.result_path)
    loaded = AutoModelForCausalLM.from_pretrained(run.result_path, dtype=torch.float32)
    assert loss_of(loaded, run) == pytest.approx(facts["validation_loss"], rel=1e-4)


def test_an_adapter_of_embeddings_is_saved_under_the_names_of_peft(
    train: Callable[..., int], tmp_path: Path
) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    adapter = {"dropout": 0.0, "target_modules": ["embed_tokens", "q_proj"]}
    run = trained("llama", train, tmp_path, adapter=adapter)
    assert run.read_state().phase == "succeeded", run.log_tail()
    facts = facts_of(run.result_path)
    base = AutoModelForCausalLM.from_pretrained(run.spec.base_model.path, dtype=torch.float32)
    loaded = PeftModel.from_pretrained(base, run.result_path)
    assert loss_of(loaded, run) == pytest.approx(facts["validation_loss"], rel=1e-4)


# --- the base model's name ------------------------------------------------------------------------


def resolved(name: str, source: Any, revision: str | None) -> ResolvedModel:
    return ResolvedModel(name, Path("/cache/x"), revision, source, None, "0" * 64, None)


@pytest.mark.parametrize(
    ("model", "loaded_as", "commit"),
    [
        (resolved("org/name@v2", "hub-cache", "a" * 40), "org/name", "a" * 40),
        (resolved("org/name", "hub-cache", "b" * 40), "org/name", "b" * 40),
        (
            resolved("smollm2-135m", "built-in", "gguf-b179c9523d0e"),
            "HuggingFaceTB/SmolLM2-135M-Instruct",
            None,
        ),
        (
            resolved("smollm2-135m", "built-in", "c" * 40),
            "HuggingFaceTB/SmolLM2-135M-Instruct",
            "c" * 40,
        ),
        (resolved("/models/mine", "folder", None), "/models/mine", None),
    ],
)
def test_what_transformers_loads_a_base_by(
    model: ResolvedModel, loaded_as: str, commit: str | None
) -> None:
    assert (model.published_as, model.commit) == (loaded_as, commit)


def test_a_relative_folder_is_named_in_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolved("models/mine", "folder", None).published_as == str(tmp_path / "models/mine")


def test_the_adapter_names_its_base_as_the_hub_does(
    train: Callable[..., int], tmp_path: Path
) -> None:
    names = {"name": "org/tiny@v1", "revision": "a" * 40, "sha256": "b" * 64}
    names |= {"published_as": "org/tiny", "commit": "a" * 40}
    run = trained("llama", train, tmp_path, base_model=names)
    config = json.loads((run.result_path / "adapter_config.json").read_bytes())
    assert config["base_model_name_or_path"] == "org/tiny"
    assert config["revision"] == "a" * 40
    assert config["lora_alpha"] == 8
    assert isinstance(config["lora_alpha"], int)
    facts = facts_of(run.result_path)
    assert facts["base_model"]["sha256"] == "b" * 64


def test_an_adapter_with_a_digest_in_its_config_still_answers(
    train: Callable[..., int], tmp_path: Path
) -> None:
    """Adapters of older versions name the base by a short name, and a digest as its revision."""
    from ftsdk.backends.local.local_model import LocalModel

    run = trained("llama", train, tmp_path)
    older = shutil.copytree(run.result_path, tmp_path / "older")
    path = older / "adapter_config.json"
    config = json.loads(path.read_text())
    names = {"base_model_name_or_path": "smollm2-135m", "revision": "gguf-b179c9523d0e"}
    path.write_text(json.dumps({**config, **names, "lora_alpha": 8.0}))
    question = [{"role": "user", "content": "cat dog"}]
    answers = {
        LocalModel.load(f, device="cpu").chat(question).text for f in (run.result_path, older)
    }
    assert len(answers) == 1
