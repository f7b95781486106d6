"""Let this process give freed memory back to the system at once."""

from __future__ import annotations

import ctypes

from ftsdk.backends.local.training.footprint.allocators import LEAN_FROM

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def give_memory_back() -> bool:
    """Give each large tensor a mapping of its own from now on; False where the libc cannot."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_THRESHOLD, LEAN_FROM) and mallopt(_TRIM_THRESHOLD, LEAN_FROM))
