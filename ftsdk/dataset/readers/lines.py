r"""Records of a byte stream: ends at b"\\n", bounded length, exact line and byte offset."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from ftsdk.dataset.findings.finding import Fault

CHUNK = 1 << 20
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


def read_lines(
    stream: Reads,
    *,
    max_row_bytes: int = DEFAULT_MAX_ROW_BYTES,
    on_bytes: Callable[[int], None] | None = None,
    start: int = 0,
) -> Iterator[Record | Fault]:
    r"""Yield every non-blank record, and a `Fault` for each that is too long.

    Memory stays under `max_row_bytes` plus two chunks, whatever the file has. Only b"\\n" ends a
    record: U+2028, U+0085 and the like are ordinary text. One b"\\r" before the end is dropped.
    For a part of a file `start` is its offset there; lines count from 1 all the same.
    """
    line = 0
    offset = start  # of the record that is being read
    parts: list[bytes] = []
    pending = 0
    skipping = False
    first = start == 0
    while chunk := stream.read(CHUNK):
        if on_bytes is not None:
            on_bytes(len(chunk))
        if first:
            first = False
            if chunk.startswith(_BOM):
                yield _bom()
                chunk, offset = chunk[3:], 3
        pieces = chunk.split(b"\n")
        tail = pieces.pop()
        for piece in pieces:
            line += 1
            length = pending + len(piece) + 1
            if skipping:
                skipping = False
            elif pending + len(piece) > max_row_bytes:
                yield _too_long(line, offset, max_row_bytes)
            else:
                raw = b"".join((*parts, piece)) if parts else piece
                raw = raw.removesuffix(b"\r")
                if raw and not raw.isspace():
                    yield (line, offset, raw)
            parts.clear()
            pending = 0
            offset += length
        if not tail:
            continue
        pending += len(tail)
        if skipping:
            _no_nul(tail, line + 1, offset)
        elif pending > max_row_bytes:
            _no_nul(tail, line + 1, offset)
            yield _too_long(line + 1, offset, max_row_bytes)
            skipping = True
            parts.clear()
        else:
            parts.append(tail)
    if parts:
        piece = b"".join(parts).removesuffix(b"\r")
        if piece and not piece.isspace():
            yield (line + 1, offset, piece)


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
