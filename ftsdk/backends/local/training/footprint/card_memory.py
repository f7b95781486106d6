"""The free memory of an NVIDIA GPU, as its driver's tool says it; without torch."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

_QUERY = ("--query-gpu=index,uuid,memory.free", "--format=csv,noheader,nounits")
_TIMEOUT_S = 10


def free_on_card(device: str) -> int | None:
    """The bytes that are free now on the GPU that torch calls `device`; None where it is not known."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    try:
        done = subprocess.run(  # a fixed command, its path from PATH
            [tool, *_QUERY], capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_S,
            check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    cards = [[word.strip() for word in line.split(",")] for line in done.stdout.split("\n")]
    visible = _visible([card for card in cards if len(card) == 3])
    place = int(device.partition(":")[2] or 0)
    free = visible[place][2] if place < len(visible) else ""
    return int(free) << 20 if free.isdigit() else None


def _visible(cards: Sequence[list[str]]) -> list[list[str]]:
    """The cards that a program here sees, in its order: by number, or by the start of their name."""
    names = os.environ.get("CUDA_VISIBLE_DEVICES")
    if names is None:
        return list(cards)
    found = []
    for name in map(str.strip, names.split(",")):
        match = [c for c in cards if c[0] == name or (not name.isdigit() and c[1].startswith(name))]
        if not name or not match:  # CUDA ignores it and all after it
            break
        found.append(match[0])
    return found
