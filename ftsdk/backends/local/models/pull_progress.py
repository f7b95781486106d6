"""Progress of a download that somebody else does, told by the growth of a folder."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["OnProgress", "PullProgress", "watch_growth"]

Stage = Literal["waiting", "download", "unpack", "convert", "verify", "done"]


@dataclass(frozen=True)
class PullProgress:
    """How far a pull is: bytes done of bytes expected (None where nobody knows) in this stage."""

    model: str
    stage: Stage
    done_bytes: int = 0
    total_bytes: int | None = None


OnProgress = Callable[[PullProgress], None]


def folder_bytes(folder: Path) -> int:
    """Bytes of all regular files below `folder` now; files that vanish meanwhile count nothing."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                stat = Path(root, name).lstat()
                total += stat.st_size
    return total


@contextlib.contextmanager
def watch_growth(
    folder: Path, model: str, total_bytes: int | None, tell: OnProgress, *, every_s: float = 0.3
) -> Iterator[None]:
    """While the block runs, tell every `every_s` how much `folder` has grown.

    `tell` is called from another thread, never after the block has ended. The last call says
    `total_bytes`, when they are known and the block did not raise.
    """
    before, stop = folder_bytes(folder), threading.Event()

    def report(done: int) -> None:
        capped = done if total_bytes is None else min(done, total_bytes)
        tell(PullProgress(model, "download", max(capped, 0), total_bytes))

    def look() -> None:
        while not stop.wait(every_s):
            report(folder_bytes(folder) - before)

    report(0)
    watcher = threading.Thread(target=look, name="ftsdk-pull-progress", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()
    report(folder_bytes(folder) - before if total_bytes is None else total_bytes)
