"""What comes before a training and spends nothing: its version, its destination, its rows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ftsdk.backends.hosted import aside
from ftsdk.backends.replicate.job_mapping import MARK
from ftsdk.backends.replicate.prompts import written
from ftsdk.backends.replicate.trainer import Asked, Trainer
from ftsdk.backends.replicate.transport import Wire
from ftsdk.dataset import Dataset
from ftsdk.errors import NotFound, UnexpectedResponse, UnknownModel, Unsupported
from ftsdk.types.spec import JobSpec

__all__ = ["MAX_FILE_BYTES", "MODEL", "Preparing", "marked"]

MAX_FILE_BYTES = 100_000_000
MODEL = re.compile(
    r"^([A-Za-z0-9][\w.-]{0,99})/([A-Za-z0-9][\w.-]{0,99})(?::([0-9A-Za-z]{6,128}))?$"
)


class Preparing:
    """The calls before a create, for one account."""

    def __init__(self, wire: Wire, home: Path) -> None:
        self._wire, self._home = wire, home

    def version(self, spec: JobSpec) -> tuple[str, str, str]:
        """Owner, name and version of the trainer; the latest version where none is given."""
        found = MODEL.match(spec.model)
        if found is None:  # `check` has said so already
            raise UnknownModel(f"{spec.model!r} is not owner/name:version", submitted="no")
        owner, name, version = found.groups()
        if version is not None:
            return owner, name, version
        try:
            model = self._wire.get(f"/v1/models/{owner}/{name}")
        except NotFound as error:
            raise UnknownModel(
                f"Replicate has no model {owner}/{name}",
                where=f"Replicate, GET /v1/models/{owner}/{name}; {error.what}",
                hint="check the name; a private model needs its owner's key",
                submitted="no",
            ) from error
        latest = model.get("latest_version")
        identity = latest.get("id") if isinstance(latest, Mapping) else None
        if not isinstance(identity, str) or not re.fullmatch(r"[0-9A-Za-z]{6,128}", identity):
            raise UnknownModel(
                f"{owner}/{name} has no version that could be trained",
                where="Replicate",
                hint="name one: owner/name:version",
                submitted="no",
            )
        return owner, name, identity

    def destination(self, asked: Asked) -> None:
        """The destination model must be there; it is made only when `create_destination` says so."""
        try:
            self._wire.get(f"/v1/models/{asked.destination}")
        except NotFound as error:
            if not asked.create_destination:
                raise Unsupported(
                    f"The destination {asked.destination} is not there",
                    where="provider_options.destination",
                    hint="make the model at Replicate, or let it be made, private: "
                    "--set create_destination=true "
                    "(in Python provider_options={…, 'create_destination': True})",
                    submitted="no",
                ) from error
            owner, _, name = str(asked.destination).partition("/")
            hardware = asked.hardware or "cpu"
            self._wire.post(
                "/v1/models",
                {"owner": owner, "name": name, "visibility": "private", "hardware": hardware},
            )

    def uploaded(self, rows: Dataset, record: Trainer, tag: str, purpose: str) -> str:
        """The URL of the rows at Replicate, written as the trainer reads them."""
        with self._file(rows, record) as path:
            size = path.stat().st_size
            if size > MAX_FILE_BYTES:
                raise Unsupported(
                    f"The rows are {size} bytes; Replicate takes files of at most {MAX_FILE_BYTES}",
                    where=rows.name,
                    hint="put the file where it can be fetched by https and give its address in "
                    "provider_options.data_url",
                    submitted="no",
                )
            told = self._wire.upload(path, f"{tag}-{purpose}.jsonl", {"ftsdk": tag})
        urls = told.get("urls")
        url = urls.get("get") if isinstance(urls, Mapping) else None
        if not isinstance(url, str) or "://" not in url:
            raise UnexpectedResponse(
                "Replicate took the file and gave no address for it",
                where="Replicate, POST /v1/files",
                hint="try again",
            )
        return url

    @contextmanager
    def _file(self, rows: Dataset, record: Trainer) -> Iterator[Path]:
        with aside(self._home) as place:
            path = place / f"{rows.sha256}.{record.rows}.jsonl"
            with path.open("wb") as out:
                for number, row in enumerate(rows, 1):
                    told = written(row, record.rows, number, rows.name)
                    out.write(json.dumps(told, ensure_ascii=False).encode() + b"\n")
            yield path


def marked(url: str, tag: str) -> str:
    """The URL with our mark as its fragment, which no server is sent."""
    return f"{url.partition('#')[0]}#{MARK}{tag}"
