"""Files of the OpenAI double: uploads in one call or in parts, and their contents."""

from __future__ import annotations

import hashlib
from typing import Any

from ftsdk.testing.lab.base import Double, route
from ftsdk.testing.lab.messages import Reply, Request
from ftsdk.testing.lab.openai.request_checks import refuse
from ftsdk.util.clock import Clock

_MAX_FILE_BYTES = {"fine-tune": 512 * 1024 * 1024, "batch": 200 * 1024 * 1024}
_PART_BYTES = 64 * 1024 * 1024


class OpenAIFiles(Double):
    """`/files` and `/uploads`. A file is `processed` after `processing_s` seconds."""

    def __init__(self, *, clock: Clock | None = None, port: int = 0) -> None:
        super().__init__(clock=clock, port=port)
        self.processing_s = 0.0
        self.files: dict[str, dict[str, Any]] = {}
        self.uploads: dict[str, dict[str, Any]] = {}

    # --- files ---

    @route("POST", "/files")
    def create_file(self, request: Request) -> Any:
        """Upload a file as a multipart form."""
        parts = request.parts()
        if "file" not in parts or "purpose" not in parts:
            missing = "file" if "file" not in parts else "purpose"
            raise refuse(400, f"'{missing}' is a required property", param=missing)
        file, purpose = parts["file"], parts["purpose"].text
        return self._new_file(file.filename or "upload", file.content, purpose)

    def _new_file(self, filename: str, content: bytes, purpose: str) -> dict[str, Any]:
        if purpose not in _MAX_FILE_BYTES:
            raise refuse(400, f"'{purpose}' is not one of ['fine-tune', 'batch']", param="purpose")
        if not filename.endswith(".jsonl"):
            raise refuse(400, "Invalid extension. Supported formats: jsonl", param="file")
        if not content:
            raise refuse(400, "File is empty.", param="file")
        if len(content) > _MAX_FILE_BYTES[purpose]:
            raise refuse(413, "The file is too large.", code="file_too_large")
        return self._file_object(self._store(filename, content, purpose))

    def _store(self, filename: str, content: bytes, purpose: str) -> dict[str, Any]:
        file_id = self.new_id("file-")
        file: dict[str, Any] = {
            "id": file_id,
            "filename": filename,
            "purpose": purpose,
            "content": content,
            "created": self.now(),
        }
        self.files[file_id] = file
        return file

    def _file_object(self, file: dict[str, Any]) -> dict[str, Any]:
        age = (self.now() - file["created"]).total_seconds()
        return {
            "object": "file",
            "id": file["id"],
            "bytes": len(file["content"]),
            "created_at": int(file["created"].timestamp()),
            "filename": file["filename"],
            "purpose": file["purpose"],
            "status": "processed" if age >= self.processing_s else "uploaded",
        }

    @route("GET", "/files")
    def list_files(self, request: Request) -> Any:
        """Return a page of files, newest first."""
        purpose = request.first("purpose")
        found = [
            self._file_object(file)
            for file in reversed(self.files.values())
            if purpose in (None, file["purpose"])
        ]
        page, more = page_of(found, request, 10_000, self.page_size)
        ends = {
            "first_id": page[0]["id"] if page else "",
            "last_id": page[-1]["id"] if page else "",
        }
        return {"object": "list", "data": page, "has_more": more, **ends}

    def _file(self, file_id: str) -> dict[str, Any]:
        if file_id not in self.files:
            raise refuse(404, f"No such File object: {file_id}", param="id")
        return self.files[file_id]

    @route("GET", "/files/{file_id}")
    def get_file(self, request: Request, file_id: str) -> Any:
        """Return one file object."""
        return self._file_object(self._file(file_id))

    @route("GET", "/files/{file_id}/content")
    def file_content(self, request: Request, file_id: str) -> Any:
        """Return the content of one file."""
        return Reply(200, bytes(self._file(file_id)["content"]))

    @route("DELETE", "/files/{file_id}")
    def delete_file(self, request: Request, file_id: str) -> Any:
        """Remove a file."""
        self._file(file_id)
        del self.files[file_id]
        return {"object": "file", "id": file_id, "deleted": True}

    # --- uploads in parts ---

    @route("POST", "/uploads")
    def create_upload(self, request: Request) -> Any:
        """Begin an upload in parts."""
        body = request.json()
        for name in ("filename", "purpose", "bytes", "mime_type"):
            if name not in body:
                raise refuse(400, f"Missing required parameter: '{name}'.", param=name)
        upload = {**body, "id": self.new_id("upload_"), "created": self.now(), "parts": {}}
        upload["status"] = "pending"
        self.uploads[upload["id"]] = upload
        return self._upload_object(upload)

    def _upload_object(self, upload: dict[str, Any]) -> dict[str, Any]:
        created = int(upload["created"].timestamp())
        shape = {
            "object": "upload",
            "id": upload["id"],
            "bytes": upload["bytes"],
            "created_at": created,
            "expires_at": created + 3600,
            "filename": upload["filename"],
            "purpose": upload["purpose"],
            "status": upload["status"],
        }
        return {**shape, "file": upload["file"]} if "file" in upload else shape

    def _upload(self, upload_id: str) -> dict[str, Any]:
        if upload_id not in self.uploads:
            raise refuse(404, f"No such upload: {upload_id}", param="upload_id")
        return self.uploads[upload_id]

    @route("POST", "/uploads/{upload_id}/parts")
    def add_part(self, request: Request, upload_id: str) -> Any:
        """Add one part of at most 64 MB."""
        upload = self._upload(upload_id)
        data = request.parts().get("data")
        if data is None or len(data.content) > _PART_BYTES:
            raise refuse(400, "'data' of at most 64 MB is required", param="data")
        part = self.new_id("part_")
        upload["parts"][part] = data.content
        return {
            "object": "upload.part",
            "id": part,
            "created_at": self.stamp(),
            "upload_id": upload_id,
        }

    @route("POST", "/uploads/{upload_id}/complete")
    def complete_upload(self, request: Request, upload_id: str) -> Any:
        """Join the parts into a file."""
        upload, body = self._upload(upload_id), request.json()
        if upload["status"] != "pending":
            raise refuse(400, f"Upload is {upload['status']}", param="upload_id")
        content = b"".join(upload["parts"][part] for part in body["part_ids"])
        if len(content) != upload["bytes"]:
            raise refuse(400, "The parts do not add up to the declared bytes.", param="bytes")
        if body.get("md5") not in (None, hashlib.md5(content, usedforsecurity=False).hexdigest()):
            raise refuse(400, "The checksum does not match.", param="md5")
        upload["status"] = "completed"
        upload["file"] = self._file_object(
            self._store(upload["filename"], content, upload["purpose"])
        )
        return self._upload_object(upload)

    @route("POST", "/uploads/{upload_id}/cancel")
    def cancel_upload(self, request: Request, upload_id: str) -> Any:
        """Cancel an upload."""
        upload = self._upload(upload_id)
        upload["status"] = "cancelled"
        return self._upload_object(upload)


def page_of(
    everything: list[dict[str, Any]], request: Request, default: int, most: int | None = None
) -> tuple[list[dict[str, Any]], bool]:
    """Return the page after the cursor `after`, of at most `most`, and whether another follows."""
    limit = request.first("limit", str(default)) or ""
    if not limit.isdecimal() or int(limit) < 1:
        raise refuse(400, f"Invalid 'limit': {limit!r}", param="limit")
    start, after = 0, request.first("after")
    if after:
        ids = [one["id"] for one in everything]
        if after not in ids:
            raise refuse(400, f"Invalid 'after': {after!r}", param="after")
        start = ids.index(after) + 1
    size = int(limit) if most is None else min(int(limit), most)
    page = everything[start : start + size]
    return page, start + len(page) < len(everything)
