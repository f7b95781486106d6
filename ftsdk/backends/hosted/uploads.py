"""Rows as files to upload, and a record of what was uploaded, so that it is not sent twice.

The record is a small JSON file per account (provider, origin and a keyed hash of the key) in
`home/uploads`. It is only a hint: before a recorded file is used, the backend asks the provider
whether it still exists.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ftsdk.backends.hosted.account import account_secret
from ftsdk.backends.hosted.api_keys import BoundKey
from ftsdk.dataset import Dataset
from ftsdk.util.files import atomic_write_json, make_private_folder
from ftsdk.util.locks import file_lock

_MOST = 5_000
_TEMPORARY, _IN_USE = ".upload-", ".in-use"


@contextlib.contextmanager
def temporary_folder(home: Path) -> Iterator[Path]:
    """Yield a private folder for the files of one upload; it is removed afterwards.

    Those that a killed process left are removed first: they have rows.
    """
    folder = make_private_folder(home / "uploads")
    _remove_left(folder)
    made = tempfile.TemporaryDirectory(dir=folder, prefix=_TEMPORARY, ignore_cleanup_errors=True)
    with made as name, file_lock(Path(name) / _IN_USE):
        place = Path(name)
        if (place / _IN_USE).exists():
            yield place
            return
    # Another process took the folder for one that was left, between making it and locking it.
    with temporary_folder(home) as place:
        yield place


def _remove_left(folder: Path) -> None:
    """Remove the folders that no process has locked; one that was never locked has no files."""
    for mark in folder.glob(f"{_TEMPORARY}*/{_IN_USE}"):
        with (
            contextlib.suppress(FileNotFoundError),  # it ended, or another process removes it
            file_lock(mark, wait_s=0.0) as free,
        ):
            if free is not None:
                shutil.rmtree(mark.parent)


@contextlib.contextmanager
def rows_file(rows: Dataset, home: Path) -> Iterator[Path]:
    """Yield the rows as a JSONL file: the one they are stored in, else a temporary one."""
    name = f"{rows.sha256}.jsonl"
    if rows.path is not None and rows.path.name == name:
        yield rows.path
        return
    with temporary_folder(home) as place:
        yield rows.write_jsonl(place / name)


class Uploads:
    """The files one account has, by the SHA-256 of their bytes and their purpose."""

    def __init__(self, home: Path, provider: str, key: BoundKey) -> None:
        place = re.sub(r"[^a-z0-9.-]+", "-", key.origin.lower()).strip("-")
        account = key.keyed_hash(account_secret(home), key.origin)
        self._path = home / "uploads" / f"{provider}-{place}-{account}.json"

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except ValueError:
            return {}  # unreadable: upload again
        return found if isinstance(found, dict) else {}

    def get(self, sha256: str, purpose: str = "train") -> str | None:
        """Return the provider's file id for these bytes, or None."""
        found = self._read().get(f"{purpose}:{sha256}")
        return found if isinstance(found, str) else None

    def keep(self, sha256: str, file_id: str, purpose: str = "train") -> None:
        """Record an upload.

        Two processes at once may lose each other's record; that costs one more upload.
        """
        known = self._read()
        known[f"{purpose}:{sha256}"] = file_id
        make_private_folder(self._path.parent)
        atomic_write_json(self._path, dict(list(known.items())[-_MOST:]))
