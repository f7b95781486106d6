"""The fast forms of attention, adapters and loss equal the plain ones."""

from __future__ import annotations

import json
import shutil
from array import array
from pathlib import Path
from typing import Any

import pytest

from tests.train import tiny


def rendered(lengths: list[int], vocabulary: int, *, seed: int = 3) -> list[Any]:
    import random

    from ftsdk.dataset.tokenize.render import Rendered

    source = random.Random(seed)
    return [
        Rendered(
            array("i", [source.randrange(3, vocabulary) for _ in range(length)]),
            bytes(int(k > length // 3) for k in range(length)),
        )
        for length in lengths
    ]


def load(model: Path, **changes: Any) -> Any:
    import torch

    from ftsdk.backends.local.compute.hardware import choose_hardware
    from ftsdk.backends.local.training.model import load_for_training

    changes = {"adapter": {"dropout": 0.0}, **changes}
    spec = tiny.spec(model, **{"options": {"dtype": "float32"}, **changes})
    torch.manual_seed(0)
    options = spec.options
    hardware = choose_hardware(options.device, options.dtype, options.threads)
    return load_for_training(spec, hardware), spec


def randomize_adapters(owner: Any) -> None:
    """B starts at zero, which would hide errors in A."""
    import torch

    torch.manual_seed(1)
    for name, parameter in owner.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.05)


def padded_reference(network: Any, rows: list[Any]) -> Any:
    """The usual loss: right padding, an attention mask, all logits, labels of -100."""
    import torch

    longest = max(len(row) for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
    for k, row in enumerate(rows):
        ids[k, : len(row)] = torch.tensor(list(row.ids))
        mask[k, : len(row)] = 1
        wanted = torch.tensor(list(row.trained), dtype=torch.bool)
        labels[k, : len(row)][wanted] = ids[k, : len(row)][wanted]
    logits = network(input_ids=ids, attention_mask=mask, use_cache=False).logits.float()
    return torch.nn.functional.cross_entropy(
        logits[:, :-1].reshape(-1, logits.shape[-1]), labels[:, 1:].reshape(-1), reduction="sum"
    )


def gradients(owner: Any) -> dict[str, Any]:
    found = {n: p.grad.clone() for n, p in owner.named_parameters() if p.grad is not None}
    owner.zero_grad(set_to_none=True)
    return found


@pytest.mark.parametrize("adapter", [True, False], ids=["lora", "full"])
@pytest.mark.parametrize("heads", [2, 4], ids=["grouped heads", "equal heads"])
def test_packed_rows_give_the_padded_loss_and_gradients(
    adapter: bool, heads: int, tmp_path: Path
) -> None:
    import torch
    from peft.tuners.lora.layer import Linear

    folder = tiny.write_model(tmp_path / "model", num_key_value_heads=heads)
    model, _ = load(folder, **({} if adapter else {"adapter": None}))
    assert model.path.flat
    assert model.plain_head
    randomize_adapters(model.owner)
    rows = rendered([31, 7, 1, 18, 7], model.network.config.vocab_size)

    from ftsdk.backends.local.training.batches import PackedBatch

    loss = model.loss_sum(PackedBatch.of(rows, torch.device("cpu")))
    loss.backward()
    fast = gradients(model.owner)
    for module in model.owner.modules():
        if isinstance(module, Linear):
            module.__dict__.pop("forward", None)  # peft's own code again
    model.network.set_attn_implementation("eager")
    reference = padded_reference(model.network, rows)
    reference.backward()
    slow = gradients(model.owner)
    torch.testing.assert_close(loss, reference, rtol=1e-5, atol=1e-5)
    assert fast.keys() == slow.keys()
    for name in fast:
        torch.testing.assert_close(fast[name], slow[name], rtol=1e-3, atol=1e-5, msg=name)


def test_rows_do_not_attend_to_each_other(tiny_model: Path) -> None:
    import torch

    from ftsdk.backends.local.training.batches import PackedBatch
    from ftsdk.backends.local.training.forward import hidden_states

    model, _ = load(tiny_model)
    cpu = torch.device("cpu")
    rows = rendered([12, 20], model.network.config.vocab_size)
    other = rendered([12, 20], model.network.config.vocab_size, seed=9)
    with torch.no_grad():
        one = hidden_states(model.network, PackedBatch.of([rows[0], rows[1]], cpu))
        two = hidden_states(model.network, PackedBatch.of([other[0], rows[1]], cpu))
    behind = rows[1].trained_count
    torch.testing.assert_close(one[-behind:], two[-behind:])
    assert not torch.allclose(one[:-behind], two[:-behind])


def test_accumulation_does_not_change_the_gradient(tiny_model: Path) -> None:
    """Rows of different lengths: a mean of means would give them wrong weights."""
    import torch

    from ftsdk.backends.local.training.batches import PackedBatch, micro_batches

    model, _ = load(tiny_model)
    randomize_adapters(model.owner)
    rows = rendered([40, 3, 5, 30, 4, 22], model.network.config.vocab_size)
    count = sum(row.trained_count for row in rows)
    found = []
    for size, budget in ((6, 1000), (2, 1000), (6, 41), (1, 1000)):
        for micro in micro_batches(rows, size, budget):
            (model.loss_sum(PackedBatch.of(micro, torch.device("cpu"))) / count).backward()
        found.append(gradients(model.owner))
    for other in found[1:]:
        for name, value in found[0].items():
            torch.testing.assert_close(other[name], value, rtol=1e-4, atol=1e-7)


def test_gradient_checkpointing_changes_nothing_but_memory(tiny_model: Path) -> None:
    import torch

    from ftsdk.backends.local.training.batches import PackedBatch

    found = []
    for asked in (False, True):
        model, _ = load(tiny_model, options={"dtype": "float32", "gradient_checkpointing": asked})
        randomize_adapters(model.owner)
        assert model.network.is_gradient_checkpointing is asked
        rows = rendered([17, 9], model.network.config.vocab_size)
        model.loss_sum(PackedBatch.of(rows, torch.device("cpu"))).backward()
        found.append(gradients(model.owner))
    assert found[0].keys() == found[1].keys()
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value)


def test_a_sliding_window_is_respected(tmp_path: Path) -> None:
    import torch
    from transformers import MistralConfig, MistralForCausalLM

    from ftsdk.backends.local.training.batches import PackedBatch

    vocabulary = tiny.write_tokenizer(tmp_path)
    config = MistralConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        sliding_window=8,
    )
    torch.manual_seed(0)
    MistralForCausalLM(config).save_pretrained(tmp_path)
    model, _ = load(tmp_path)
    rows = rendered([30, 5, 12], vocabulary)
    loss = model.loss_sum(PackedBatch.of(rows, torch.device("cpu")))
    model.network.set_attn_implementation("eager")
    torch.testing.assert_close(loss, padded_reference(model.network, rows), rtol=1e-5, atol=1e-4)


def test_a_model_with_capped_logits_gives_the_padded_loss_and_gradients(tmp_path: Path) -> None:
    """Gemma 2 caps attention scores, which flat rows do as well, and logits, which keep their head."""
    import torch
    from transformers import Gemma2Config, Gemma2ForCausalLM

    from ftsdk.backends.local.training.batches import PackedBatch

    vocabulary = tiny.write_tokenizer(tmp_path)
    config = Gemma2Config(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        final_logit_softcapping=0.5,
        attn_logit_softcapping=0.5,
        attn_implementation="eager",
    )
    torch.manual_seed(0)
    Gemma2ForCausalLM(config).save_pretrained(tmp_path)
    model, _ = load(tmp_path)
    assert model.path.flat
    assert not model.plain_head
    randomize_adapters(model.owner)
    rows = rendered([20, 9], vocabulary)
    loss = model.loss_sum(PackedBatch.of(rows, torch.device("cpu")))
    loss.backward()
    fast = gradients(model.owner)
    model.network.set_attn_implementation("eager")
    reference = padded_reference(model.network, rows)
    reference.backward()
    torch.testing.assert_close(loss, reference, rtol=1e-4, atol=1e-4)
    for name, slow in gradients(model.owner).items():
        torch.testing.assert_close(fast[name], slow, rtol=1e-3, atol=1e-5, msg=name)


def test_the_optimizer_is_adamw_with_clipping(tiny_model: Path) -> None:
    """Ten steps equal torch's AdamW with clip_grad_norm_ and weight decay on matrices only."""
    import torch

    from ftsdk.backends.local.training.optimizer import FlatAdamW

    torch.manual_seed(0)

    def make() -> torch.nn.Module:
        torch.manual_seed(5)
        return torch.nn.Sequential(
            torch.nn.Linear(6, 5), torch.nn.LayerNorm(5), torch.nn.Linear(5, 2, bias=False)
        )

    ours, theirs = make(), make()
    flat = FlatAdamW(ours.named_parameters(), weight_decay=0.1)
    matrices = [p for p in theirs.parameters() if p.ndim >= 2]
    others = [p for p in theirs.parameters() if p.ndim < 2]
    adam = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}],
        lr=0.01,
    )
    for _ in range(10):
        x = torch.randn(16, 6)
        flat.zero_gradient()
        ours(x).pow(2).sum().backward()
        flat.collect()
        norm = flat.clip(0.5)
        flat.step(0.01)
        adam.zero_grad()
        theirs(x).pow(2).sum().backward()
        expected = torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
        adam.step()
        assert norm == pytest.approx(float(expected), rel=1e-4)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_the_schedule_warms_up_and_decays(schedule: Any) -> None:
    from ftsdk.backends.local.options import RunHyperparameters
    from ftsdk.backends.local.training.schedules import learning_rate_at

    hyper = RunHyperparameters(learning_rate=1.0, warmup_ratio=0.1, schedule=schedule)
    rates = [learning_rate_at(step, 100, hyper) for step in range(1, 101)]
    assert rates[0] == pytest.approx(1 / 11)
    assert rates[10] == 1.0
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert (rates[-1] < 0.02) == (schedule != "constant")
    assert learning_rate_at(1, 10, hyper.model_copy(update={"warmup_ratio": 0.0})) == 1.0


@pytest.mark.parametrize(("dtype", "margin"), [("float32", 1e-4), ("bf16", 0.01)])
def test_smollm2_gives_the_padded_loss(smollm2: Path, dtype: str, margin: float) -> None:
    import torch

    from ftsdk.backends.local.training.batches import PackedBatch
    from ftsdk.dataset.tokenize.chat_template import ChatTokenizer
    from ftsdk.dataset.tokenize.render import render_rows

    model, _ = load(smollm2, options={"dtype": dtype})
    assert model.path.flat
    assert model.plain_head
    count = 3 if dtype == "float32" else 2  # many processors are slow in bf16
    rows, faults = render_rows(tiny.rows(count), ChatTokenizer.from_folder(smollm2))
    assert not faults
    with torch.no_grad():
        loss = model.loss_sum(PackedBatch.of(rows, torch.device("cpu")))
        model.network.set_attn_implementation("sdpa")
        reference = padded_reference(model.network, rows)
    assert float(loss) == pytest.approx(float(reference), rel=margin)


def test_the_result_records_its_origin(tiny_model: Path, train: Any, tmp_path: Path) -> None:
    """The adapter loads with peft and gives the trainer's validation loss."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from ftsdk.backends.local.runs.run_dir import RunDir
    from ftsdk.backends.local.training.encode_rows import load_rows
    from ftsdk.dataset.tokenize.chat_template import ChatTokenizer

    tiny_model = shutil.copytree(tiny_model, tmp_path / "tiny")
    for_tools = tiny_model / "additional_chat_templates" / "tool_use.jinja"
    for_tools.parent.mkdir()
    for_tools.write_text("{{ tools }}", encoding="utf-8")
    spec = tiny.spec(tiny_model, options={"dtype": "float32"})
    run = RunDir.create(
        tmp_path / "run", spec, train=tiny.rows(40), validation=tiny.rows(8, seed=1)
    )
    assert train(run.path) == 0, run.log_tail()
    facts = json.loads((run.result_path / "ftsdk.json").read_bytes())
    tokenizer = ChatTokenizer.from_folder(run.result_path)
    assert facts["chat_template_sha256"] == tokenizer.template_sha256
    assert tokenizer.tools_template == "{{ tools }}"
    assert facts["adapter"]["rank"] == 4
    config = json.loads((run.result_path / "adapter_config.json").read_bytes())
    assert config["base_model_name_or_path"] == "tiny"
    assert str(tiny_model) not in json.dumps(config)
    base = AutoModelForCausalLM.from_pretrained(tiny_model)
    model = PeftModel.from_pretrained(base, run.result_path)
    rows = load_rows(
        run.path / "validation.jsonl",
        tokenizer,
        max_length=spec.hyperparameters.max_length,
        truncate=False,
    )
    with torch.no_grad():
        loss = padded_reference(model, rows) / sum(row.trained_count for row in rows)
    assert float(loss) == pytest.approx(facts["validation_loss"], rel=1e-4)
    losses = [e["train_loss"] for e in run.read_events() if "train_loss" in e]
    assert losses[-1] < losses[0]
