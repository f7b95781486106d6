"""Rows to Replicate: written as the trainer reads them, and uploaded."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ftsdk.backends.hosted import temporary_folder
from ftsdk.backends.replicate.job_mapping import TAG_FRAGMENT
from ftsdk.backends.replicate.prompts import written
from ftsdk.backends.replicate.trainer import Trainer
from ftsdk.backends.replicate.transport import Transport
from ftsdk.dataset import Dataset
from ftsdk.errors import UnexpectedResponse, Unsupported

MAX_FILE_BYTES = 100_000_000


class Files:
    """Uploads of one account."""

    def __init__(self, transport: Transport, home: Path) -> None:
        self._transport, self._home = transport, home

    def upload(self, rows: Dataset, record: Trainer, tag: str, purpose: str) -> str:
        """Upload the rows as the trainer reads them, and return their URL at Replicate."""
        with self._file(rows, record) as path:
            size = path.stat().st_size
            if size > MAX_FILE_BYTES:
                raise Unsupported(
                    f"The rows are {size} bytes; Replicate takes files of at most {MAX_FILE_BYTES}",
                    where=rows.name,
                    hint="put the file where it can be downloaded by https and give its address in "
                    "provider_options.data_url",
                    submitted="no",
                )
            reply = self._transport.upload(path, f"{tag}-{purpose}.jsonl", {"ftsdk": tag})
        urls = reply.get("urls")
        url = urls.get("get") if isinstance(urls, Mapping) else None
        if not isinstance(url, str) or "://" not in url:
            raise UnexpectedResponse(
                "Replicate accepted the file but returned no address for it",
                where="Replicate, POST /v1/files",
                hint="try again",
            )
        return url

    @contextmanager
    def _file(self, rows: Dataset, record: Trainer) -> Iterator[Path]:
        with temporary_folder(self._home) as place:
            path = place / f"{rows.sha256}.{record.rows}.jsonl"
            with path.open("wb") as out:
                for number, row in enumerate(rows, 1):
                    line = written(row, record.rows, number, rows.name)
                    out.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
            yield path


def with_tag(url: str, tag: str) -> str:
    """Return the URL with the tag as its fragment, which no server receives."""
    return f"{url.partition('#')[0]}#{TAG_FRAGMENT}{tag}"
