"""A bound of the memory of a run that needs no simulation and no torch: enough for a small model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftsdk.backends.local.models.model_folder import weight_files
from ftsdk.backends.local.models.row_paths import goes_flat
from ftsdk.backends.local.training.footprint.asked import Asked
from ftsdk.util.machine_memory import free_bytes, machine_bytes

MICRO_BATCH_TOKENS = {"cpu": 2048, "cuda": 16384}
"""Tokens of one forward pass where memory is no question."""
CPU_SHARE = 0.9
"""The share of this machine's memory that a run may take; the rest is left to the system."""
CUDA_SHARE = 0.98
"""The share of a card's memory that a run may take."""
_LEFT_SHARE = 0.02
"""The share that is left where other programs have taken theirs."""
_STEP = 128 << 20
"""Free memory is counted in these, so that a plan and its trainer see the same."""
DATA_BYTES = 8
"""Bytes of a token of the rows in memory at most, unless rows have few tokens."""
PROCESS_BYTES = 512 << 20
"""What a trainer takes at most before it loads a model."""
_PER_WEIGHT = {True: 8, False: 24}
"""Bytes for each weight at most, with an adapter and without."""
_WIDEST = 4
KEPT_LENGTH = 512
"""The longest row whose attention weights are kept, as `packed_attention` says."""
_NAMES = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")


def most_tokens(longest: int, rows: int, budget: int) -> int:
    """The most tokens of one forward pass, for examples of at most `longest` tokens."""
    return max(longest, min(budget, rows * longest))


def most_bytes(
    text: Mapping[str, Any], folder: Path, asked: Asked, budget: int, *, adapter: bool, width: int
) -> int | None:
    """The most that a run takes beside its process; None where the config does not say enough.

    Nor does it for an architecture whose rows do not go end to end: states and attention of its own
    may take more.
    `text` is the config of the text model, `budget` the tokens of a forward pass, and `width` the bytes
    of a number.
    """
    longest = max(asked.longest, asked.untrained)
    tokens = max(
        most_tokens(asked.example_tokens, asked.rows, budget),
        most_tokens(asked.untrained, asked.rows, budget),
    )
    sizes = [size for name in _NAMES if isinstance(size := text.get(name), int)]
    if len(sizes) < len(_NAMES) or not goes_flat(str(text.get("model_type"))):
        return None
    weights = sum(path.stat().st_size // 2 for path in weight_files(folder))
    hidden, inner, layers, heads = sizes
    kept = heads * min(longest, KEPT_LENGTH)
    per_token = layers * (24 * hidden + 8 * inner + kept) * width
    scores = 4 * heads * longest * longest * width
    rows = DATA_BYTES * asked.data_tokens
    return weights * _PER_WEIGHT[adapter] + 2 * tokens * per_token + scores + rows


def plainly_fits_here(folder: Path, asked: Asked, *, device: str, adapter: bool) -> bool:
    """True where a run on this processor takes less than half of what is free, whatever it does.

    False wherever that is not plain: a model that is large, a machine that may have a GPU.
    """
    room = least_room()
    if device not in ("auto", "cpu") or room is None:
        return False
    if device == "auto" and any(Path("/dev").glob("nvidia[0-9]*")):
        return False
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        text = config.get("text_config") or config
        most = most_bytes(
            text,
            folder,
            asked,
            asked.tokens or MICRO_BATCH_TOKENS["cpu"],
            adapter=adapter,
            width=_WIDEST,
        )
    except (OSError, ValueError, AttributeError):
        return False
    return most is not None and most + PROCESS_BYTES < room // 2 // asked.processes


def least_room() -> int | None:
    """What a run may take of this machine's memory, of what is free of it now; None where unknown."""
    total = machine_bytes()
    if total is None:
        return None
    free = free_room(total, 0)
    return round(CPU_SHARE * total) if free is None else free


def free_room(total: int, own: int) -> int | None:
    """What a run may take of the memory that is free now, in whole steps; None where unknown.

    `own` is what this process has of it already. A part of what is free is left to the system.
    """
    free = free_bytes()
    if free is None:
        return None
    left = free + own - round(_LEFT_SHARE * total)
    return max(0, min(left, round(CPU_SHARE * total)) // _STEP * _STEP)
