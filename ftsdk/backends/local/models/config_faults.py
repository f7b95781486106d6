"""What a model's config.json says against training it: read as JSON, without any library."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ftsdk.backends.local.fault import Fault


def config_faults(folder: Path) -> list[Fault]:
    """Why the model in `folder` cannot be trained, as far as its config.json says."""
    config = json.loads((folder / "config.json").read_bytes())
    return [*_quantized(config), *_encoder_decoder(config)]


def quantization_of(config: Mapping[str, Any]) -> str | None:
    """How the weights are quantized already, such as `gptq, 4 bits`; None when they are not."""
    parts = (config, config.get("text_config"), config.get("llm_config"))
    for part in parts:
        settings = part.get("quantization_config") if isinstance(part, Mapping) else None
        if not isinstance(settings, Mapping):
            continue
        method = settings.get("quant_method") or (
            "bitsandbytes" if settings.get("load_in_4bit") or settings.get("load_in_8bit") else None
        )
        bits = settings.get("bits") or settings.get("w_bit")
        return (method or "an unnamed method") + (f", {bits} bits" if bits else "")
    return None


def _quantized(config: Mapping[str, Any]) -> Iterator[Fault]:
    method = quantization_of(config)
    if method is not None:
        yield Fault(
            f"its weights are quantized already ({method}), and such weights cannot be trained",
            'give the model that was quantized, in bfloat16; quantize="nf4" quantizes it here',
        )


def _encoder_decoder(config: Mapping[str, Any]) -> Iterator[Fault]:
    if config.get("is_encoder_decoder"):
        yield Fault(
            f"it is an encoder-decoder model ({config.get('model_type')}); chat rows train "
            "decoder-only language models",
            "choose a causal language model",
        )
