"""Read a tar stream header by header, with every record bounded.

Supports what archives of weights contain: the ustar header with its prefix, sizes in base 256, and
both kinds of long names (pax `path`, GNU `L`). Other entries are named, so that the caller can
refuse them; their content is never read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

_BLOCK = 512
_MAX_RECORD = 64 * 1024
_KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a named pipe",
    b"7": "a contiguous file",
    b"S": "a sparse file",
    b"V": "a volume label",
    b"M": "a part of another volume",
    b"K": "a long link",
}


class BadTar(Exception):
    """The stream is not a valid tar archive."""


class _Stream(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class Member:
    """One entry; reading it returns its bytes and no more."""

    def __init__(self, name: str, size: int, kind: bytes, stream: _Stream) -> None:
        self.name = name
        self.size = size
        self.is_file = kind in (b"0", b"\0") and not name.endswith("/")
        self.is_folder = kind == b"5"
        self.kind = _KINDS.get(kind, f"of the unknown kind {kind!r}")
        self._stream = stream
        self._left = size

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes of this entry; empty at its end."""
        wanted = self._left if size < 0 else min(size, self._left)
        data = self._stream.read(wanted) if wanted else b""
        self._left -= len(data)
        return data

    def skip(self) -> None:
        """Skip to the next header."""
        while self._left:
            if not self.read(1 << 20):
                raise EOFError(f"{self.name!a} ends early")
        padding = -self.size % _BLOCK
        if padding and len(_exactly(self._stream, padding)) != padding:
            raise EOFError("the padding ends early")


def tar_members(stream: _Stream) -> Iterator[Member]:
    """Yield every entry in order; each is read, or skipped, before the next.

    Raises `BadTar` for what is not tar, `EOFError` for a stream that ends early.
    """
    long_name: str | None = None
    long_size: int | None = None
    while True:
        header = _exactly(stream, _BLOCK)
        if not header.strip(b"\0"):
            if len(header) != _BLOCK:
                raise EOFError("the archive has no end")
            return
        if len(header) != _BLOCK:
            raise EOFError("a header ends early")
        kind, size = _checked(header)
        if kind in (b"x", b"L", b"g"):
            name, wide = _record(stream, kind, size)
            long_name = name if name is not None else long_name
            long_size = wide if wide is not None else long_size
            continue
        if long_size is not None:
            size = long_size
        if kind not in (b"0", b"\0"):
            size = 0
        member = Member(long_name or _name(header), size, kind, stream)
        long_name = long_size = None
        yield member
        member.skip()


def _exactly(stream: _Stream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = stream.read(size - len(data))
        if not more:
            break
        data += more
    return data


def _checked(header: bytes) -> tuple[bytes, int]:
    stored = _number(header[148:156])
    total = sum(header[:148]) + 8 * 32 + sum(header[156:])
    if stored != total:
        raise BadTar("a header's checksum is wrong")
    return header[156:157], _number(header[124:136])


def _number(field: bytes) -> int:
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    text = field.strip(b" \0")
    if not text:
        return 0
    if not text.isdigit() or set(text) & set(b"89"):
        raise BadTar("a number in a header is not octal")
    return int(text, 8)


def _name(header: bytes) -> str:
    name = header[:100].partition(b"\0")[0]
    prefix = header[345:500].partition(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    return _text(prefix + b"/" + name if prefix else name)


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadTar("a name is not UTF-8") from error


def _record(stream: _Stream, kind: bytes, size: int) -> tuple[str | None, int | None]:
    """Return the name and the size that a record sets for the next entry."""
    if size > _MAX_RECORD:
        raise BadTar(f"a name record of {size} bytes")
    padded = size + -size % _BLOCK
    data = _exactly(stream, padded)
    if len(data) != padded:
        raise EOFError("a name record ends early")
    data = data[:size]
    if kind == b"L":
        return _text(data.rstrip(b"\0")), None
    fields = dict(_pax(data))
    for name in fields:
        if name.startswith("GNU.sparse") or (kind == b"g" and name in ("path", "size")):
            raise BadTar(f"a pax record sets {name}")
    wide = fields.get("size")
    if wide is not None and not (wide.isdigit() and len(wide) < 19):
        raise BadTar("a pax record's size is not a number")
    return (
        _text(fields["path"]) if "path" in fields else None,
        None if wide is None else int(wide),
    )


def _pax(data: bytes) -> Iterator[tuple[str, bytes]]:
    while data:
        digits, blank, rest = data.partition(b" ")
        if not blank or not digits.isdigit() or len(digits) > 6:
            raise BadTar("a pax record has no length")
        length = int(digits)
        if not len(digits) + 3 <= length <= len(data) or data[length - 1 : length] != b"\n":
            raise BadTar("a pax record's length is wrong")
        key, equals, value = rest[: length - len(digits) - 2].partition(b"=")
        if not equals:
            raise BadTar("a pax record has no value")
        yield _text(key), value
        data = data[length:]
