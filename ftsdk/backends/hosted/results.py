"""Download trained weights into a folder."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ftsdk.artifacts.archive import unpack
from ftsdk.artifacts.download import Source, download
from ftsdk.artifacts.partial_file import PartialFile, remove_old
from ftsdk.errors import StoreError
from ftsdk.types.model import ModelHandle
from ftsdk.util.clock import Clock
from ftsdk.util.files import atomic_write_json, make_private_folder
from ftsdk.util.locks import file_lock

MAX_BYTES = 1 << 40
"""More than any model trained today; an endless stream stops here."""
_KEPT = dt.timedelta(days=30)
"""How long the beginning of a download waits to be continued."""


def download_weights(
    folder: Path, source: Source, handle: ModelHandle, *, home: Path, clock: Clock, kind: str = ""
) -> Path:
    """Download the archive at `source`, unpack it into `folder` and return the folder.

    What arrives is kept in `home/downloads` until it is whole, so that a download that was interrupted
    goes on. `kind` names one of several archives of a model. The handle is stored beside the weights as
    `ftsdk.json`. The archive is not kept. Raises what `download` and `unpack` raise, and `StoreError`
    while another process downloads the same.
    """
    downloads = make_private_folder(home / "downloads")
    remove_old(downloads, before=(clock.now() - _KEPT).timestamp())
    name = _name_of(source, handle, kind)
    with (
        _alone(downloads / f"{name}.lock", handle),
        tempfile.TemporaryDirectory(dir=downloads, prefix=".weights-") as folder_name,
    ):
        archive = Path(folder_name) / "archive"
        part = PartialFile(downloads / f"{name}.part")
        download(source, archive, clock=clock, max_bytes=MAX_BYTES, part=part)
        unpack(archive, folder)
    facts = handle.model_dump(mode="json", exclude={"raw"})
    atomic_write_json(folder / "ftsdk.json", facts, mode=0o644)
    return folder


def _name_of(source: Source, handle: ModelHandle, kind: str) -> str:
    """A name for the archive that is the same when its address is signed again."""
    parts = "\n".join((handle.provider, handle.id, handle.job_id or "", kind, source.shown))
    return hashlib.sha256(parts.encode()).hexdigest()[:32]


@contextlib.contextmanager
def _alone(path: Path, handle: ModelHandle) -> Iterator[None]:
    with file_lock(path, wait_s=0) as locked:
        if locked is None:
            raise StoreError(
                "Another process is downloading this model",
                where=f"model {handle.id}",
                hint="wait for it; afterwards the download here starts again",
            )
        yield
