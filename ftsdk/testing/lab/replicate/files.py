"""Files of the Replicate double."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping
from typing import Any

from ftsdk.testing.lab.base import Double, route
from ftsdk.testing.lab.messages import Reply, Request
from ftsdk.testing.lab.replicate.request_checks import iso, problem

_MAX_FILE_BYTES = 100_000_000


class ReplicateFiles(Double):
    """`/v1/files`; a mixin of `ReplicateDouble`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.files: dict[str, dict[str, Any]] = {}

    @route("POST", "/v1/files")
    def create_file(self, request: Request) -> Any:
        """Store a file of at most 100 MB."""
        part = request.parts().get("content")
        if part is None:
            raise problem(400, "Bad request", "Missing content", field="content")
        if len(part.content) > _MAX_FILE_BYTES:
            raise problem(413, "Too large", "Files are at most 100 MB")
        file_id = self.new_id("", 26)
        self.files[file_id] = {
            "id": file_id,
            "name": part.filename or "upload",
            "content_type": part.content_type or "application/octet-stream",
            "content": part.content,
            "created": self.now(),
        }
        return Reply(201, self._file_object(self.files[file_id]))

    def _file_object(self, file: Mapping[str, Any]) -> dict[str, Any]:
        digest = hashlib.sha256(file["content"]).hexdigest()
        return {
            "id": file["id"],
            "name": file["name"],
            "content_type": file["content_type"],
            "size": len(file["content"]),
            "etag": digest[:32],
            "checksums": {"sha256": digest},
            "metadata": {},
            "created_at": iso(file["created"]),
            "expires_at": iso(file["created"] + dt.timedelta(days=1)),
            "urls": {"get": f"{self.origin}/v1/files/{file['id']}"},
        }

    @route("GET", "/v1/files")
    def list_files(self, request: Request) -> Any:
        """Return all files, newest first."""
        found = [self._file_object(file) for file in reversed(self.files.values())]
        return {"previous": None, "next": None, "results": found}

    @route("GET", "/v1/files/{file_id}")
    def get_file(self, request: Request, file_id: str) -> Any:
        """Return one file object."""
        if file_id not in self.files:
            raise problem(404, "Not found", "File not found")
        return self._file_object(self.files[file_id])
