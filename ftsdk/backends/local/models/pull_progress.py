"""Progress of a download that a library does, measured by the growth of a folder."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Stage = Literal["waiting", "download", "unpack", "convert", "verify", "done"]


@dataclass(frozen=True)
class PullProgress:
    """Progress of a pull: bytes done of bytes expected in this stage (None where not known)."""

    model: str
    stage: Stage
    done_bytes: int = 0
    total_bytes: int | None = None


OnProgress = Callable[[PullProgress], None]


def folder_bytes(folder: Path) -> int:
    """The bytes of all files below `folder` now; files removed meanwhile do not count."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                stat = Path(root, name).lstat()
                total += stat.st_size
    return total


@contextlib.contextmanager
def watch_growth(
    folder: Path,
    model: str,
    total_bytes: int | None,
    on_progress: OnProgress,
    *,
    every_s: float = 0.3,
) -> Iterator[None]:
    """Report every `every_s` seconds how much `folder` has grown while the block runs.

    `on_progress` is called from another thread, never after the block has ended. When the block did
    not raise, the last call reports `total_bytes`, where they are known.
    """
    before, stop = folder_bytes(folder), threading.Event()

    def report(done: int) -> None:
        capped = done if total_bytes is None else min(done, total_bytes)
        on_progress(PullProgress(model, "download", max(capped, 0), total_bytes))

    def watch() -> None:
        while not stop.wait(every_s):
            report(folder_bytes(folder) - before)

    report(0)
    watcher = threading.Thread(target=watch, name="ftsdk-pull-progress", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()
    report(folder_bytes(folder) - before if total_bytes is None else total_bytes)
