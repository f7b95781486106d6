"""From an address of weights to a folder: fetched, checked, unpacked, with the handle beside them."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ftsdk.artifacts.archive import unpack
from ftsdk.artifacts.download import Source, fetch
from ftsdk.types.model import ModelHandle
from ftsdk.util.clock import Clock
from ftsdk.util.files import atomic_write_json, make_private_folder

MAX_BYTES = 1 << 40
"""More than any model that is trained today; a stream without end stops here."""


def download_weights(
    folder: Path, source: Source, handle: ModelHandle, *, home: Path, clock: Clock
) -> Path:
    """Fetch the archive at `source` and unpack it into `folder`, which gets an `ftsdk.json`, too.

    Raises what `fetch` and `unpack` raise; the archive itself never stays.
    """
    place = make_private_folder(home / "downloads")
    with tempfile.TemporaryDirectory(dir=place, prefix=".weights-") as folder_name:
        archive = Path(folder_name) / "archive"
        fetch(source, archive, clock=clock, max_bytes=MAX_BYTES)
        unpack(archive, folder)
    facts = handle.model_dump(mode="json", exclude={"raw"})
    atomic_write_json(folder / "ftsdk.json", facts, mode=0o644)
    return folder
