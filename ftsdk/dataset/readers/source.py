"""Sources of rows: a file of a known container, or Python objects, as one stream of records.

Everything that is not a plain JSON-lines file (CSV, Parquet, a JSON array, rows in memory, data
frames) is turned into JSON-lines records on the way, so that one strict reader checks all of it.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from ftsdk.dataset.findings.finding import Fault
from ftsdk.dataset.readers import containers, hub
from ftsdk.dataset.readers.lines import DEFAULT_MAX_ROW_BYTES, Block, Record, Stop
from ftsdk.dataset.readers.row_buffer import RowBuffer
from ftsdk.util.cancellation import until_cancelled

_SNIFF = 4096
_BLOCK_BYTES = 1 << 20

MIN_BYTES = 24 << 20
"""Below it, starting processes costs more than they save."""


@dataclass
class Source:
    """A place that records can be read from, more than once."""

    name: str
    container: str
    path: Path | None = None
    buffer: RowBuffer | None = None
    size_bytes: int | None = None
    stamp: tuple[int, int, int] | None = None
    """Inode, size and modification time when the source was opened; a later change is a fault."""
    notices: list[Fault] = field(default_factory=list)

    def records(
        self,
        *,
        max_row_bytes: int = DEFAULT_MAX_ROW_BYTES,
        on_bytes: Callable[[int], None] | None = None,
    ) -> Iterator[Record | Fault]:
        """Every record in order, with faults of the file between them; the last one may end it."""
        for item in self.items(max_row_bytes=max_row_bytes, on_bytes=on_bytes):
            if isinstance(item, Block):
                yield from item.records()
            else:
                yield item

    def blocks(
        self,
        *,
        max_row_bytes: int = DEFAULT_MAX_ROW_BYTES,
        on_bytes: Callable[[int], None] | None = None,
    ) -> Iterator[Block | Fault]:
        """As `records`, but each block has the records that follow one another."""
        gathered: list[Record] = []
        size = 0
        for item in self.items(max_row_bytes=max_row_bytes, on_bytes=on_bytes):
            if not isinstance(item, Fault | Block):
                gathered.append(item)
                size += len(item[2])
                if size < _BLOCK_BYTES:
                    continue
            if gathered:
                yield _block_of(gathered)
            gathered, size = [], 0
            if isinstance(item, Fault | Block):
                yield item
        if gathered:
            yield _block_of(gathered)

    def items(
        self,
        *,
        max_row_bytes: int = DEFAULT_MAX_ROW_BYTES,
        on_bytes: Callable[[int], None] | None = None,
    ) -> Iterator[Block | Record | Fault]:
        """Blocks where the source is one of lines, single records elsewhere, faults between them."""
        try:
            if self.buffer is not None:
                yield from until_cancelled(self.buffer.records())
                return
            if self.path is None:
                return
            with open_regular(self.path) as handle:
                self.check_stamp(handle)
                yield from until_cancelled(
                    containers.records(
                        handle,
                        self.container,
                        max_row_bytes=max_row_bytes,
                        on_bytes=on_bytes,
                    )
                )
                self.check_stamp(handle)
        except Stop as stop:
            yield stop.fault
        except OSError as error:
            yield file_fault(
                "FT003",
                f"cannot be read: {error.strerror or error}",
                "check the file and its permissions",
            )

    @property
    def is_long(self) -> bool:
        """Whether the source is long enough to be checked in parts: a file of JSON lines."""
        size = self.size_bytes or 0
        return self.container == "jsonl" and self.path is not None and size >= MIN_BYTES

    def check_stamp(self, handle: BinaryIO) -> None:
        """Raise `Stop` when the open file has changed since the source was opened."""
        if self.stamp is not None and _stamp(os.fstat(handle.fileno())) != self.stamp:
            raise Stop(
                file_fault(
                    "FT008",
                    "the file changed while it was being read",
                    "wait until its writer is done, then start again",
                )
            )


def _block_of(records: list[Record]) -> Block:
    """Records as one block; line feeds within a record are not those between two."""
    rows = [raw for _, _, raw in records]
    data = b"\n".join(rows)
    if data.count(b"\n") >= len(rows):
        data = b"\n".join(raw.replace(b"\n", b" ") for raw in rows)
    return Block(records[0][0], records[0][1], data, rows, [record[:2] for record in records])


def open_source(source: Any, *, name: str | None = None) -> Source:
    """Open `source` (a path, rows, an iterable, a data frame) without reading all of it.

    A name that starts with `hf:` is a dataset of a hub, which is downloaded to the hub's own cache.

    Raises `Stop` with a fault when there is nothing that can be read.
    """
    if hub.is_hub_name(source):
        pinned, rows = hub.fetch(hub.parse(os.fspath(source)))
        buffer = RowBuffer.of(rows)
        return Source(
            name=name or str(pinned), container="rows", buffer=buffer, size_bytes=buffer.size_bytes
        )
    if isinstance(source, (str, os.PathLike)):
        path = Path(os.fspath(source))
        return _open_path(path, name or path.name)
    buffer = RowBuffer.of(source)
    return Source(
        name=name or "rows", container="rows", buffer=buffer, size_bytes=buffer.size_bytes
    )


def _open_path(path: Path, name: str) -> Source:
    try:
        state = path.stat()
    except FileNotFoundError:
        raise Stop(file_fault("FT001", f"{path} does not exist", _hint(path))) from None
    except OSError as error:  # a symlink loop, a name that is too long, no right to look
        raise Stop(
            file_fault(
                "FT003",
                f"{path} cannot be read: {error.strerror or error}",
                "check the path and its permissions",
            )
        ) from error
    except ValueError as error:  # a NUL in the name
        raise Stop(
            file_fault("FT001", f"{str(path)!r} is not a file name", "check the path")
        ) from error
    if not stat.S_ISREG(state.st_mode):
        raise Stop(_not_regular(path, state.st_mode))
    if state.st_size == 0:
        raise Stop(file_fault("FT004", f"{path} is empty", "write one JSON object a line"))
    try:
        with open_regular(path) as handle:
            head = handle.read(_SNIFF)
    except OSError as error:
        raise Stop(
            file_fault(
                "FT003",
                f"{path} cannot be read: {error.strerror or error}",
                "check its permissions",
            )
        ) from error
    container, notices = containers.container_of(path, head)
    return Source(
        name=name,
        container=container,
        path=path,
        size_bytes=state.st_size,
        stamp=_stamp(state),
        notices=notices,
    )


def _stamp(state: os.stat_result) -> tuple[int, int, int]:
    return (state.st_ino, state.st_size, state.st_mtime_ns)


@contextlib.contextmanager
def open_regular(path: Path) -> Iterator[BinaryIO]:
    """Open without blocking on a FIFO that has replaced the file since it was checked."""
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(fd, "rb", buffering=0) as handle:
        mode = os.fstat(fd).st_mode
        if not stat.S_ISREG(mode):
            raise Stop(_not_regular(path, mode))
        yield handle


def _not_regular(path: Path, mode: int) -> Fault:
    kinds = (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a pipe (FIFO)"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
        (stat.S_ISSOCK, "a socket"),
    )
    kind = next((word for test, word in kinds if test(mode)), "no regular file")
    return file_fault("FT002", f"{path} is {kind}", "name a regular file")


def _hint(path: Path) -> str:
    """What may have been meant by the path of a file that does not exist."""
    if not path.suffix and not path.is_absolute() and len(path.parts) == 2:
        return f"{_nearest(path)}; a dataset of Hugging Face's hub is written hf:{path.as_posix()}"
    return _nearest(path)


def _nearest(path: Path) -> str:
    try:
        names = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    except OSError:
        names = []
    near = difflib.get_close_matches(path.name, names, n=1)
    if near:
        return f"did you mean {path.parent / near[0]}?"
    try:
        return f"check the path; the current folder is {Path.cwd()}"
    except OSError:
        return "check the path; the current folder does not exist any more"


def file_fault(code: str, message: str, hint: str) -> Fault:
    """A fault about the file as a whole."""
    return Fault(code=code, severity="fault", line=0, message=message, hint=hint)
