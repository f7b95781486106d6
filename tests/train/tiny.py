"""A causal model small enough to train in a second, with a tokenizer and a chat template."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ftsdk.backends.local.runs.run_spec import RunSpec

CHATML = (
    "{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}<|im_start|>system\nBe brief.<|im_end|>\n"
    "{% endif %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

WORDS = ["red", "green", "blue", "one", "two", "three", "cat", "dog", "bird", "sun", "rain", "snow"]


def rows(count: int, *, seed: int = 0) -> list[dict[str, Any]]:
    """Chat rows of several lengths: say some words backwards."""
    import random

    source = random.Random(seed)
    made = []
    for _ in range(count):
        words = source.choices(WORDS, k=source.randint(1, 7))
        made.append(
            {
                "messages": [
                    {"role": "user", "content": " ".join(words)},
                    {"role": "assistant", "content": " ".join(reversed(words))},
                ]
            }
        )
    return made


def write_tokenizer(folder: Path) -> int:
    """Write a byte-level tokenizer with ChatML's tokens; returns its number of tokens."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([" ".join(WORDS) + " system user assistant\n"] * 20, trainer)
    tokenizer.add_special_tokens([AddedToken("<|im_end|>", special=True)])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|im_start|>",
        "eos_token": "<|im_end|>",
        "pad_token": "<|im_end|>",
        "unk_token": "<|endoftext|>",
        "model_max_length": 512,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "chat_template.jinja").write_text(CHATML)
    return int(tokenizer.get_vocab_size())


def write_model(folder: Path, **changes: Any) -> Path:
    """Write a two-layer Llama with random weights (grouped key/value heads, tied embeddings)."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    vocabulary = write_tokenizer(folder)
    torch.manual_seed(0)
    settings: dict[str, Any] = {
        "vocab_size": vocabulary,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "tie_word_embeddings": True,
        "initializer_range": 0.3,  # large, so that an adapter alone can move the logits
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,  # its embedding starts at zero, which must not be the end token
        **changes,
    }
    LlamaForCausalLM(LlamaConfig(**settings)).save_pretrained(folder)
    return folder


def spec(model: Path, **changes: Any) -> RunSpec:
    """A run of two epochs; dictionaries in `changes` are merged into the spec's own."""
    full: dict[str, Any] = {
        "job_id": "ftj_test",
        "created_at": "2026-01-01T00:00:00Z",
        "base_model": {"path": str(model), "name": "tiny", "revision": None},
        "method": "sft",
        "adapter": {
            "kind": "lora",
            "rank": 4,
            "alpha": 8,
            "dropout": 0.1,
            "target_modules": "all-linear",
            "quantize": None,
        },
        "hyperparameters": {
            "epochs": 2.0,
            "learning_rate": 5e-3,
            "batch_size": 4,
            "gradient_accumulation_steps": 2,
            "max_length": 128,
        },
        "seed": 7,
        "options": {"threads": 1, "checkpoint_every_steps": 2},
    }
    for name, value in changes.items():
        merged = isinstance(value, dict) and isinstance(full.get(name), dict)
        full[name] = {**full[name], **value} if merged else value
    return RunSpec.model_validate(full)
