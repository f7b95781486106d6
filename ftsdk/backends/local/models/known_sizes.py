"""The dimensions of well-known open models, from their published configs; no weights are needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class KnownSize:
    """A model by its name on the hub, and what of its config decides its memory."""

    hub_id: str
    config: Mapping[str, Any]


def _size(
    hub_id: str, width: int, inner: int, layers: int, heads: int, kv_heads: int, vocabulary: int,
    *, head_dim: int = 128, tied: bool = False,
) -> KnownSize:  # fmt: skip
    kind = "qwen3" if hub_id.startswith("Qwen/Qwen3") else "llama"
    return KnownSize(
        hub_id,
        {
            "model_type": kind,
            "hidden_size": width,
            "intermediate_size": inner,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": kv_heads,
            "head_dim": head_dim,
            "vocab_size": vocabulary,
            "tie_word_embeddings": tied,
            "max_position_embeddings": 32768,
        },
    )


KNOWN_SIZES: tuple[KnownSize, ...] = (
    _size(
        "meta-llama/Llama-3.2-1B-Instruct", 2048, 8192, 16, 32, 8, 128256, head_dim=64, tied=True
    ),
    _size("meta-llama/Llama-3.2-3B-Instruct", 3072, 8192, 28, 24, 8, 128256, tied=True),
    _size("meta-llama/Llama-3.1-8B-Instruct", 4096, 14336, 32, 32, 8, 128256),
    _size("Qwen/Qwen3-14B", 5120, 17408, 40, 40, 8, 151936),
    _size("Qwen/Qwen3-32B", 5120, 25600, 64, 64, 8, 151936),
    _size("meta-llama/Llama-3.3-70B-Instruct", 8192, 28672, 80, 64, 8, 128256),
)
"""From 1 to 70 billion weights, as published on the hub in 2024 and 2025."""
