"""The messages between an application and its worker: JSON documents, each after its length.

The two talk over the worker's standard input and output, which nobody else has. A length above the
limit, or bytes that are no JSON object, end the conversation: neither side reads on from there.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import IO, Any

MAX_BYTES = 64 << 20
"""The longest message."""
_LENGTH = struct.Struct(">I")


class BrokenFrame(Exception):
    """The other side sent something that is no message."""


def write_frame(stream: IO[bytes], document: Mapping[str, Any]) -> None:
    """Write one message and flush it. Raises `BrokenFrame` for one that is too long, and `OSError`."""
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    if len(body) > MAX_BYTES:
        raise BrokenFrame(f"a message of {len(body):,} bytes; the limit is {MAX_BYTES:,}")
    stream.write(_LENGTH.pack(len(body)) + body)
    stream.flush()


def read_frame(stream: IO[bytes]) -> dict[str, Any] | None:
    """The next message, or None where the other side has ended. Raises `BrokenFrame` and `OSError`."""
    head = _exactly(stream, _LENGTH.size)
    if not head:
        return None
    length = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else 0
    if not 2 <= length <= MAX_BYTES:
        raise BrokenFrame(f"a message of {length:,} bytes")
    body = _exactly(stream, length)
    try:
        found = json.loads(body)
    except ValueError as error:
        raise BrokenFrame(f"a message that is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise BrokenFrame("a message that is not an object")
    return found


def _exactly(stream: IO[bytes], count: int) -> bytes:
    """This many bytes, or fewer where the stream ends."""
    found = bytearray()
    while len(found) < count:
        piece = stream.read(count - len(found))
        if not piece:
            break
        found += piece
    return bytes(found)
