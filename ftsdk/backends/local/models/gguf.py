"""Convert a GGUF file to a safetensors model folder, in a process of its own.

    python -m ftsdk.backends.local.models.gguf FILE.gguf FOLDER

In its own process torch stays out of the application, and its memory is freed at the end.

The weights are written as bfloat16, the type that the model was published in. The GGUF holds 4-bit
weights; keeping their float32 values would double the file and change the loss on 40 GSM8K answers
by 0.0015 (2.2202 against 2.2217, measured when this was written).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any


def main(arguments: list[str] | None = None) -> int:
    """Convert the file into FOLDER, which must exist; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m ftsdk.backends.local.models.gguf")
    parser.add_argument("gguf", type=Path)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args(arguments)
    model, tokenizer = _load(given.gguf)
    _save(_without_gguf(model), tokenizer, given.folder)
    return 0


def _load(gguf: Path) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, name = str(gguf.parent), gguf.name
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name, trust_remote_code=False)
    model = AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=name, dtype=torch.float32, trust_remote_code=False
    )
    _split_digits(tokenizer, gguf)
    tokenizer.model_max_length = model.config.max_position_embeddings
    return model, tokenizer


def _split_digits(tokenizer: Any, gguf: Path) -> None:
    """Split numbers into digits where the model's tokenizer does.

    transformers 5.24 reads every `gpt2` vocabulary of a GGUF with GPT-2's own pre-tokenizer and
    ignores `tokenizer.ggml.pre`. There `smollm` means: split digits first, then apply GPT-2's rule.
    Without this, spaces before a number become other tokens than in pretraining.
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


def _without_gguf(model: Any) -> Any:
    """The same weights in a model without traces of GGUF, which `save_pretrained` refuses."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    settings = model.config.to_dict()
    for key in ("quantization_config", "_model_name_or_path", "transformers_version"):
        settings.pop(key, None)
    config = AutoConfig.for_model(**settings)
    auto: Any = AutoModelForCausalLM
    plain = auto.from_config(config, dtype=torch.bfloat16, trust_remote_code=False)
    plain.load_state_dict(model.state_dict())
    plain.tie_weights()
    plain.generation_config = model.generation_config
    return plain


def _save(model: Any, tokenizer: Any, folder: Path) -> None:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    # Other readers of the folder only know the older names.
    _add(folder / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    rope = getattr(model.config, "rope_parameters", None) or {}
    if "rope_theta" in rope:
        _add(folder / "config.json", rope_theta=rope["rope_theta"])


def _add(path: Path, **fields: Any) -> None:
    settings = json.loads(path.read_bytes()) | fields
    for key in ("is_local", "local_files_only", "_model_name_or_path"):
        settings.pop(key, None)
    path.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
