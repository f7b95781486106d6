"""A bound of the memory of a run that needs no simulation and no torch: enough for a small model."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftsdk.backends.local.models.model_folder import weight_files

MICRO_BATCH_TOKENS = {"cpu": 2048, "cuda": 16384}
"""Tokens of one forward pass where memory is no question."""
CPU_SHARE = 0.9
"""The share of this machine's memory that a run may take; the rest is left to the system."""
PROCESS_BYTES = 512 << 20
"""What a trainer takes at most before it loads a model."""
_PER_WEIGHT = {True: 8, False: 24}
"""Bytes for each weight at most, with an adapter and without."""
_WIDEST = 4
_NAMES = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")


def most_tokens(longest: int, batch_size: int, budget: int) -> int:
    """The most tokens of one forward pass, for examples of at most `longest` tokens."""
    return max(longest, min(budget, batch_size * longest))


def most_bytes(
    text: Mapping[str, Any], folder: Path, *, adapter: bool, longest: int, tokens: int, width: int
) -> int | None:
    """The most that a run takes beside its process; None where the config does not say enough.

    `text` is the config of the text model, `longest` the longest row and `tokens` those of a forward
    pass, `width` the bytes of a number.
    """
    sizes = [size for name in _NAMES if isinstance(size := text.get(name), int)]
    if len(sizes) < len(_NAMES):
        return None
    weights = sum(path.stat().st_size // 2 for path in weight_files(folder))
    hidden, inner, layers, heads = sizes
    per_token = layers * (24 * hidden + 8 * inner) * width
    scores = 4 * heads * longest * longest * width
    return weights * _PER_WEIGHT[adapter] + 2 * tokens * per_token + scores


def plainly_fits_here(
    folder: Path,
    *,
    device: str,
    adapter: bool,
    longest: int,
    batch_size: int,
    tokens: int | None,
) -> bool:
    """True where a run on this processor takes less than half of the memory, whatever it does.

    False wherever that is not plain: a model that is large, a machine that may have a GPU.
    """
    if device not in ("auto", "cpu") or not hasattr(os, "sysconf"):
        return False
    if device == "auto" and any(Path("/dev").glob("nvidia[0-9]*")):
        return False
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        text = config.get("text_config") or config
        most = most_bytes(
            text,
            folder,
            adapter=adapter,
            longest=longest,
            tokens=most_tokens(longest, batch_size, tokens or MICRO_BATCH_TOKENS["cpu"]),
            width=_WIDEST,
        )
    except (OSError, ValueError, AttributeError):
        return False
    return most is not None and most + PROCESS_BYTES < CPU_SHARE * machine_bytes() // 2


def machine_bytes() -> int:
    """The memory of this machine, or of its container where that is less."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        return total
    return min(total, int(limit)) if limit.isdigit() else total
