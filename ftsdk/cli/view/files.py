"""Text that a command writes to a file, or prints for `-`."""

from __future__ import annotations

import sys
from pathlib import Path

from ftsdk.cli.view.formatting import clean
from ftsdk.cli.view.output import say
from ftsdk.errors import StoreError
from ftsdk.util.files import atomic_write_bytes


def write_text(target: str, text: str, what: str, option: str) -> None:
    """Write `text` to the file `target` and report it, or print it byte by byte for `-`.

    `what` names the content in the report (`3 days`). Raises `StoreError`, which names `option`.
    """
    if target == "-":
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode())  # as text, its line ends would be the platform's
        sys.stdout.buffer.flush()
        return
    try:
        atomic_write_bytes(Path(target), text.encode(), mode=0o644)
    except OSError as error:
        raise StoreError(
            f"The file cannot be written: {error.strerror}",
            where=target,
            hint=f"{option} with another path",
        ) from error
    say(f"{what} in {clean(target)}")
