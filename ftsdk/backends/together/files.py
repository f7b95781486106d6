"""Upload rows once, and wait until Together's own check has passed them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ftsdk.backends.hosted import poll, rows_file, temporary_folder
from ftsdk.backends.together.transport import Transport, known_id
from ftsdk.dataset import Dataset, DatasetReport, Fault, convert
from ftsdk.errors import DatasetError, Rejected, Unavailable
from ftsdk.util.clock import Clock

_LINE = re.compile(
    r"\b(?:line|row|sample|example)s?\s*(?:number|no\.?|#|:)?\s*(\d{1,9})\b", re.IGNORECASE
)
_DEADLINE_S = 3600.0


class Files:
    """Uploads of one account."""

    def __init__(self, transport: Transport, clock: Clock, home: Path) -> None:
        self._transport, self._clock, self._home = transport, clock, home

    def ready(self, rows: Dataset, *, model: str, method: str) -> str:
        """Return the id of a file with these rows that Together has checked.

        Raises `DatasetError` with Together's own report, `Unavailable` when the check takes over an
        hour, and what the upload raises.
        """
        with _sendable(rows, self._home) as path:
            identity = self._transport.upload(path)
        self._wait(identity, rows, model=model, method=method)
        return identity

    def _wait(self, identity: str, rows: Dataset, *, model: str, method: str) -> None:
        path, status = f"/v1/files/{known_id(identity, 'file')}", ""
        for _ in poll(self._clock, first_s=1.0, longest_s=15.0, patience_s=_DEADLINE_S):
            file = self._transport.get(path)
            status = str(file.get("processing_status") or "").upper()
            report = file.get("validation_report")
            if status == "INVALID_FORMAT" or _is_invalid(report):
                raise refused_rows(rows, report, model=model, method=method)
            if status == "FAILED":
                raise Rejected(
                    "Together could not process the file",
                    where=f"Together, file {identity}",
                    hint="try again; if it fails again, contact Together and name the file",
                    retryable=True,
                )
            if status == "COMPLETED" or (not status and file.get("Processed") is not False):
                return
        raise Unavailable(
            f"Together has been checking the file for an hour (status {status})",
            where=f"Together, file {identity}",
            hint="try again later; the file is not uploaded twice",
        )


@contextlib.contextmanager
def _sendable(rows: Dataset, home: Path) -> Iterator[Path]:
    """Yield the rows as a file that Together reads: tokens as Parquet, all else as JSON lines."""
    if rows.format != "tokenized":
        with rows_file(rows, home) as path:
            yield path
        return
    with temporary_folder(home) as place:
        path = place / f"{rows.sha256}.parquet"
        convert(rows, "tokenized", path)
        yield path


def _is_invalid(report: Any) -> bool:
    return isinstance(report, Mapping) and report.get("valid") is False


def refused_rows(rows: Dataset, report: Any, *, model: str, method: str) -> DatasetError:
    """Return Together's validation report as our error, with the line where it names one."""
    said = report.get("error") if isinstance(report, Mapping) else None
    message = said if isinstance(said, str) and said else "Together reports an invalid format"
    found = _LINE.search(message)
    fault = Fault(
        code="FT900",
        severity="fault",
        line=int(found.group(1)) if found else 0,
        message=f"Together: {message}",
        hint="correct the row; `ftsdk validate --provider together` finds most such faults before the upload",
    )
    ours = DatasetReport(
        name=rows.name,
        rows=rows.rows,
        faults=(fault,),
        counts={fault.code: 1},
        row_counts={fault.code: 1},
        path=None if rows.path is None else str(rows.path),
        provider="together",
        model=model,
        method=method,
    )
    return DatasetError(
        f"Together does not accept the rows: {message}",
        where=f"{rows.name}, checked by Together after the upload",
        hint=fault.hint,
        report=ours,
        submitted="no",
    )
