"""rsLoRA, DoRA, layers trained whole, and tokens: as plain peft computes, saves and loads them."""

from __future__ import annotations

import hashlib
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ftsdk
from ftsdk.backends.local.models.tokenizer_files import TokenIds, changed_tokenizer, token_ids
from ftsdk.backends.local.runs.run_dir import RunDir
from tests.train import tiny
from tests.train.plain import facts_of, plain_loss
from tests.train.test_numbers import gradients, padded_reference, rendered

Train = Callable[..., int]
NEW = "<|call|>"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """A model with tied embeddings, and one with an output head of its own."""
    folder = tmp_path_factory.mktemp("variants")
    return {
        tied: tiny.write_model(folder / f"tied-{tied}", tie_word_embeddings=tied)
        for tied in (True, False)
    }


VARIANTS: dict[str, dict[str, Any]] = {
    "rslora": {"adapter": {"use_rslora": True}},
    "dora": {"adapter": {"use_dora": True}},
    "dora and rslora": {"adapter": {"use_dora": True, "use_rslora": True}},
    "head": {"tied": False, "adapter": {"modules_to_save": ["lm_head"]}},
    "norms": {"adapter": {"modules_to_save": ["norm"]}},
    "tokens, tied": {"tokens": TokenIds(known=(5, 9))},
    "tokens, untied": {"tied": False, "tokens": TokenIds(known=(5, 9))},
    "new tokens, tied": {
        "tokens": TokenIds(new=(313, 314)),
        "config": {"embed_tokens": [313, 314]},
    },
    "new tokens, untied": {
        "tied": False,
        "tokens": TokenIds(new=(313, 314)),
        "config": {"embed_tokens": [313, 314], "lm_head": [313, 314]},
    },
}


@pytest.mark.parametrize("name", VARIANTS)
def test_gradients_are_those_of_plain_peft(name: str, models: dict[bool, Path]) -> None:
    """In float32, with peft's own classes put on the model by hand, and rows padded."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from ftsdk.backends.local.compute.hardware import choose_hardware
    from ftsdk.backends.local.training.batches import PackedBatch
    from ftsdk.backends.local.training.model import load_for_training

    case = VARIANTS[name]
    folder, tokens = models[case.get("tied", True)], case.get("tokens", TokenIds())
    adapter = {"dropout": 0.0, **case.get("adapter", {})}
    spec = tiny.spec(folder, adapter=adapter, options={"dtype": "float32"})
    model = load_for_training(spec, choose_hardware("cpu", "float32", 1), tokens=tokens)
    torch.manual_seed(1)
    for weight in model.owner.parameters():
        if weight.requires_grad:
            weight.data += 0.05 * torch.randn_like(weight)

    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    if tokens.rows:
        plain.resize_token_embeddings(tokens.rows)
    indices = case.get("config") or list(tokens.known) or None
    given = dict(case.get("adapter", {}))
    config = LoraConfig(
        task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules="all-linear",
        trainable_token_indices=indices, **given,
    )  # fmt: skip
    peer = get_peft_model(plain, config)
    ours = dict(model.owner.named_parameters())
    theirs = {n: p for n, p in peer.named_parameters() if p.requires_grad}
    assert theirs.keys() == {n for n, p in ours.items() if p.requires_grad}
    for key, weight in theirs.items():
        weight.data.copy_(ours[key].data)

    rows = rendered([31, 7, 18], tokens.rows or model.network.config.vocab_size)
    for token in (*tokens.known, *tokens.new):  # each is read, and each is predicted
        rows[0].ids[12 + token % 11] = token
    loss = model.loss_sum(PackedBatch.of(rows, torch.device("cpu")))
    loss.backward()
    reference = padded_reference(peer, rows)
    reference.backward()
    torch.testing.assert_close(loss, reference, rtol=1e-5, atol=1e-4)
    found, expected = gradients(model.owner), gradients(peer)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-3, atol=1e-4, msg=key)
        assert float(value.abs().max()) > 0, key


def make(path: Path, model: Path, **changes: Any) -> RunDir:
    settings = {
        "hyperparameters": {"learning_rate": 2e-2, "max_steps": 6},
        **changes,
        "options": {"dtype": "float32", "checkpoint_every_steps": 2, **changes.get("options", {})},
    }
    rows = tiny.rows(16)
    for row in rows[::2]:
        row["messages"][1]["content"] += f" {NEW}"
    return RunDir.create(path, tiny.spec(model, **settings), train=rows, validation=rows[:6])


def loss_by_plain_peft(run: RunDir, *, rows: int = 0) -> float:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(run.spec.base_model.path, dtype=torch.float32)
    if rows:
        base.resize_token_embeddings(rows)
    loaded = PeftModel.from_pretrained(base, run.result_path)
    return plain_loss(loaded, run.result_path, run.path / "validation.jsonl")


def test_a_dora_with_tokens_is_loaded_by_plain_peft(
    models: dict[bool, Path], train: Train, tmp_path: Path
) -> None:
    adapter = {"use_dora": True, "use_rslora": True, "trainable_token_indices": ["<|im_end|>", 40]}
    run = make(tmp_path / "run", models[True], adapter=adapter)
    assert train(run.path) == 0, run.log_tail()
    facts = facts_of(run.result_path)
    assert loss_by_plain_peft(run) == pytest.approx(facts["validation_loss"], rel=1e-4)
    config = json.loads((run.result_path / "adapter_config.json").read_bytes())
    assert (config["use_dora"], config["use_rslora"]) == (True, True)
    assert config["trainable_token_indices"] == {"model.embed_tokens": [2, 40]}
    said = [event["message"] for event in run.read_events() if "message" in event]
    assert any(
        line.startswith(
            "rank-stabilized DoRA, rank 4, on attention and feed-forward layers, and 2 rows"
        )
        for line in said
    ), said


def test_new_tokens_are_saved_and_loaded_with_their_tokenizer(
    models: dict[bool, Path], train: Train, tmp_path: Path
) -> None:
    import torch
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoTokenizer

    from ftsdk.backends.local.local_model import LocalModel

    base = models[True]
    run = make(
        tmp_path / "run", base, base_model={"published_as": str(base)}, options={"add_tokens": NEW}
    )
    assert train(run.path) == 0, run.log_tail()
    facts = facts_of(run.result_path)
    assert facts["added_tokens"] == [NEW]
    tokenizer = AutoTokenizer.from_pretrained(run.result_path)
    new = tokenizer.convert_tokens_to_ids(NEW)
    assert (new, facts["embedding_rows"]) == (len(tokenizer) - 1, len(tokenizer))
    assert tokenizer.encode(f"red {NEW}", add_special_tokens=False)[-1] == new
    loaded = AutoPeftModelForCausalLM.from_pretrained(run.result_path, dtype=torch.float32)
    found = plain_loss(loaded, run.result_path, run.path / "validation.jsonl")
    assert found == pytest.approx(facts["validation_loss"], rel=1e-4)
    here = LocalModel.load(run.result_path, device="cpu")
    assert here.network.get_input_embeddings().weight.shape[0] == new + 1
    assert here.tokenizer.encode(NEW) == [new]
    assert here.chat([{"role": "user", "content": "red"}], max_tokens=4).completion_tokens > 0


def test_a_whole_head_and_new_tokens_survive_a_kill(
    models: dict[bool, Path], train: Train, tmp_path: Path
) -> None:
    changes: dict[str, Any] = {
        "adapter": {"use_dora": True, "modules_to_save": ["lm_head"]},
        "options": {"add_tokens": [NEW, "<|other|>"]},
    }
    digests = []
    for name, kills in (("whole", ()), ("killed", (4, 2))):
        run = make(tmp_path / name, models[False], **changes)
        for step in kills:
            assert train(run.path, "kill_in_step", step) == -signal.SIGKILL
        assert train(run.path) == 0, run.log_tail()
        weights = (run.result_path / "adapter_model.safetensors").read_bytes()
        digests.append(hashlib.sha256(weights).hexdigest())
    assert digests[0] == digests[1]
    facts = facts_of(run.result_path)
    rows = facts["embedding_rows"]
    assert loss_by_plain_peft(run, rows=rows) == pytest.approx(facts["validation_loss"], rel=1e-4)


def test_a_whole_model_with_new_tokens_is_loaded_by_transformers(
    models: dict[bool, Path], train: Train, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    run = make(tmp_path / "run", models[True], adapter=None, options={"add_tokens": [NEW]})
    assert train(run.path) == 0, run.log_tail()
    loaded = AutoModelForCausalLM.from_pretrained(run.result_path)
    found = plain_loss(loaded, run.result_path, run.path / "validation.jsonl")
    assert found == pytest.approx(facts_of(run.result_path)["validation_loss"], rel=1e-4)


# --- refusals and the plan -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("adapter", "options", "fault"),
    [
        ({"modules_to_save": ["lm_head"]}, {}, "lm_head shares its weights with the embedding"),
        ({"modules_to_save": ["lm_haed"]}, {}, "no layer is called 'lm_haed'.*lm_head"),
        ({"trainable_token_indices": ["<nope>", 99999]}, {}, "no token '<nope>', '99999'"),
        ({}, {"add_tokens": ["<|im_end|>"]}, "'<|im_end|>' is a token of this model already"),
    ],
)
def test_what_cannot_be_trained_is_refused_by_name(
    adapter: dict[str, Any], options: dict[str, Any], fault: str, models: dict[bool, Path],
    tmp_path: Path,
) -> None:  # fmt: skip
    with (
        ftsdk.Client(home=tmp_path / "home", env={}) as client,
        pytest.raises(ftsdk.Unsupported, match=fault.replace("|", r"\|")),
    ):
        client.plan(
            tiny.rows(20), provider="local", model=str(models[True]), adapter=adapter,
            provider_options=options,
        )  # fmt: skip


def test_the_plan_names_the_variant_and_counts_with_the_new_tokens(
    models: dict[bool, Path], tmp_path: Path
) -> None:
    rows = tiny.rows(20)
    for row in rows:
        row["messages"][0]["content"] += NEW
    with ftsdk.Client(home=tmp_path / "home", env={}) as client:
        given = {"provider": "local", "model": str(models[True])}
        plain = client.plan(rows, **given)
        plan = client.plan(
            rows, adapter={"use_dora": True}, provider_options={"add_tokens": [NEW]}, **given
        )
        refused = {"provider": "fake", "model": "m", "adapter": {"use_dora": True}}
        with pytest.raises(ftsdk.Unsupported, match="adapter use_dora=True is not taken by fake"):
            client.plan(rows, **refused)
    [note] = [note for note in plan.notes if "DoRA of rank 16" in note]
    assert note.endswith("and 1 row of the embedding")
    assert any("vllm and sglang" in note and "DoRA is refused" in note for note in plan.notes)
    assert not any("will not work everywhere" in note for note in plain.notes)
    spelt = len(client_tokens(models[True], NEW))
    assert plain.tokens - plan.tokens == 20 * (spelt - 1)


def client_tokens(folder: Path, text: str) -> list[int]:
    from ftsdk.dataset.tokenize.chat_template import ChatTokenizer

    return ChatTokenizer.from_folder(folder).encode(text)


def test_the_copy_of_a_tokenizer_is_made_once(models: dict[bool, Path], tmp_path: Path) -> None:
    base = models[True]
    assert changed_tokenizer(base, tmp_path, template=None, add_tokens=()) == base
    made = changed_tokenizer(base, tmp_path, template=None, add_tokens=[NEW])
    assert changed_tokenizer(base, tmp_path, template=None, add_tokens=[NEW]) == made
    assert changed_tokenizer(base, tmp_path, template=None, add_tokens=["<x>"]) != made
    assert token_ids(made, ["<|im_end|>"], [NEW], where="").new == (
        max(token_ids(made, [], [NEW], where="").new),
    )
