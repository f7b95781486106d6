"""Explain how a trainer died, and what the user can do about it; standard library only."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HINT_MEMORY = (
    'lower the option micro_batch_tokens, or max_length, use quantize="nf4", '
    "train an adapter instead of all weights, or set the option gradient_checkpointing"
)
HINT_DISK = "free some space, or set FTSDK_HOME to a disk with room, then `ftsdk resume`"

_MEMORY_TEXT = re.compile(
    r"out of memory|can't allocate memory|not enough memory|cannot allocate memory|\bMemoryError\b"
    r"|std::bad_alloc|CUBLAS_STATUS_ALLOC_FAILED",
    re.IGNORECASE,
)
_DISK_TEXT = re.compile(r"No space left on device|os error 28\b|Disk quota exceeded", re.IGNORECASE)


def kind_of_text(text: str) -> str | None:
    """`out_of_memory` or `disk_full` when an error text of any library says so; else None."""
    if _MEMORY_TEXT.search(text):
        return "out_of_memory"
    if _DISK_TEXT.search(text):
        return "disk_full"
    return None


class OomCounters:
    """Counts the processes that the kernel killed for lack of memory, here and on the machine."""

    def __init__(self, cgroup: Path | None = None, vmstat: Path = Path("/proc/vmstat")) -> None:
        self._files = [path for path in (cgroup or _own_cgroup(), vmstat) if path is not None]
        self._before = self._read()

    def _read(self) -> dict[Path, int]:
        counts = {}
        for path in self._files:
            try:
                text = path.read_text()
            except OSError:  # not on Linux, or not readable
                continue
            found = re.search(r"^oom_kill (\d+)$", text, re.MULTILINE)
            if found:
                counts[path] = int(found.group(1))
        return counts

    def rose(self) -> bool:
        """True when the kernel killed a process for lack of memory since this object was created."""
        return any(count > self._before.get(path, count) for path, count in self._read().items())


def _own_cgroup() -> Path | None:
    try:
        line = Path("/proc/self/cgroup").read_text().strip().split("\n")[-1]
    except OSError:
        return None
    return Path("/sys/fs/cgroup") / line.split(":", 2)[2].lstrip("/") / "memory.events"


def explain_death(
    returncode: int, log_tail: Sequence[str], *, kernel_oom: bool, where: str = "trainer.log"
) -> tuple[str, Mapping[str, Any]]:
    """Return one sentence and the error record for a trainer that died without an outcome.

    `returncode` is that of `subprocess`: negative for a signal. The record has `kind` and `hint`.
    """
    last = next((line for line in reversed(log_tail) if line.strip()), "")
    kind = kind_of_text("\n".join(log_tail[-25:]))
    if returncode < 0:
        name = _signal_name(-returncode)
        if -returncode == signal.SIGKILL and kernel_oom:
            message = f"The kernel killed the trainer for lack of memory ({name})."
            return message, {"kind": "out_of_memory", "hint": HINT_MEMORY}
        message = f"The trainer was killed by signal {-returncode} ({name})."
        if kind == "out_of_memory":
            return f"{message} It had run out of memory.", {"kind": kind, "hint": HINT_MEMORY}
        hint = "`ftsdk resume` continues from the last checkpoint"
        if -returncode == signal.SIGKILL:
            hint += "; if nobody killed it, the machine may be short of memory: " + HINT_MEMORY
        return message, {"kind": "signal", "hint": hint}
    message = f"The trainer ended with exit code {returncode}" + (f": {last}" if last else ".")
    if kind == "out_of_memory":
        return f"The trainer ran out of memory: {last}", {"kind": kind, "hint": HINT_MEMORY}
    if kind == "disk_full":
        return f"The disk is full: {last}", {"kind": kind, "hint": HINT_DISK}
    return message, {"kind": "exit", "hint": f"read {where}, then `ftsdk resume`"}


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # real-time signals have no name
        return f"signal {number}"
