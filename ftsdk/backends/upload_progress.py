"""Report the progress of uploads to a listener: a progress bar, a notebook, or none.

```python
def show(sent: int, size: int) -> None:
    print(f"{sent:,} of {size:,} bytes")

job = client.create_job("train.jsonl", provider="together", on_upload=show)
with on_upload(show):  # the same for every upload in the block
    client.reconcile()
```

A listener belongs to its thread (and to tasks started in it), so that jobs submitted at the same
time do not report each other's bytes.
"""

from __future__ import annotations

import contextlib
import contextvars
import io
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

Listener = Callable[[int, int], object]
"""Called with the bytes sent so far and the total. The first only grows, except when an upload
starts again after a failure, and is between 0 and the second.
"""

_LISTENER: contextvars.ContextVar[Listener | None] = contextvars.ContextVar(
    "ftsdk_upload_listener", default=None
)
_log = logging.getLogger("ftsdk.upload")


@contextlib.contextmanager
def on_upload(listener: Listener | None) -> Iterator[None]:
    """Report each upload of this thread to `listener` while the block runs.

    None keeps the listener of the surrounding block.
    """
    before = _LISTENER.set(listener or _LISTENER.get())
    try:
        yield
    finally:
        _LISTENER.reset(before)


def current_listener() -> Callable[[int, int], None]:
    """Return the function to report the upload that starts now to; any thread may call it."""
    listener = _LISTENER.get()

    def report(sent: int, size: int) -> None:
        sent = min(max(sent, 0), size)
        _log.debug("uploaded %d of %d bytes", sent, size)
        if listener is not None:
            listener(sent, size)

    return report


class CountedFile(io.BufferedReader):
    """A file that reports how much of it was read."""

    def __init__(self, path: Path, report: Listener) -> None:
        raw = io.FileIO(path)
        super().__init__(raw)
        self._size = path.stat().st_size
        self._report = report

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as a file does, and report the position."""
        block = super().read(size)
        if block:
            self._report(self.tell(), self._size)
        return block
