"""Upload rows: streamed, in parts when large, and only once per account."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from ftsdk.backends.base import Context
from ftsdk.backends.hosted import Uploads, poll, rows_file, scrub, temporary_folder
from ftsdk.backends.openai.transport import Transport
from ftsdk.backends.upload_progress import CountedFile, current_listener
from ftsdk.dataset import Dataset
from ftsdk.errors import BackendError, NotFound, Rejected, Unavailable

Purpose = Literal["fine-tune", "batch"]
_PART_BYTES = 64 << 20
_PROCESSING_S = 1800.0
_LOOK_AT = 1_000
_BLOCK_BYTES = 1 << 20
_FILE_ID = re.compile(r"[\w.-]{3,200}")
_BOM = b"\xef\xbb\xbf"


class Files:
    """Uploads to one service."""

    def __init__(self, transport: Transport, context: Context) -> None:
        self._transport = transport
        self._context = context
        self.part_bytes = _PART_BYTES

    def ready(self, rows: Dataset) -> str:
        """Return the id of a file with these rows that the service has processed.

        Raises `Rejected` when the service rejects the file, `Unavailable` when processing takes
        over half an hour.
        """
        known = Uploads(self._context.home, self._transport.profile.name, self._transport.key())
        purpose = "train-bom" if self._transport.profile.byte_order_mark else "train"
        file_id = known.get(rows.sha256, purpose)
        if file_id is not None and self._has(file_id):
            return self._processed(file_id)
        with rows_file(rows, self._context.home) as path:
            size = path.stat().st_size + (3 if self._transport.profile.byte_order_mark else 0)
            name = f"ftsdk-{rows.sha256[:32]}.jsonl"
            file_id = self._found(name, size)
            if file_id is None:
                file_id = self._transport.retries(lambda: self._sent(path, name, size))
        known.keep(rows.sha256, file_id, purpose)
        return self._processed(file_id)

    def sent(self, path: Path, name: str, purpose: Purpose) -> str:
        """Upload a file as it is, under this name; return its id. A lost reply is tried again."""
        return self._transport.retries(lambda: self._in_one(path, name, purpose))

    def content(self, file_id: str) -> Iterator[bytes]:
        """Yield the content of a file, in blocks of at most a mebibyte.

        Raises `NotFound` for a file that was deleted or may not be read.
        """
        if not _FILE_ID.fullmatch(file_id):
            raise NotFound(
                f"{self._transport.profile.title} has no file with such an id",
                where=f"file id {file_id[:40]!r}",
                hint="a job names its files",
            )
        action = "GET /files/ID/content"
        with contextlib.ExitStack() as stack:

            def begin() -> Iterator[bytes]:
                files = self._transport.client().files.with_streaming_response
                reply = stack.enter_context(files.content(file_id))
                return reply.iter_bytes(_BLOCK_BYTES)

            blocks = self._transport.call_retried(action, begin)
            while (
                block := self._transport.next_part(action, lambda: next(blocks, None))
            ) is not None:
                yield block

    # --- uploaded files ---

    def _has(self, file_id: str) -> bool:
        try:
            file = self._get(file_id)
        except NotFound:
            return False
        return file.get("status") not in ("error", "deleted")

    def _get(self, file_id: str) -> dict[str, Any]:
        return self._transport.read(
            "GET /files/ID", lambda client: client.files.with_raw_response.retrieve(file_id)
        )

    def _found(self, name: str, size: int) -> str | None:
        """Return the file with our name for these bytes: uploaded elsewhere, or in a lost call."""
        reply = self._transport.read(
            "GET /files",
            lambda client: client.files.with_raw_response.list(purpose="fine-tune", limit=_LOOK_AT),
        )
        items = reply.get("data")
        for item in items if isinstance(items, list) else []:
            if (
                isinstance(item, dict)
                and item.get("filename") == name
                and item.get("bytes") == size
                and item.get("status") not in ("error", "deleted")
                and isinstance(item.get("id"), str)
            ):
                return str(item["id"])
        return None

    def _processed(self, file_id: str) -> str:
        status = None
        for _ in poll(
            self._context.clock, first_s=0.5, longest_s=10.0, patience_s=_PROCESSING_S, growth=2.0
        ):
            file = self._get(file_id)
            status = file.get("status")
            if status == "error":
                details = scrub(file.get("status_details") or "no reason given")
                raise Rejected(
                    f"{self._transport.profile.title} could not process the file: {details}",
                    where=f"file {file_id}",
                    hint="`ftsdk validate` shows what is wrong with the rows",
                )
            if status not in ("uploaded", "pending", "running", "processing", "notRunning"):
                return file_id
        raise Unavailable(
            f"{self._transport.profile.title} has been processing the file for half an hour",
            where=f"file {file_id}, status {status}",
            hint="create the job again later; the file is not uploaded again",
        )

    # --- sending ---

    def _sent(self, path: Path, name: str, size: int) -> str:
        """Upload once. When the reply is lost, search for the file by its name before retrying."""
        try:
            if (
                size > self._transport.profile.one_call_bytes
                and self._transport.profile.takes_parts
            ):
                return self._by_parts(path, name, size)
            return self._in_one(path, name, "fine-tune")
        except BackendError as error:
            found = self._found(name, size) if error.retryable else None
            if found is None:
                raise
            return found

    def _in_one(self, path: Path, name: str, purpose: Purpose) -> str:
        with self._content(path) as content:
            reply = self._transport.call_once(
                "POST /files",
                lambda client: client.files.with_raw_response.create(
                    file=(name, content, "application/jsonl"), purpose=purpose
                ),
            )
        return self._id_of(reply, "POST /files")

    def _by_parts(self, path: Path, name: str, size: int) -> str:
        upload = self._transport.call_once(
            "POST /uploads",
            lambda client: client.uploads.with_raw_response.create(
                filename=name, purpose="fine-tune", bytes=size, mime_type="text/jsonl"
            ),
        )
        upload_id, parts = self._id_of(upload, "POST /uploads"), []
        with self._content(path) as content:
            while block := content.read(self.part_bytes):
                part = self._part(upload_id, block)
                parts.append(part)
        reply = self._transport.call_once(
            "POST /uploads/ID/complete",
            lambda client: client.uploads.with_raw_response.complete(upload_id, part_ids=parts),
        )
        file = reply.get("file")
        return self._id_of(file if isinstance(file, dict) else {}, "POST /uploads/ID/complete")

    def _part(self, upload_id: str, block: bytes) -> str:
        reply = self._transport.retries(
            lambda: self._transport.call_once(
                "POST /uploads/ID/parts",
                lambda client: client.uploads.parts.with_raw_response.create(upload_id, data=block),
            )
        )
        return self._id_of(reply, "POST /uploads/ID/parts")

    def _id_of(self, reply: dict[str, Any], action: str) -> str:
        identity = reply.get("id")
        if not isinstance(identity, str) or not 3 <= len(identity) <= 256 or "/" in identity:
            raise self._transport.unexpected(action, "it has no usable id")
        return identity

    @contextlib.contextmanager
    def _content(self, path: Path) -> Iterator[CountedFile]:
        with contextlib.ExitStack() as stack:
            source = path
            if self._transport.profile.byte_order_mark:
                source = stack.enter_context(temporary_folder(self._context.home)) / path.name
                with path.open("rb") as plain, source.open("wb") as copy:
                    copy.write(_BOM)
                    shutil.copyfileobj(plain, copy, 1 << 20)
            yield stack.enter_context(CountedFile(source, current_listener()))
