"""A result in another form answers as the trained model does, and a wrong one is an error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ftsdk.errors import Unsupported, UsageError
from ftsdk.exporting import llama_cpp
from ftsdk.exporting.source import ExportSource
from ftsdk.types.export import Export, ExportTarget
from tests.train.exportable import write_adapter, write_base

VARIANTS: dict[str, dict[str, Any]] = {
    "lora": {},
    "rslora": {"use_rslora": True, "r": 3},
    "dora": {"use_dora": True},
    "patterns": {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"v_proj": 24}},
    "head": {"modules_to_save": ["lm_head"], "target_modules": ["q_proj", "v_proj"]},
    "tokens": {"trainable_token_indices": [5, 9]},
}
needs_llama_cpp = pytest.mark.skipif(
    not llama_cpp.is_installed(), reason="needs ftsdk[llamacpp]; not installed: xllamacpp"
)


SHORT = {"rslora", "head", "patterns", "llama"}
"""The variants that are tried without --long."""


@pytest.fixture
def variant(request: pytest.FixtureRequest) -> str:
    """The variant of a test; skips those of the long tier without --long."""
    if request.param not in SHORT and not request.config.getoption("--long"):
        pytest.skip("one more variant; --long tries it")
    return str(request.param)


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model with tied embeddings, and one with an output head of its own."""
    folder = tmp_path_factory.mktemp("bases")
    return {
        "tied": write_base(folder / "tied"),
        "untied": write_base(folder / "untied", tie_word_embeddings=False),
    }


def source_of(folder: Path, bases: dict[str, Path], name: str) -> ExportSource:
    base = bases["untied" if name == "head" else "tied"]
    return ExportSource.read(write_adapter(folder / "result", base, **VARIANTS[name]))


def run(
    source: ExportSource, target: ExportTarget, folder: Path, dtype: str | None = None
) -> Export:
    from ftsdk.exporting.export import ExportOptions, export

    return export(source, target, folder, ExportOptions(dtype, probes=4))


@pytest.mark.parametrize("variant", [v for v in VARIANTS if v != "patterns"], indirect=True)
def test_the_adapter_and_the_merged_model_answer_as_the_trained_one(
    variant: str, bases: dict[str, Path], tmp_path: Path
) -> None:
    source = source_of(tmp_path, bases, variant)
    adapter = run(source, "adapter", tmp_path / "adapter")
    assert adapter.agreement is not None
    assert adapter.agreement.same == 4
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_bytes())
    assert config["base_model_name_or_path"] == "someone/tiny"
    assert type(config["lora_alpha"]) is int
    assert not config["use_rslora"]
    merged = run(source, "merged", tmp_path / "merged", "float32")
    assert merged.agreement is not None
    assert merged.agreement.same == 4
    assert merged.merge_loss is not None
    assert merged.merge_loss.largest == 0


EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}


@pytest.mark.parametrize("variant", ["stacked experts"], indirect=True)
def test_a_mixture_of_experts_is_merged_and_is_no_gguf(variant: str, tmp_path: Path) -> None:
    """LoRA on the attention and on the stacked experts, whose weights are parameters without a layer."""
    base = write_base(tmp_path / "base", "qwen3_moe", **EXPERTS)
    names = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]
    result = write_adapter(
        tmp_path / "result", base, target_modules=["q_proj"], target_parameters=names
    )
    source = ExportSource.read(result)
    for target, dtype in (("adapter", None), ("merged", "float32")):
        found = run(source, target, tmp_path / target, dtype).agreement
        assert found is not None
        assert found.same == 4, (variant, target)
    for target in ("gguf", "gguf-adapter"):
        with pytest.raises(Unsupported, match="not for qwen3_moe"):
            run(source, target, tmp_path / "gguf")


@needs_llama_cpp
@pytest.mark.parametrize("variant", ["llama", "qwen2", "qwen3"], indirect=True)
def test_llama_cpp_gives_the_same_tokens_from_gguf(variant: str, tmp_path: Path) -> None:
    base = write_base(tmp_path / "base", variant, tie_word_embeddings=variant != "qwen2")
    source = ExportSource.read(write_adapter(tmp_path / "result", base))
    for dtype in ("f32", "f16"):
        done = run(source, "gguf", tmp_path / dtype, dtype)
        assert done.agreement is not None
        assert done.agreement.ok
        assert done.agreement.same >= 3
        assert done.agreement.tokenization_checked
    beside = run(source, "gguf-adapter", tmp_path / "adapter")
    assert beside.agreement is not None
    assert beside.agreement.same >= 3


@needs_llama_cpp
@pytest.mark.parametrize("variant", ["rslora-b", "patterns"], indirect=True)
def test_an_adapter_gguf_has_the_scales_of_each_layer(
    variant: str, bases: dict[str, Path], tmp_path: Path
) -> None:
    name = variant.removesuffix("-b")
    done = run(source_of(tmp_path, bases, name), "gguf-adapter", tmp_path / "out")
    assert done.agreement is not None
    assert done.agreement.same >= 3
    assert any("lora_b" in note for note in done.notes)


@needs_llama_cpp
@pytest.mark.parametrize("variant", ["llama3"], indirect=True)
def test_rotary_factors_of_llama_3_are_written(variant: str, tmp_path: Path) -> None:
    rope = {
        "rope_type": variant,
        "rope_theta": 500.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }
    base = write_base(tmp_path / "base", rope_parameters=rope)
    source = ExportSource.read(write_adapter(tmp_path / "result", base))
    done = run(source, "gguf", tmp_path / "out", "f32")
    assert done.agreement is not None
    assert done.agreement.same >= 3


@pytest.mark.parametrize("name", ["dora", "head", "tokens"])
def test_what_an_adapter_gguf_cannot_hold_is_refused_by_name(
    name: str, bases: dict[str, Path], tmp_path: Path
) -> None:
    words = {"dora": "DoRA", "head": "lm_head", "tokens": "rows of the embedding"}[name]
    with pytest.raises(Unsupported, match=words) as refused:
        run(source_of(tmp_path, bases, name), "gguf-adapter", tmp_path / "out")
    assert "merged model as GGUF" in refused.value.hint
    assert not (tmp_path / "out").exists()


def test_an_export_that_answers_otherwise_is_an_error_and_leaves_nothing(
    bases: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ftsdk.exporting import safetensors_files

    monkeypatch.setattr(safetensors_files, "folded_alpha", lambda rank, alpha: alpha)
    wrong = ExportSource.read(
        write_adapter(tmp_path / "other", bases["tied"], use_rslora=True, r=8, lora_alpha=64)
    )
    with pytest.raises(UsageError, match="does not answer as the trained model"):
        run(wrong, "adapter", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_bf16_merge_says_how_much_of_the_change_is_lost(
    bases: dict[str, Path], tmp_path: Path
) -> None:
    source = source_of(tmp_path, bases, "lora")
    coarse = run(source, "merged", tmp_path / "coarse", "bfloat16").merge_loss
    half = run(source, "merged", tmp_path / "half").merge_loss
    assert half is not None
    assert coarse is not None
    assert 0 < half.median < coarse.median / 4
    packed = run(source, "ollama", tmp_path / "packed", "q8_0").merge_loss
    assert packed is not None
    assert packed.median > coarse.median, "8 bits keep less than 16"


def test_a_qlora_goes_onto_the_published_weights_or_onto_those_it_saw(
    bases: dict[str, Path], tmp_path: Path
) -> None:
    pytest.importorskip("bitsandbytes", reason="NF4 needs bitsandbytes")
    from safetensors.torch import load_file

    from ftsdk.exporting.export import ExportOptions, export

    folder = write_adapter(tmp_path / "result", bases["tied"])
    facts = json.loads((folder / "ftsdk.json").read_bytes())
    facts["adapter"]["quantize"] = "nf4"
    (folder / "ftsdk.json").write_text(json.dumps(facts))
    source = ExportSource.read(folder)
    weights = []
    for onto in (False, True):
        out = tmp_path / f"onto-{onto}"
        done = export(source, "merged", out, ExportOptions("float32", onto, probes=2))
        assert done.agreement is not None
        assert done.agreement.same == 2
        assert bool(done.notes) is not onto
        weights.append(load_file(out / "model.safetensors"))
    name = "model.layers.0.mlp.up_proj.weight"
    apart = float((weights[0][name] - weights[1][name]).abs().max())
    assert 0.01 < apart < 0.3, "NF4 rounds weights of this size by about a tenth"
    embedding = "model.embed_tokens.weight"
    assert float((weights[0][embedding] - weights[1][embedding]).abs().max()) < 0.02


def test_a_merged_folder_has_what_other_programs_read_and_no_path_of_this_machine(
    bases: dict[str, Path], tmp_path: Path
) -> None:
    done = run(source_of(tmp_path, bases, "lora"), "merged", tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_bytes())
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"]
    tokenizer = json.loads((tmp_path / "out" / "tokenizer_config.json").read_bytes())
    assert tokenizer["chat_template"] == (tmp_path / "out" / "chat_template.jinja").read_text()
    ends = json.loads((tmp_path / "out" / "generation_config.json").read_bytes())
    assert ends["eos_token_id"] == 2
    assert {"README.md", "ftsdk.json", "config.json", "chat_template.jinja"} <= set(done.files)
    for path in (tmp_path / "out").iterdir():
        if path.suffix in (".json", ".md", ".jinja"):
            assert str(tmp_path) not in path.read_text(), path.name
    facts = json.loads((tmp_path / "out" / "ftsdk.json").read_bytes())
    assert facts["export"]["agreement"]["same"] == 4
    assert facts["base_model"]["published_as"] == "someone/tiny"
    card = (tmp_path / "out" / "README.md").read_text()
    assert "base_model: someone/tiny" in card
    assert "4 of 4" in card


def test_an_ollama_folder_has_the_trained_template_behind_a_guard(
    bases: dict[str, Path], tmp_path: Path
) -> None:
    from gguf import GGUFReader

    run(source_of(tmp_path, bases, "lora"), "ollama", tmp_path / "out")
    made = (tmp_path / "out" / "Modelfile").read_text()
    assert made.startswith("FROM ./model.gguf\nREQUIRES 0.30.0\n")
    assert 'PARAMETER stop "<|im_end|>"' in made
    field = GGUFReader(tmp_path / "out" / "model.gguf").get_field("tokenizer.chat_template")
    assert field is not None
    template = str(field.contents())
    comment, _, rest = template.partition("#}")
    assert comment.startswith("{#")
    assert len(comment) > 100
    assert rest == (bases["tied"] / "chat_template.jinja").read_text()
