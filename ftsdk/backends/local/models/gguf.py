"""Turn a GGUF file into a plain safetensors model folder, in a process of its own.

    python -m ftsdk.backends.local.models.gguf FILE.gguf FOLDER

Why a process: torch stays out of the application, and its memory goes back when this ends.

The weights are written as bfloat16, the type that the model was published in. The GGUF holds 4-bit
weights; keeping their float32 values would double the file and move the loss on 40 GSM8K answers by
0.0015 (2.2202 against 2.2217, measured when this was written).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Convert, or end with one line on standard error; FOLDER must exist."""
    parser = argparse.ArgumentParser(prog="python -m ftsdk.backends.local.models.gguf")
    parser.add_argument("gguf", type=Path)
    parser.add_argument("folder", type=Path)
    asked = parser.parse_args(arguments)
    model, tokenizer = _load(asked.gguf)
    _save(_plain(model), tokenizer, asked.folder)
    return 0


def _load(gguf: Path) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, name = str(gguf.parent), gguf.name
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name, trust_remote_code=False)
    model = AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=name, dtype=torch.float32, trust_remote_code=False
    )
    _mend_tokenizer(tokenizer, gguf)
    tokenizer.model_max_length = model.config.max_position_embeddings
    return model, tokenizer


def _mend_tokenizer(tokenizer: Any, gguf: Path) -> None:
    """Split digits one by one where the model does.

    transformers 5.24 reads every `gpt2` vocabulary of a GGUF with GPT-2's own pre-tokenizer and
    drops `tokenizer.ggml.pre`. For `smollm` that name means: digits apart first, then GPT-2's rule.
    Without this, spaces before a number come out as other tokens than in training.
    """
    from gguf import GGUFReader
    from tokenizers import pre_tokenizers

    field = GGUFReader(gguf).get_field("tokenizer.ggml.pre")
    if field is None or field.contents() != "smollm":
        return
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )


def _plain(model: Any) -> Any:
    """The same weights in a model that knows nothing of GGUF: `save_pretrained` refuses the other."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    told = model.config.to_dict()
    for word in ("quantization_config", "_model_name_or_path", "transformers_version"):
        told.pop(word, None)
    config = AutoConfig.for_model(**told)
    auto: Any = AutoModelForCausalLM
    plain = auto.from_config(config, dtype=torch.bfloat16, trust_remote_code=False)
    plain.load_state_dict(model.state_dict())
    plain.tie_weights()
    plain.generation_config = model.generation_config
    return plain


def _save(model: Any, tokenizer: Any, folder: Path) -> None:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    # Other readers of the folder know the older names only.
    _add(folder / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    rope = getattr(model.config, "rope_parameters", None) or {}
    if "rope_theta" in rope:
        _add(folder / "config.json", rope_theta=rope["rope_theta"])


def _add(path: Path, **fields: Any) -> None:
    told = json.loads(path.read_bytes()) | fields
    for word in ("is_local", "local_files_only", "_model_name_or_path"):
        told.pop(word, None)
    path.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
