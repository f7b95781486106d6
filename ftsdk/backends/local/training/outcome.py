"""How a training ends: stopped, failed, and the totals that its outcome reports."""

from __future__ import annotations

import errno
import resource
import sys
from typing import Any

from ftsdk.backends.local.runs.crash_report import HINT_DISK, HINT_MEMORY, kind_of_text
from ftsdk.backends.local.training.checkpoint import TrainState
from ftsdk.errors import FtsdkError


class Failed(Exception):
    """The run cannot continue; `error` is the error record of its outcome."""

    def __init__(self, message: str, kind: str, hint: str = "", **facts: Any) -> None:
        super().__init__(message)
        self.error = {"kind": kind, "hint": hint, **facts}


class StartAgain(Exception):
    """The group is to start again from the last checkpoint, with so many tokens at once."""

    def __init__(self, tokens: int) -> None:
        super().__init__(f"Memory ran out; the next start takes {tokens:,} tokens at once.")


class Stopped(Exception):
    """The run was asked to stop: `cancelled`, or interrupted so that it can be resumed."""

    def __init__(self, cancelled: bool) -> None:
        super().__init__("cancelled" if cancelled else "interrupted")
        self.cancelled = cancelled


def totals(state: TrainState) -> dict[str, Any]:
    """The totals that every outcome reports: steps, tokens, seconds, and peak memory in bytes."""
    return {
        "steps": state.step,
        "trained_tokens": state.trained_tokens,
        "train_s": round(state.train_s, 3),
        **_peak_memory(),
    }


def _peak_memory() -> dict[str, int]:
    """Peak memory of this process in bytes: of the machine, and of a GPU if one is used."""
    import torch

    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    peak = {"peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        peak["peak_gpu_bytes"] = torch.cuda.max_memory_allocated()
    return peak


def failure(error: Exception) -> tuple[str, dict[str, Any]]:
    """Return one sentence and the error record (`kind`, `hint`, …) for an exception of the trainer."""
    if isinstance(error, Failed):
        return str(error), error.error
    text = f"{type(error).__name__}: {error}"
    kind = kind_of_text(text)
    if isinstance(error, MemoryError) or kind == "out_of_memory":
        first_line = text.partition("\n")[0]
        return f"The trainer ran out of memory ({first_line[:200]}).", {
            "kind": "out_of_memory",
            "hint": HINT_MEMORY,
        }
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if full or kind == "disk_full":
        return "The disk is full; the last checkpoint is complete.", {
            "kind": "disk_full",
            "hint": HINT_DISK,
        }
    if isinstance(error, FtsdkError):
        return error.what, {"kind": error.code, "hint": error.hint, "where": error.where}
    return f"The trainer failed: {text}", {"kind": "exit", "hint": "read trainer.log"}
