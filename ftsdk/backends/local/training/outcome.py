"""How a run ends, and what its owner is told of it."""

from __future__ import annotations

import errno
import sys
from collections.abc import Mapping
from typing import Any

from ftsdk.backends.local.runs.crash_report import HINT_DISK, HINT_MEMORY, kind_of_text
from ftsdk.backends.local.runs.run_dir import RunDir
from ftsdk.backends.local.training.checkpoint import TrainState
from ftsdk.errors import FtsdkError
from ftsdk.util import files

__all__ = ["Failed", "Stopped", "conclude", "failure", "totals"]


class Failed(Exception):
    """The run cannot go on; carries the outcome's message and error record."""

    def __init__(self, message: str, kind: str, hint: str = "", **facts: Any) -> None:
        super().__init__(message)
        self.error = {"kind": kind, "hint": hint, **facts}


class Stopped(Exception):
    """Somebody asked the run to stop: `cancelled` for good, or interrupted for now."""

    def __init__(self, cancelled: bool) -> None:
        super().__init__("cancelled" if cancelled else "interrupted")
        self.cancelled = cancelled


def totals(state: TrainState) -> dict[str, Any]:
    """The sums that every outcome tells."""
    return {
        "steps": state.step,
        "trained_tokens": state.trained_tokens,
        "train_s": round(state.train_s, 3),
        **_peak_memory(),
    }


def _peak_memory() -> dict[str, int]:
    """The most memory this process has held, in bytes: of the machine, and of a GPU if one is used."""
    import resource

    import torch

    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    told = {"peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        told["peak_gpu_bytes"] = torch.cuda.max_memory_allocated()
    return told


def failure(error: Exception) -> tuple[str, dict[str, Any]]:
    """What an exception means to the owner of the job: a sentence and an error record."""
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
        return "The disk is full; the last checkpoint is whole.", {
            "kind": "disk_full",
            "hint": HINT_DISK,
        }
    if isinstance(error, FtsdkError):
        return error.what, {"kind": error.code, "hint": error.hint, "where": error.where}
    return f"The trainer failed: {text}", {"kind": "exit", "hint": "read trainer.log"}


def conclude(run: RunDir, outcome: Mapping[str, Any]) -> None:
    """Write the outcome; the reserve makes room for it on a full disk."""
    (run.path / "reserve").unlink(missing_ok=True)
    files.atomic_write_json(run.path / "outcome.json", outcome)
