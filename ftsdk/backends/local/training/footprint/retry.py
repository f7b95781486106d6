"""What to do where a step runs out of memory."""

from __future__ import annotations

import gc

from ftsdk.backends.local.runs.crash_report import kind_of_text


def lacks_memory(error: Exception) -> bool:
    """True for the error of an allocator: of torch on a GPU or a CPU, or of Python."""
    text = f"{type(error).__name__}: {error}"
    return isinstance(error, MemoryError) or kind_of_text(text) == "out_of_memory"


def release() -> None:
    """Free what the failed pass has left, and give a GPU's unused memory back."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
