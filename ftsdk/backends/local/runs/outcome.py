"""`outcome.json`: how a run ended. It is the last file that a run writes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftsdk.backends.local.runs.events import utc_now
from ftsdk.backends.local.runs.files import write_private
from ftsdk.util.files import atomic_write_json

OUTCOME_FILE = "outcome.json"
RESERVE_FILE = "reserve"
EXIT_INTERRUPTED = 75
"""Exit status of a trainer that got SIGTERM, wrote a checkpoint, and can be resumed."""

_RESERVE_BYTES = 256 * 1024


def ended(outcome: str, message: str, **facts: Any) -> dict[str, Any]:
    """An outcome (`succeeded`, `failed` or `cancelled`) with every field that readers expect."""
    return {
        "outcome": outcome,
        "message": message,
        "error": None,
        "exit_code": None,
        "signal": None,
        "log_tail": [],
        "finished_at": utc_now(),
        "trained_tokens": 0,
        "steps": 0,
        "train_s": 0.0,
        **facts,
    }


def reserve_space(run: Path) -> None:
    """Set 256 KiB aside, so that an outcome can still be written when the disk is full."""
    if not (run / RESERVE_FILE).exists():
        write_private(run / RESERVE_FILE, b"\0" * _RESERVE_BYTES)


def write_outcome(run: Path, outcome: Mapping[str, Any]) -> None:
    """Write the outcome of the run directory `run`; the reserved space makes room for it."""
    (run / RESERVE_FILE).unlink(missing_ok=True)
    atomic_write_json(run / OUTCOME_FILE, outcome)
