"""Results to export: tiny models of several architectures with adapters of several kinds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.train import tiny


def write_base(folder: Path, kind: str = "llama", **changes: Any) -> Path:
    """Write a two-layer model of an architecture that GGUF has, with random weights."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    vocabulary = tiny.write_tokenizer(folder)
    torch.manual_seed(0)
    settings: dict[str, Any] = {
        "vocab_size": vocabulary,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 512,
        "tie_word_embeddings": True,
        "initializer_range": 0.3,  # large, so that answers differ between prompts
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        **changes,
    }
    config = AutoConfig.for_model(kind, **settings)
    model: Any = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:  # norms of one and biases of zero would hide a mistake
                parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return folder


def write_adapter(folder: Path, base: Path, **settings: Any) -> Path:
    """Write an adapter with random weights, as the trainer writes a result."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    given: dict[str, Any] = {
        "r": 4,
        "lora_alpha": 8,
        "target_modules": "all-linear",
        "task_type": "CAUSAL_LM",
        **settings,
    }
    owner = get_peft_model(network, LoraConfig(**given))
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in owner.named_parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))
                assert ".lora_" in name or "modules_to_save" in name or "trainable_tokens" in name
    owner.peft_config["default"].base_model_name_or_path = str(base)
    owner.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)
    facts = {
        "format": 1,
        "job_id": "ftj_test",
        "method": "sft",
        "base_model": {"path": str(base), "name": "tiny", "published_as": "someone/tiny"},
        "adapter": {"kind": "lora", "rank": given["r"], "alpha": given["lora_alpha"]},
        "train_loss": 0.5,
        "trained_tokens": 1000,
    }
    (folder / "ftsdk.json").write_text(json.dumps(facts))
    return folder
