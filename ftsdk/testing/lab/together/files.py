"""Files of the Together double: uploads, and the provider's check of the rows."""

from __future__ import annotations

import hashlib
from typing import Any

from ftsdk.testing.lab import fake_training
from ftsdk.testing.lab.base import Double, route
from ftsdk.testing.lab.messages import Refusal, Reply, Request
from ftsdk.testing.lab.together.request_checks import refuse
from ftsdk.testing.lab.together.token_checks import rows_of_parquet, tokenised_fault


class TogetherFiles(Double):
    """`/v1/files` and its storage; a mixin of `TogetherDouble`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.processing_s = 0.5
        self.files: dict[str, dict[str, Any]] = {}

    @route("POST", "/v1/files")
    def announce_file(self, request: Request) -> Any:
        """Register a file by its checksum; redirect to the upload URL, or 409 when it is already stored."""
        fields = {name: part.text for name, part in request.parts().items()}
        for name in ("purpose", "file_name", "file_type", "checksum"):
            if not fields.get(name):
                raise refuse(400, f"{name} is required", param=name)
        file_id = self._register(fields)
        url = f"{self.origin}/storage/put/{file_id}?X-Amz-Signature=lab"
        return Reply(302, b"", {"Location": url, "X-Together-File-Id": file_id})

    def _register(self, fields: dict[str, str]) -> str:
        for file in self.files.values():
            if file["checksum"] == fields["checksum"] and file["complete"]:
                raise Refusal(409, {"file_id": file["id"]})
        file_id = self.new_id("file-")
        self.files[file_id] = {
            "id": file_id,
            "filename": fields["file_name"],
            "purpose": fields["purpose"],
            "file_type": fields["file_type"],
            "checksum": fields["checksum"],
            "content": b"",
            "rows": b"",
            "parts": {},
            "complete": False,
            "created": self.now(),
        }
        return file_id

    @route("PUT", "/storage/put/{file_id}")
    def store(self, request: Request, file_id: str) -> Any:
        """Store the content at the presigned URL; requests here have no API key."""
        if file_id not in self.files or request.first("X-Amz-Signature") != "lab":
            return Reply(403, "<Error><Code>AccessDenied</Code></Error>")
        part = request.first("partNumber")
        if part is None:
            self.files[file_id]["content"] = request.body
            return Reply(200, b"")
        self.files[file_id]["parts"][int(part)] = request.body
        return Reply(200, b"", {"ETag": f'"{hashlib.sha256(request.body).hexdigest()[:32]}"'})

    @route("POST", "/v1/files/{file_id}/preprocess")
    def preprocess(self, request: Request, file_id: str) -> Any:
        """End the upload and begin the check."""
        return self._file_object(self._finish(self._file(file_id)))

    def _finish(self, file: dict[str, Any]) -> dict[str, Any]:
        if hashlib.sha256(file["content"]).hexdigest() != file["checksum"]:
            raise refuse(400, "The checksum does not match", param="checksum")
        content = file["content"]
        rows = rows_of_parquet(content) if file["file_type"] == "parquet" else content
        file |= {"complete": True, "created": self.now(), "rows": rows}
        return file

    @route("POST", "/v1/files/multipart/initiate")
    def initiate(self, request: Request) -> Any:
        """Begin an upload in parts."""
        body = request.json()
        file_id = self._register({k: str(v) for k, v in body.items()})
        base = f"{self.origin}/storage/put/{file_id}?X-Amz-Signature=lab&partNumber="
        parts = [
            {"PartNumber": n, "URL": f"{base}{n}", "Headers": {}}
            for n in range(1, int(body["num_parts"]) + 1)
        ]
        return {"upload_id": f"up-{file_id}", "file_id": file_id, "parts": parts}

    @route("POST", "/v1/files/multipart/complete")
    def complete(self, request: Request) -> Any:
        """Join the parts into a file."""
        body = request.json()
        file = self._file(str(body.get("file_id")))
        numbers = [one["part_number"] for one in body["parts"]]
        file["content"] = b"".join(file["parts"][number] for number in sorted(numbers))
        return {"file": self._file_object(self._finish(file))}

    @route("POST", "/v1/files/multipart/abort")
    def abort(self, request: Request) -> Any:
        """Cancel an upload in parts."""
        self.files.pop(str(request.json().get("file_id")), None)
        return {"message": "aborted"}

    def _file(self, file_id: str) -> dict[str, Any]:
        if file_id not in self.files:
            raise refuse(404, f"File {file_id} not found", kind="not_found_error")
        return self.files[file_id]

    def _processing(self, file: dict[str, Any]) -> tuple[str, dict[str, Any] | None]:
        """Return the status of the check, and its report once it is finished."""
        if not file["complete"]:
            return "PENDING", None
        age = (self.now() - file["created"]).total_seconds()
        if age < self.processing_s:
            return "QUEUED" if age < self.processing_s / 2 else "RUNNING", None
        content = file["rows"]
        method = "dpo" if b'"preferred_output"' in content[:100_000] else "sft"
        fault = None
        if file["file_type"] == "parquet":
            fault = tokenised_fault(content)
        elif b'"text"' not in content[:20]:
            fault = fake_training.first_fault(content, method=method)
        lines = sum(1 for _ in fake_training.rows_of(content))
        report: dict[str, Any] = {"valid": fault is None, "file_id": file["id"], "nlines": lines}
        if fault is None:
            kind = "PREFERENCE_OPENAI" if method == "dpo" else "CONVERSATION"
            # The name of the format of tokenised rows is not documented.
            extra = {} if file["file_type"] == "parquet" else {"dataset_format": kind}
            return "COMPLETED", {**report, **extra}
        message = f"Error in line {fault[0]}: {fault[1]}" if fault[0] else fault[1]
        return "INVALID_FORMAT", {**report, "error": message, "error_type": "INVALID_FORMAT"}

    def _file_object(self, file: dict[str, Any]) -> dict[str, Any]:
        status, report = self._processing(file)
        shape = {
            "object": "file",
            "id": file["id"],
            "bytes": len(file["content"]),
            "created_at": int(file["created"].timestamp()),
            "filename": file["filename"],
            "purpose": file["purpose"],
            "FileType": file["file_type"],
            "Processed": status == "COMPLETED",
            "processing_status": status,
        }
        return shape if report is None else {**shape, "validation_report": report}

    @route("GET", "/v1/files")
    def list_files(self, request: Request) -> Any:
        """Return all files, newest first."""
        return {"data": [self._file_object(file) for file in reversed(self.files.values())]}

    @route("GET", "/v1/files/{file_id}")
    def get_file(self, request: Request, file_id: str) -> Any:
        """Return one file object."""
        return self._file_object(self._file(file_id))

    @route("DELETE", "/v1/files/{file_id}")
    def delete_file(self, request: Request, file_id: str) -> Any:
        """Delete a file."""
        self._file(file_id)
        del self.files[file_id]
        return {"id": file_id, "deleted": True}
