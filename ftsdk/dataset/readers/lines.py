r"""Records of a byte stream: ends at b"\\n", bounded length, exact line and byte offset."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from ftsdk.dataset.findings.finding import Fault

CHUNK = 256 << 10
"""The bytes read at once: few enough that a processor keeps them near while they are looked at."""
DEFAULT_MAX_ROW_BYTES = 8 << 20
"""A text row above 8 MiB is a mistake; rows with embedded images may raise the limit."""

_BOM = b"\xef\xbb\xbf"


Record = tuple[int, int | None, bytes]
"""One record: 1-based line (or row), byte offset of its start, its bytes without the end.

A bare tuple: millions of them are made, and a named one costs four times as much."""


class Stop(Exception):
    """Raised when reading cannot continue; `fault` says why."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


class Reads(Protocol):
    """The part of a stream that reading lines needs."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""
        ...


class Block(NamedTuple):
    """Records that follow one another: lines of a file, or rows of another source.

    `line` and `offset` are those of the first one; `data` has all of them, separated by line feeds,
    and `rows` each of them, blank lines and carriage returns included. `places` has the line and the
    offset of each where the source is not one of lines.
    """

    line: int
    offset: int | None
    data: bytes
    rows: list[bytes]
    places: list[tuple[int, int | None]] | None = None

    def line_of(self, number: int) -> int:
        """The line of the record with this number, counted from 0."""
        return self.line + number if self.places is None else self.places[number][0]

    def lines(self, start: int, end: int) -> Sequence[int]:
        """The lines of the records from number `start` to before `end`."""
        if self.places is None:
            return range(self.line + start, self.line + end)
        return [line for line, _ in self.places[start:end]]

    def offsets_of(self, numbers: Iterable[int]) -> Iterator[int | None]:
        """The offsets of the records with these numbers, which ascend."""
        at, before = self.offset or 0, 0
        for number in numbers:
            if self.places is not None:
                yield self.places[number][1]
            else:
                at += sum(map(len, self.rows[before:number])) + number - before
                before = number
                yield at

    def after(self, number: int) -> Block:
        """The records after the one with this number."""
        used = sum(len(row) + 1 for row in self.rows[: number + 1])
        line, offset, data, rows, places = self
        rest = None if places is None else places[number + 1 :]
        moved = None if offset is None else offset + used
        return Block(line + number + 1, moved, data[used:], rows[number + 1 :], rest)

    def records(self) -> Iterator[Record]:
        """Every record; of lines, those that are not blank, without a carriage return before the end."""
        if self.places is not None:
            for (line, offset), row in zip(self.places, self.rows, strict=True):
                yield (line, offset, row)
            return
        at = self.offset or 0
        for line, row in enumerate(self.rows, self.line):
            raw = row.removesuffix(b"\r")
            if raw and not raw.isspace():
                yield (line, at, raw)
            at += len(row) + 1


def read_lines(
    stream: Reads,
    *,
    max_row_bytes: int = DEFAULT_MAX_ROW_BYTES,
    on_bytes: Callable[[int], None] | None = None,
    start: int = 0,
) -> Iterator[Record | Fault]:
    r"""Yield every non-blank record, and a `Fault` for each that is too long; see `read_blocks`."""
    for block in read_blocks(stream, max_row_bytes=max_row_bytes, on_bytes=on_bytes, start=start):
        if isinstance(block, Fault):
            yield block
        else:
            yield from block.records()


def read_blocks(
    stream: Reads,
    *,
    max_row_bytes: int = DEFAULT_MAX_ROW_BYTES,
    on_bytes: Callable[[int], None] | None = None,
    start: int = 0,
) -> Iterator[Block | Fault]:
    r"""Yield the lines of a stream in blocks, and a `Fault` for each line that is too long.

    Memory stays under `max_row_bytes` plus a few chunks, whatever the file has. Only b"\\n" ends a
    record: U+2028, U+0085 and the like are ordinary text. One b"\\r" before the end is dropped.
    For a part of a file `start` is its offset there; lines count from 1 all the same.
    """
    lines = _Lines(max_row_bytes, start)
    first = start == 0
    while chunk := stream.read(CHUNK):
        if on_bytes is not None:
            on_bytes(len(chunk))
        if first:
            first = False
            if chunk.startswith(_BOM):
                yield _bom()
                chunk, lines.offset = chunk[3:], 3
        yield from lines.take(chunk)
    yield from lines.rest()


class _Lines:
    """Joins chunks into blocks of whole lines."""

    def __init__(self, limit: int, offset: int) -> None:
        self.offset = offset
        """The offset of the line that is being read."""
        self._line = 1
        self._limit = limit
        self._parts: list[bytes] = []
        self._pending = 0
        self._skipping = False

    def take(self, chunk: bytes) -> Iterator[Block | Fault]:
        """The lines that end in the next chunk."""
        end = chunk.rfind(b"\n")
        if end >= 0:
            yield from self._ended(chunk[:end])
        yield from self._begun(chunk[end + 1 :])

    def _ended(self, piece: bytes) -> Iterator[Block | Fault]:
        """The lines of a piece that ends where a line ends."""
        if self._skipping:
            end = piece.find(b"\n")
            self._pass(self._pending + (len(piece) if end < 0 else end))
            self._skipping, self._pending = False, 0
            if end < 0:
                return
            piece = piece[end + 1 :]
        data = b"".join((*self._parts, piece)) if self._parts else piece
        self._parts.clear()
        self._pending = 0
        rows = data.split(b"\n")
        if len(data) > self._limit and max(map(len, rows)) > self._limit:
            yield from self._without_long(rows)
            return
        yield Block(self._line, self.offset, data, rows)
        self._line += len(rows)
        self.offset += len(data) + 1

    def _without_long(self, rows: list[bytes]) -> Iterator[Block | Fault]:
        """One block for each line, with a fault for each that is too long."""
        for row in rows:
            if len(row) > self._limit:
                yield _too_long(self._line, self.offset, self._limit)
            else:
                yield Block(self._line, self.offset, row, [row])
            self._pass(len(row))

    def _pass(self, length: int) -> None:
        self._line += 1
        self.offset += length + 1

    def _begun(self, tail: bytes) -> Iterator[Fault]:
        """Keep the beginning of the next line, or say that it is too long already."""
        if not tail:
            return
        self._pending += len(tail)
        if not self._skipping and self._pending <= self._limit:
            self._parts.append(tail)
            return
        _no_nul(tail, self._line, self.offset)
        if not self._skipping:
            yield _too_long(self._line, self.offset, self._limit)
            self._skipping = True
            self._parts.clear()

    def rest(self) -> Iterator[Block]:
        """The last line, when it has no line feed."""
        if self._parts:
            data = b"".join(self._parts)
            yield Block(self._line, self.offset, data, [data])


def _no_nul(tail: bytes, line: int, offset: int) -> None:
    if b"\x00" in tail:
        raise Stop(
            Fault(
                code="FT016",
                severity="fault",
                line=line,
                offset=offset,
                message="an endless row with NUL bytes: this is not text",
                hint="write the file again; it may be sparse or damaged",
            )
        )


def _too_long(line: int, offset: int, limit: int) -> Fault:
    return Fault(
        code="FT009",
        severity="fault",
        line=line,
        offset=offset,
        message=f"the row is longer than {limit / (1 << 20):,.0f} MiB",
        hint="split it, or pass max_row_bytes= when rows have images",
    )


def _bom() -> Fault:
    return Fault(
        code="FT020",
        severity="notice",
        line=1,
        offset=0,
        message="the file starts with a byte order mark (BOM); it is skipped",
        hint="save as UTF-8 without BOM",
    )
