"""Download trained weights into a folder."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ftsdk.artifacts.archive import unpack
from ftsdk.artifacts.download import Source, download
from ftsdk.types.model import ModelHandle
from ftsdk.util.clock import Clock
from ftsdk.util.files import atomic_write_json, make_private_folder

MAX_BYTES = 1 << 40
"""More than any model trained today; an endless stream stops here."""


def download_weights(
    folder: Path, source: Source, handle: ModelHandle, *, home: Path, clock: Clock
) -> Path:
    """Download the archive at `source`, unpack it into `folder` and return the folder.

    The handle is stored beside the weights as `ftsdk.json`. The archive is not kept. Raises what
    `download` and `unpack` raise.
    """
    downloads = make_private_folder(home / "downloads")
    with tempfile.TemporaryDirectory(dir=downloads, prefix=".weights-") as folder_name:
        archive = Path(folder_name) / "archive"
        download(source, archive, clock=clock, max_bytes=MAX_BYTES)
        unpack(archive, folder)
    facts = handle.model_dump(mode="json", exclude={"raw"})
    atomic_write_json(folder / "ftsdk.json", facts, mode=0o644)
    return folder
