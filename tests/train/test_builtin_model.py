"""The model converted from the GGUF file: its tokens, its template, and one question."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ftsdk.backends.local.models.model_folder import MANIFEST, check_model_folder, manifest_fault

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture(scope="module")
def tokenizer(smollm2: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(smollm2, trust_remote_code=False, local_files_only=True)


def test_the_folder_is_complete(smollm2: Path) -> None:
    check_model_folder(smollm2)
    assert manifest_fault(smollm2, digests=True) is None
    config = json.loads((smollm2 / "config.json").read_bytes())
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert config.get("dtype", config.get("torch_dtype")) == "bfloat16"
    assert config["tie_word_embeddings"] is True
    assert not {"quantization_config", "auto_map"} & set(config)
    assert not (smollm2 / "pytorch_model.bin").exists()
    manifest = json.loads((smollm2 / MANIFEST).read_bytes())
    assert manifest["license"] == "apache-2.0"


def test_special_tokens_are_those_of_the_chat_format(tokenizer: Any) -> None:
    assert tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|im_start|>", "<|im_end|>"]) == [
        0,
        1,
        2,
    ]
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|im_end|>")
    assert tokenizer.model_max_length == 8192
    assert tokenizer("<|im_end|>").input_ids == [2]
    assert 1 not in tokenizer("hello").input_ids  # no begin token is added


def test_numbers_are_split_into_digits(tokenizer: Any) -> None:
    tokens = tokenizer.convert_ids_to_tokens(tokenizer("a  7 1234").input_ids)
    assert tokens == ["a", "ĠĠ", "7", "Ġ", "1", "2", "3", "4"]


def test_text_survives_encoding_and_decoding(tokenizer: Any) -> None:
    for text in ("  two  spaces\n\n\ttab", "naïve café 😀 don't I'll", "12,345.00 €"):
        assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_the_template_is_the_models_own(tokenizer: Any) -> None:
    text = tokenizer.apply_chat_template(QUESTION, tokenize=False, add_generation_prompt=True)
    assert text == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
        "<|im_end|>\n<|im_start|>user\nWhat is the capital of France?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_it_answers_a_plain_question(smollm2: Path, tokenizer: Any) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(
        smollm2, dtype=torch.float32, trust_remote_code=False, local_files_only=True
    )
    prompt = tokenizer.apply_chat_template(
        QUESTION, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    output = model.generate(**prompt, max_new_tokens=16, do_sample=False)[0]
    answer = tokenizer.decode(output[prompt["input_ids"].shape[1] :])
    assert "Paris" in answer
    assert answer.endswith("<|im_end|>")
