"""How far an upload is, told to whoever listens: a bar, a notebook, nobody.

```python
def show(sent: int, size: int) -> None:
    print(f"{sent:,} of {size:,} bytes")

job = client.create_job("train.jsonl", provider="together", on_upload=show)
with on_upload(show):  # the same for whatever uploads in the block
    client.reconcile()
```

The listener is of this thread alone (and of tasks begun in it), so that two jobs that are sent at
once do not tell each other's bytes.
"""

from __future__ import annotations

import contextlib
import contextvars
import io
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

Listener = Callable[[int, int], object]
"""Called with the bytes sent so far and all bytes. The first only grows, but for an upload that
begins anew after a failure, and is never below zero or above the second."""

_LISTENER: contextvars.ContextVar[Listener | None] = contextvars.ContextVar(
    "ftsdk_upload_listener", default=None
)
_log = logging.getLogger("ftsdk.upload")


@contextlib.contextmanager
def on_upload(listener: Listener | None) -> Iterator[None]:
    """While the block runs, tell `listener` how far each upload of this thread is.

    None leaves it to whoever listens already.
    """
    before = _LISTENER.set(listener or _LISTENER.get())
    try:
        yield
    finally:
        _LISTENER.reset(before)


def current_listener() -> Callable[[int, int], None]:
    """Where to tell the upload that begins now; works from any thread."""
    listener = _LISTENER.get()

    def tell(sent: int, size: int) -> None:
        sent = min(max(sent, 0), size)
        _log.debug("uploaded %d of %d bytes", sent, size)
        if listener is not None:
            listener(sent, size)

    return tell


class CountedFile(io.BufferedReader):
    """A file that tells how much of it was read."""

    def __init__(self, path: Path, tell: Listener) -> None:
        raw = io.FileIO(path)
        super().__init__(raw)
        self._size = path.stat().st_size
        self._job = tell

    def read(self, size: int | None = -1, /) -> bytes:
        """As a file's; the listener hears of it."""
        block = super().read(size)
        if block:
            self._job(self.tell(), self._size)
        return block
