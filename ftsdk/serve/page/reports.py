"""Reports that ftsdk wrote as HTML: found in the folders that the server was given, and read again.

A report is named by a hash of its place, so that no request names a path. It is sent with a policy of its
own: it may have styles, but it runs nothing, loads nothing and cannot act as a page of this server.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import html
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ftsdk.serve.problems import Problem

POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; sandbox"
)
_DEEPEST, _MOST, _LARGEST = 4, 500, 64 << 20
_TITLE = re.compile(rb"<title>([^<]{1,300})</title>")


@dataclass(frozen=True)
class Report:
    """One file: the name in its address, its place in its folder, its title and when it was written."""

    id: str
    path: Path
    place: str
    title: str
    written_at: dt.datetime


def list_reports(folders: Sequence[Path]) -> list[Report]:
    """Return the reports in these folders, newest first."""
    found = [report for folder in folders for report in _in_folder(folder)]
    return sorted(found, key=lambda one: one.written_at, reverse=True)[:_MOST]


def read_report(folders: Sequence[Path], report_id: str) -> bytes:
    """Return the bytes of a report. Raises `Problem` for one that is not listed."""
    for folder in folders:
        for path in _files(folder):
            if _id(path) == report_id:
                return path.read_bytes()
    raise Problem(404, "There is no such report; it may have been moved.", code="not_found")


def _in_folder(folder: Path) -> Iterator[Report]:
    for path in _files(folder):
        with path.open("rb") as handle:
            found = _TITLE.search(handle.read(65536))
        title = html.unescape(found[1].decode("utf-8", "replace")) if found else path.stem
        written = dt.datetime.fromtimestamp(path.stat().st_mtime, dt.UTC)
        yield Report(_id(path), path, path.relative_to(folder).as_posix(), title, written)


def _files(folder: Path) -> Iterator[Path]:
    """Yield the HTML files of a folder, but no links, which may lead anywhere."""
    for place, inside, names in os.walk(folder, followlinks=False):
        if len(Path(place).relative_to(folder).parts) >= _DEEPEST:
            inside.clear()
        inside[:] = [name for name in inside if not name.startswith(".")]
        for name in names:
            path = Path(place) / name
            is_plain = path.suffix == ".html" and not path.is_symlink() and path.is_file()
            if is_plain and path.stat().st_size <= _LARGEST:
                yield path


def _id(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:24]
