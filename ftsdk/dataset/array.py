"""A JSON array of rows, one element at a time: bounded memory, exact line and byte offset."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from ftsdk.dataset.lines import CHUNK, Record, Stop
from ftsdk.dataset.report import Fault

__all__ = ["read_array"]

# A whole string, a bracket, a comma, or a string whose end is not in the buffer yet.
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{},]|"', re.DOTALL)
_BOM = b"\xef\xbb\xbf"
_SPACE = b" \t\r\n"


def read_array(handle: BinaryIO, *, max_row_bytes: int) -> Iterator[Record | Fault]:
    """Yield each element of the array as a record; `line` is its 1-based place in the array.

    Only the brackets are judged here; what is inside an element is the strict reader's affair.
    """
    splitter = _Splitter(handle, max_row_bytes)
    splitter.open()
    number = 0
    while (element := splitter.element()) is not None:
        number += 1
        offset, raw = element
        yield (number, offset, raw)


class _Splitter:
    def __init__(self, handle: BinaryIO, limit: int) -> None:
        self._handle = handle
        self._limit = limit
        self._buffer = b""
        self._base = 0  # byte offset of the buffer's start
        self._ended = False

    def _more(self) -> bool:
        chunk = self._handle.read(CHUNK)
        if not chunk:
            self._ended = True
            return False
        self._buffer += chunk
        return True

    def _drop(self, count: int) -> None:
        self._buffer = self._buffer[count:]
        self._base += count

    def open(self) -> None:
        """Go past the opening bracket."""
        self._more()
        if self._buffer.startswith(_BOM):
            self._drop(3)
        space = len(self._buffer) - len(self._buffer.lstrip(_SPACE))
        self._drop(space)
        if not self._buffer.startswith(b"["):
            raise self._stop("the file is no JSON array of rows", 0)
        self._drop(1)

    def element(self) -> tuple[int, bytes] | None:
        """The next element and its offset; None after the closing bracket."""
        depth, at = 0, 0
        while True:
            match = _TOKEN.search(self._buffer, at)
            token = match.group() if match else b'"'
            if match is None or token == b'"':
                at = match.start() if match else len(self._buffer)
                if len(self._buffer) > self._limit + CHUNK:
                    raise self._stop(
                        f"an element is longer than {self._limit >> 20} MiB",
                        at,
                        "FT009",
                    )
                if not self._more():
                    raise self._stop("the array is cut off", at, "FT018")
                continue
            at = match.end()
            if token in (b"[", b"{"):
                depth += 1
            elif token in (b"]", b"}") and depth:
                depth -= 1
            elif (token == b"," and not depth) or token == b"]":
                return self._take(match.start(), at, token)
            elif token == b"}":
                raise self._stop("a closing brace without its opening one", match.start())

    def _take(self, end: int, after: int, token: bytes) -> tuple[int, bytes] | None:
        raw = self._buffer[:end]
        lead = len(raw) - len(raw.lstrip(_SPACE))
        offset = self._base + lead
        raw = raw.strip(_SPACE)
        if token == b"]":
            if not raw:
                self._drop(after)
                self._at_the_end()
                return None
            self._drop(end)  # the bracket is met again, alone
        else:
            if not raw:
                raise self._stop("an element is missing before a comma", end)
            self._drop(after)
        if len(raw) > self._limit:
            raise self._stop(f"an element is longer than {self._limit >> 20} MiB", lead, "FT009")
        return offset, raw

    def _at_the_end(self) -> None:
        while True:
            rest = self._buffer.strip(_SPACE)
            if rest:
                raise self._stop(f"{rest[:20]!r} after the array", 0, "FT017")
            self._drop(len(self._buffer))
            if not self._more():
                return

    def _stop(self, message: str, at: int, code: str = "FT010") -> Stop:
        return Stop(
            Fault(
                code=code,
                severity="fault",
                line=0,
                offset=self._base + at,
                message=message,
                mend="write one array of row objects, or JSON lines",
            )
        )
