"""A JSON array of rows, one element at a time: bounded memory, exact line and byte offset."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from ftsdk.dataset.findings.finding import Fault
from ftsdk.dataset.readers.lines import CHUNK, Record, Stop

# The text up to the next bracket (and, outside of all brackets, comma), strings as a whole. The
# mark is a quote where a string has no end in the buffer yet, and empty at the buffer's end.
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_INSIDE = re.compile(rb'[^"\[\]{}]*+(?:' + _STRING + rb'[^"\[\]{}]*+)*+([\[\]{}"]?)', re.DOTALL)
_OUTSIDE = re.compile(rb'[^"\[\]{},]*+(?:' + _STRING + rb'[^"\[\]{},]*+)*+([\[\]{},"]?)', re.DOTALL)
_BOM = b"\xef\xbb\xbf"
_SPACE = b" \t\r\n"
_SPACES = re.compile(rb"[ \t\r\n]*")


def read_array(handle: BinaryIO, *, max_row_bytes: int) -> Iterator[Record | Fault]:
    """Yield each element of the array as a record; `line` is its 1-based place in the array.

    Only the brackets are checked here; the strict reader checks what is inside an element.
    """
    splitter = _Splitter(handle, max_row_bytes)
    splitter.open()
    while (element := splitter.element()) is not None:
        yield element


_CLOSES = {b"]": b"[", b"}": b"{"}


class _Splitter:
    def __init__(self, handle: BinaryIO, limit: int) -> None:
        self._handle = handle
        self._limit = limit
        self._buffer = b""
        self._base = 0  # byte offset of the buffer's start
        self._start = 0  # where in the buffer the element that is read begins
        self._number = 0  # of that element

    def _more(self) -> bool:
        """Read on; what was used goes from the buffer then, and not before: copies cost."""
        chunk = self._handle.read(CHUNK)
        if not chunk:
            return False
        self._buffer = self._buffer[self._start :] + chunk
        self._base += self._start
        self._start = 0
        return True

    def open(self) -> None:
        """Go past the opening bracket."""
        self._more()
        if self._buffer.startswith(_BOM):
            self._start = 3
        match = _SPACES.match(self._buffer, self._start)
        self._start = self._start if match is None else match.end()
        if not self._buffer.startswith(b"[", self._start):
            raise self._stop("the file is not a JSON array of rows", self._start)
        self._start += 1

    def element(self) -> Record | None:
        """The next element with its number and offset; None after the closing bracket."""
        self._number += 1
        stack: list[bytes] = []
        at = self._start
        while True:
            match = (_INSIDE if stack else _OUTSIDE).match(self._buffer, at)
            mark, place = (match[1], match.start(1)) if match else (b"", at)
            if not mark or mark == b'"':
                at = place - self._start
                if len(self._buffer) - self._start > self._limit + CHUNK:
                    message = f"an element is longer than {self._limit >> 20} MiB"
                    raise self._stop(message, self._start, "FT009")
                if not self._more():
                    raise self._stop("the array is cut off", self._start + at, "FT018")
                continue
            at = place + 1
            if mark in (b"[", b"{"):
                stack.append(mark)
            elif mark in _CLOSES and stack:
                if stack.pop() != _CLOSES[mark]:
                    raise self._stop(f"{mark.decode()!r} closes what it did not open", place)
            elif mark in (b",", b"]"):
                return self._take(place, at, is_last=mark == b"]")
            else:
                raise self._stop("a closing brace without its opening one", place)

    def _take(self, end: int, after: int, *, is_last: bool) -> Record | None:
        raw = self._buffer[self._start : end]
        lead = self._start + len(raw) - len(raw.lstrip(_SPACE))
        raw = raw.strip(_SPACE)
        if not raw and not is_last:
            raise self._stop("an element is missing before a comma", end)
        if len(raw) > self._limit:
            message = f"an element is longer than {self._limit >> 20} MiB"
            raise self._stop(message, lead, "FT009")
        # After the last element its bracket is met again, alone.
        self._start = end if is_last and raw else after
        if not raw:
            self._at_the_end()
            return None
        return (self._number, self._base + lead, raw)

    def _at_the_end(self) -> None:
        while True:
            rest = self._buffer[self._start :].strip(_SPACE)
            if rest:
                raise self._stop(f"{rest[:20]!r} after the array", self._start, "FT017")
            self._start = len(self._buffer)
            if not self._more():
                return

    def _stop(self, message: str, at: int, code: str = "FT010") -> Stop:
        return Stop(
            Fault(
                code=code,
                severity="fault",
                line=self._number,
                offset=self._base + at,
                message=message,
                hint="write one array of row objects, or JSON lines",
            )
        )
