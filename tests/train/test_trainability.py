"""What cannot be trained is refused in a plan, from config and headers, with every reason at once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from ftsdk.backends.local import trainability as module
from ftsdk.backends.local.runs import ask_stack
from ftsdk.backends.local.trainability import Unexamined, trainability
from ftsdk.client import Client
from ftsdk.config import Config
from ftsdk.errors import Unsupported
from ftsdk.types.spec import LoRA
from tests.train import architectures, tiny


@pytest.fixture
def base(tmp_path: Path) -> Callable[..., Path]:
    """Write a tiny model of an architecture; keywords change its config.json afterwards."""

    def write(name: str = "llama", **changes: Any) -> Path:
        folder = architectures.write(name, tmp_path / name)
        if changes:
            path = folder / "config.json"
            path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
        return folder

    return write


def plan(home: Path, model: Path, **options: Any) -> Any:
    data = {"provider": "local", "model": str(model)}
    return Client(home=home, config=Config(data=data), env={}).plan(tiny.rows(4), **options)


def refused(home: Path, model: Path, **options: Any) -> Unsupported:
    """The error of a plan; a create gives the same one, and leaves no job behind."""
    with pytest.raises(Unsupported) as planned:
        plan(home, model, **options)
    data = {"provider": "local", "model": str(model)}
    client = Client(home=home, config=Config(data=data), env={})
    with pytest.raises(Unsupported) as created:
        client.create_job(tiny.rows(4), **options)
    assert str(created.value) == str(planned.value)
    assert client.list_jobs() == []
    return planned.value


def rewrite_weights(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path, metadata={"format": "pt"})


# --- the model ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"quant_method": "gptq", "bits": 4}, "gptq, 4 bits"),
        ({"quant_method": "awq", "bits": 4}, "awq, 4 bits"),
        ({"quant_method": "fp8"}, "fp8"),
        ({"quant_method": "compressed-tensors"}, "compressed-tensors"),
        ({"load_in_4bit": True}, "bitsandbytes"),
    ],
)
def test_quantized_weights(
    base: Callable[..., Path], home: Path, settings: Mapping[str, Any], named: str
) -> None:
    error = refused(home, base(quantization_config=settings))
    assert f"quantized already ({named})" in error.what
    assert 'quantize="nf4" quantizes it here' in error.hint


def test_quantized_weights_of_the_text_part(base: Callable[..., Path], home: Path) -> None:
    inner = {"quantization_config": {"quant_method": "gptq", "bits": 8}}
    assert "gptq, 8 bits" in refused(home, base(text_config=inner)).what


def test_code_of_its_own(base: Callable[..., Path], home: Path) -> None:
    auto_map = {"AutoModelForCausalLM": "modeling_own.OwnForCausalLM"}
    error = refused(home, base(model_type="own_model", auto_map=auto_map))
    assert "does not know the architecture 'own_model'" in error.what
    assert "code of its own, which ftsdk never runs" in error.what
    assert "trust_remote_code" not in str(error)


def test_an_architecture_that_transformers_knows_needs_no_code(
    base: Callable[..., Path], home: Path
) -> None:
    auto_map = {"AutoModelForCausalLM": "modeling_own.OwnForCausalLM"}
    assert plan(home, base(auto_map=auto_map)).notes


def test_an_encoder_decoder_model(base: Callable[..., Path], home: Path) -> None:
    error = refused(home, base(model_type="t5", is_encoder_decoder=True))
    assert "encoder-decoder model (t5)" in error.what
    assert "'t5' is not a causal language model" in error.what  # and transformers says it, too


@pytest.mark.parametrize("kind", ["qwen2_vl", "llava", "clip", "paligemma"])
def test_a_vision_model(base: Callable[..., Path], home: Path, kind: str) -> None:
    error = refused(home, base(model_type=kind))
    assert kind in error.what
    assert "transformers has no class for it that predicts the next token" in error.what


@pytest.mark.parametrize("kind", ["bert", "roberta", "xlnet", "xlm", "prophetnet"])
def test_a_model_that_reads_in_both_directions(
    base: Callable[..., Path], home: Path, kind: str
) -> None:
    what = refused(home, base(kind)).what
    assert "later" in what
    assert kind in what


def test_attention_in_both_directions(base: Callable[..., Path], home: Path) -> None:
    model = base("gemma3_text, use_bidirectional_attention")
    assert "attention in both directions" in refused(home, model).what


def test_a_decoder_of_that_family_can_be_trained(base: Callable[..., Path], home: Path) -> None:
    assert plan(home, base("bert", is_decoder=True)).notes


def test_an_embedding_smaller_than_the_tokenizer(base: Callable[..., Path], home: Path) -> None:
    model = base("gpt2", vocab_size=300)

    def cut(weights: dict[str, Any]) -> None:
        weights["transformer.wte.weight"] = weights["transformer.wte.weight"][:300].contiguous()

    rewrite_weights(model, cut)
    error = refused(home, model)
    assert "its embedding has 300 rows and its tokenizer uses 313" in error.what
    assert "resize_token_embeddings" in error.hint


@pytest.mark.parametrize(
    ("text", "fits"), [("<picture>", True), ("<|im_end|>", False), ("<eos>", False)]
)
def test_an_added_token_without_a_row_counts_where_a_template_writes_it(
    base: Callable[..., Path], home: Path, text: str, fits: bool
) -> None:
    model = base()
    path = model / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    added = [token for token in tokenizer["added_tokens"] if token["content"] != text]
    token = {**tokenizer["added_tokens"][0], "content": text, "id": 400}
    tokenizer["added_tokens"] = [*added, token]
    path.write_text(json.dumps(tokenizer))
    settings = json.loads((model / "tokenizer_config.json").read_text())
    decoder = {"added_tokens_decoder": {"400": {"content": text}}}
    eos = {"eos_token": {"content": "<eos>"}, "image_token": "<picture>"}
    (model / "tokenizer_config.json").write_text(json.dumps({**decoder, **settings, **eos}))
    found = trainability(model, None, cache=home)
    what = f"its embedding has 313 rows and its tokenizer uses 401: 1 tokens, such as {text!r}"
    assert [fault.what for fault in found.faults] == ([] if fits else [f"{what}, have none"])


def test_weights_that_the_files_lack(base: Callable[..., Path], home: Path) -> None:
    model = base()
    rewrite_weights(model, lambda weights: weights.pop("model.layers.1.mlp.up_proj.weight"))
    error = refused(home, model)
    assert "lack 1 weights (model.layers.1.mlp.up_proj.weight)" in error.what
    assert "random numbers" in error.what


def test_weights_of_another_shape(base: Callable[..., Path], home: Path) -> None:
    error = refused(home, base(intermediate_size=48))
    assert "mlp.down_proj.weight is [32, 64] in the files and [32, 48] by the config" in error.what


def test_a_config_that_cannot_be_built(base: Callable[..., Path], home: Path) -> None:
    error = refused(home, base(hidden_act="no_such_activation"))
    assert "transformers cannot" in error.what
    assert "no_such_activation" in error.what


def test_no_weight_is_read(base: Callable[..., Path], home: Path) -> None:
    model = base()
    path = model / "model.safetensors"
    length = int.from_bytes(path.read_bytes()[:8], "little")
    os.truncate(path, 8 + length)  # the header is left
    assert trainability(model, LoRA(), cache=home).faults == ()


def test_every_reason_at_once(base: Callable[..., Path], home: Path) -> None:
    model = base(
        "qwen3_moe",
        quantization_config={"quant_method": "awq"},
        is_encoder_decoder=True,
        vocab_size=300,
    )
    error = refused(
        home,
        model,
        hyperparameters={"learning_rate_multiplier": 2},
        adapter={"quantize": "nf4", "target_modules": ["q_porj"]},
    )
    for part in (
        "learning_rate_multiplier",
        "quantized already (awq)",
        "encoder-decoder",
        "its embedding has 300 rows",
        "no layer is called 'q_porj'; did you mean 'q_proj'?",
        'quantize="nf4": the experts',
    ):
        assert part in error.what
    assert error.what.startswith("6 things: ")
    assert len(error.faults) == 6


# --- the adapter --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "covered"),
    [
        ("llama", "attention and feed-forward layers"),
        ("mixtral", "attention, the router and experts"),
        ("olmoe", "attention, the router and experts"),
        ("qwen3_moe", "attention, the router and experts"),
        ("deepseek_v3", "attention, the router and experts; not feed-forward layers"),
        ("gpt_oss", "attention only; not the router and experts (75% of the weights)"),
        ("phimoe", "attention only; not the router and experts (75% of the weights)"),
        ("llama4_text", "attention and shared experts; not the router and experts (63%"),
        ("mamba", "some of state-space layers only"),
        ("falcon_h1", "attention, feed-forward layers and some of state-space layers"),
        ("gemma3", "attention and feed-forward layers; not layers for images or sound"),
    ],
)
def test_a_plan_says_what_is_adapted(
    base: Callable[..., Path], home: Path, name: str, covered: str
) -> None:
    [note] = [note for note in plan(home, base(name)).notes if note.startswith("LoRA")]
    assert note.startswith(f"LoRA of rank 16 on {covered}")


@pytest.mark.parametrize(
    ("name", "target", "reason"),
    [
        ("llama4_text", "router", "does not return a plain matrix product"),
        ("phimoe", "router", "does not return a plain matrix product"),
        ("mamba", "out_proj", "computes with its weight directly"),
        ("nemotron_h", "out_proj", "computes with its weight directly"),
        ("llama", "q_porj", "no layer is called 'q_porj'; did you mean 'q_proj'?"),
    ],
)
def test_layers_that_no_adapter_fits(
    base: Callable[..., Path], home: Path, name: str, target: str, reason: str
) -> None:
    error = refused(home, base(name), adapter={"target_modules": ["q_proj", target]})
    assert reason in error.what
    assert "there are " in error.what.lower()


@pytest.mark.parametrize("name", ["mixtral", "deepseek_v3", "gpt_oss", "llama4_text"])
def test_nf4_does_not_reach_experts(base: Callable[..., Path], home: Path, name: str) -> None:
    error = refused(home, base(name), adapter={"quantize": "nf4"})
    assert 'quantize="nf4": the experts (' in error.what
    assert "use quantize=None" in error.what


def test_experts_take_no_dropout(base: Callable[..., Path], home: Path) -> None:
    error = refused(home, base("mixtral"), adapter={"dropout": 0.1})
    assert "dropout=0.1: an adapter on experts or a router takes no dropout" in error.what
    assert "use dropout=0" in error.hint


@pytest.mark.parametrize(
    ("name", "layer", "other"),
    [
        ("laguna", "mlp.shared_experts.", "q_proj"),
        ("inkling2_text", ".sconv.weight_proj.", "gate_proj"),
    ],
)
def test_an_adapter_that_peft_would_not_load(
    base: Callable[..., Path], home: Path, name: str, layer: str, other: str
) -> None:
    """peft renames these layers when it loads an adapter, and leaves their weights out."""
    model = base(name)
    error = refused(home, model)
    assert "would not load such an adapter as it is saved: " in error.what
    assert layer in error.what
    assert " are lost" in error.what
    assert plan(home, model, adapter={"target_modules": [other]}).notes


def test_a_target_that_is_no_linear_layer(base: Callable[..., Path], home: Path) -> None:
    error = refused(home, base(), adapter={"target_modules": ["self_attn"]})
    assert "names a LlamaAttention, and no LoRA fits that" in error.what


def test_half_of_a_fused_expert(base: Callable[..., Path], home: Path) -> None:
    error = refused(home, base("mixtral"), adapter={"target_modules": ["q_proj", "w1"]})
    assert "Cannot convert PEFT target(s) w1 without also targeting w3" in error.what


# --- how it is asked ----------------------------------------------------------------------------


@pytest.mark.own_process
def test_the_answer_of_a_process_is_kept_until_a_file_changes(
    base: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, cache = base("qwen3_moe"), tmp_path / "cache"
    found = trainability(model, LoRA(), cache=cache)
    assert found.faults == ()
    assert found.adapted == "attention, the router and experts"
    asked = []

    def examine(question: Mapping[str, Any]) -> dict[str, Any]:
        asked.append(question)
        return {"faults": [], "adapted": None}

    monkeypatch.setattr(module, "examine", examine)
    assert trainability(model, LoRA(), cache=cache) == found
    assert not asked
    trainability(model, LoRA(rank=8), cache=cache)
    os.utime(model / "model.safetensors", ns=(1, 1))
    trainability(model, LoRA(), cache=cache)
    assert len(asked) == 2


def test_a_cache_that_cannot_be_written_is_no_error(
    base: Callable[..., Path], tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    cache.write_text("a file")
    assert trainability(base(), LoRA(), cache=cache).faults == ()


def test_a_plan_warns_when_nothing_could_be_asked(
    base: Callable[..., Path], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def examine(_: Mapping[str, Any]) -> dict[str, Any]:
        raise Unexamined("exit code -9: no output")

    monkeypatch.setattr(module, "examine", examine)
    model = base()
    [warning] = plan(home, model).warnings
    assert warning == f"whether {model} can be trained is not known: exit code -9: no output"
    config = json.loads((model / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "gptq"}
    (model / "config.json").write_text(json.dumps(config))
    assert "gptq" in refused(home, model).what  # the config alone says it


@pytest.mark.own_process
def test_the_process_gets_no_keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given: list[Mapping[str, str]] = []

    def run(command: list[str], *, env: Mapping[str, str], **_: Any) -> Any:
        given.append(env)
        Path(command[-1]).write_text('{"faults": [], "adapted": null}')

    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setattr(ask_stack.subprocess, "run", run)
    module.examine({})
    assert "sk-secret" not in given[0].values()
    assert given[0]["HF_HUB_OFFLINE"] == "1"


@pytest.mark.own_process
def test_a_process_that_dies_gives_its_last_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unexamined, match=r"exit code 1: .*KeyError: 'adapter'"):
        module.examine({})
    monkeypatch.setattr(ask_stack, "_TIMEOUT_S", 0.01)
    with pytest.raises(Unexamined, match="took over 0 s"):
        module.examine({})
