"""Uploaded files: private files in one folder, each with a small record beside it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from ftsdk.serve.problems import Problem
from ftsdk.util.clock import Clock
from ftsdk.util.files import atomic_write_json, make_private_folder
from ftsdk.util.ids import new_job_id

_ID = re.compile(r"file-[0-9A-Z]{26}")
_SUFFIXES = (".jsonl", ".json", ".csv", ".parquet", ".zst", ".gz")


class Uploads:
    """The files of one server."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder, self._clock = folder, clock

    async def keep(self, name: str, purpose: str, pieces: AsyncIterator[bytes]) -> dict[str, Any]:
        """Write the pieces to a new file; returns its document. Nothing is left of a broken upload."""
        make_private_folder(self._folder)
        file_id = f"file-{new_job_id(self._clock.now()).removeprefix('ftj_')}"
        suffix = next((one for one in _SUFFIXES if name.lower().endswith(one)), ".jsonl")
        path = self._folder / f"{file_id}{suffix}"
        size = 0
        try:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
                async for piece in pieces:
                    size += out.write(piece)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        document = {
            "id": file_id,
            "object": "file",
            "bytes": size,
            "created_at": int(self._clock.now().timestamp()),
            "filename": name,
            "purpose": purpose,
            "status": "processed",
        }
        atomic_write_json(self._record(file_id), {**document, "path": path.name})
        return document

    def get(self, file_id: str) -> dict[str, Any]:
        """The document of a file. Raises `Problem` for one that is not here."""
        record = self._read(file_id)
        return {
            name: value for name, value in record.items() if name != "path" and value is not None
        }

    def path(self, file_id: str, *, param: str | None = None) -> Path:
        """Where the bytes of a file are. Raises `Problem` for one that is not here."""
        return self._folder / Path(str(self._read(file_id, param)["path"])).name

    def delete(self, file_id: str) -> None:
        """Remove a file. Raises `Problem` for one that is not here."""
        path = self.path(file_id)
        self._record(file_id).unlink()
        path.unlink(missing_ok=True)

    def list(self) -> Iterator[dict[str, Any]]:
        """Yield the documents of all files, newest first."""
        for path in sorted(self._folder.glob("file-*.meta"), reverse=True):
            yield self.get(path.stem)

    def _record(self, file_id: str) -> Path:
        return self._folder / f"{file_id}.meta"

    def _read(self, file_id: str, param: str | None = None) -> dict[str, Any]:
        path = self._record(file_id)
        if not _ID.fullmatch(file_id) or not path.is_file():
            raise Problem(404, f"There is no file {file_id!r}.", code="not_found", param=param)
        found: dict[str, Any] = json.loads(path.read_bytes())
        return found
