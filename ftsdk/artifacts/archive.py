"""Unpack an untrusted archive of weights: regular files only, checked names, within limits.

The format is recognised by the first bytes, never by a name: zip, tar, tar.gz, tar.zst. The tar
reader is our own, because the standard one reads long-name records of any declared size into memory
and supports links, devices and sparse files, none of which belong in a folder of weights. An
archive is refused as a whole: the target folder appears complete or not at all.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import os
import re
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

from ftsdk.artifacts.tar_reader import BadTar, tar_members
from ftsdk.errors import MissingExtra, StoreError, UnexpectedResponse
from ftsdk.util.files import atomic_folder

_CHUNK = 1 << 20
_UNIX = 3  # ZipInfo.create_system of archives that carry Unix file modes
_SMALL = 16 << 20  # below this, a high ratio is harmless: a config of zeros
_ZSTD_WINDOW = 1 << 27  # what `zstd --long` needs; larger windows only exhaust memory
_RESERVED = re.compile(
    r"^(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)$", re.IGNORECASE
)
_MAX_PART_BYTES = 200
_MAX_NAME_BYTES = 900
_MAX_DEPTH = 12
_FORBIDDEN = frozenset('\\:*?"<>|')


@dataclass(frozen=True)
class ArchiveLimits:
    """How much an archive may contain. `ratio` is unpacked over packed bytes, past the first 16 MB."""

    files: int = 10_000
    bytes: int = 400 << 30
    ratio: float = 100.0


class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


def unpack(archive: Path, target: Path, *, limits: ArchiveLimits | None = None) -> list[Path]:
    """Unpack `archive` into the new folder `target`; return the files' paths, sorted.

    `target` must not exist or be an empty folder. Folders in the archive are created as files need
    them; file modes, owners and times are not kept.

    Raises `UnexpectedResponse` for an archive that is damaged, hostile or over the limits (naming
    the member), `MissingExtra` when zstandard is needed and missing, `StoreError` when the disk is
    full or not writable. In each case `target` is empty.
    """
    limits = limits or ArchiveLimits()
    if target.is_dir() and not any(target.iterdir()):
        target.rmdir()
    if target.exists() or target.is_symlink():
        raise StoreError(
            "The folder for the weights already contains files",
            where=str(target),
            hint="give a new folder, or an empty one",
        )
    try:
        with atomic_folder(target) as folder:
            writer = _Writer(folder, archive, limits)
            _walk(archive, writer)
            if not writer.written:
                raise writer.refuse("it contains no files")
    except (BadTar, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise _refused(archive, f"it is damaged: {error}") from error
    except OSError as error:
        raise _disk(target, error) from error
    return sorted(target / name for name in writer.written)


def _refused(archive: Path, why: str) -> UnexpectedResponse:
    return UnexpectedResponse(
        f"The archive {archive.name} is refused: {why}",
        where=str(archive),
        hint="download it again; if it fails again, contact the provider, and do not unpack it by hand",
    )


def _disk(target: Path, error: OSError) -> StoreError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return StoreError(
        "The disk is full" if full else f"The weights cannot be written: {error.strerror or error}",
        where=str(target),
        hint="free some space, or unpack on another disk" if full else "check the folder's rights",
    )


# --- writing ---------------------------------------------------------------------------------


@dataclass
class _Writer:
    """Writes members one by one; checks each name against all earlier ones, and counts."""

    folder: Path
    archive: Path
    limits: ArchiveLimits
    written: list[str] = field(default_factory=list)
    total: int = 0
    entries: int = 0
    packed: Callable[[], int] = lambda: 0
    _seen: dict[str, str] = field(default_factory=dict)
    _folders: dict[str, str] = field(default_factory=dict)

    def refuse(self, why: str) -> UnexpectedResponse:
        return _refused(self.archive, why)

    def folder_entry(self, name: str) -> None:
        """Check a folder's name; it is created only when a file needs it."""
        if name.strip("/") in ("", "."):
            return
        self._parts(name.rstrip("/"))
        self._count()

    def file(self, name: str, declared: int, source: _Readable) -> None:
        """Write one regular file of `declared` bytes."""
        parts = self._parts(name)
        self._count()
        self._unique(parts, name)
        if self.total + declared > self.limits.bytes:
            raise self.refuse(f"it unpacks to more than {self.limits.bytes} bytes")
        path = self.folder.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(fd, "wb") as out:
            left = declared
            while left:
                chunk = source.read(min(left, _CHUNK))
                if not chunk:
                    raise EOFError(f"{_shown(name)} ends {left} bytes early")
                left -= len(chunk)
                self.total += len(chunk)
                self._no_bomb()
                out.write(chunk)
        self.written.append("/".join(parts))

    def _count(self) -> None:
        self.entries += 1
        if self.entries > self.limits.files:
            raise self.refuse(f"it contains more than {self.limits.files} entries")

    def _no_bomb(self) -> None:
        packed = self.packed()
        if self.total > _SMALL and packed and self.total > packed * self.limits.ratio:
            raise self.refuse(
                f"{packed} packed bytes unpack to more than {self.limits.ratio:g} times as much"
            )

    def _parts(self, name: str) -> list[str]:
        while name.startswith("./"):
            name = name[2:]
        fault = _name_fault(name)
        if fault is not None:
            raise self.refuse(f"the name {_shown(name)} {fault}")
        return name.split("/")

    def _unique(self, parts: list[str], name: str) -> None:
        """Refuse names that some file system treats as the same, and a file used as a folder."""
        for depth in range(1, len(parts)):
            above = "/".join(parts[:depth])
            folded = _folded(above)
            if folded in self._seen or self._folders.setdefault(folded, above) != above:
                raise self.refuse(f"{_shown(name)} and another name collide")
        folded = _folded("/".join(parts))
        if folded in self._seen or folded in self._folders:
            raise self.refuse(f"{_shown(name)} is there twice")
        self._seen[folded] = name


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()


def _shown(name: str) -> str:
    return ascii(name if len(name) <= 80 else name[:77] + "...")


def _name_fault(name: str) -> str | None:
    """Return why `name` cannot be a file name here, or None."""
    if not name:
        return "is empty"
    if len(name.encode("utf-8", "surrogatepass")) > _MAX_NAME_BYTES:
        return f"is longer than {_MAX_NAME_BYTES} bytes"
    parts = name.split("/")
    if len(parts) > _MAX_DEPTH:
        return f"is deeper than {_MAX_DEPTH} folders"
    for part in parts:
        if part in ("", ".", ".."):
            return "leads out of the folder"
        if any(
            c in _FORBIDDEN or unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")
            for c in part
        ):
            return "has characters that no file of weights has"
        if part != part.strip() or part.endswith("."):
            return "begins or ends with a blank or a dot"
        if len(part.encode()) > _MAX_PART_BYTES:
            return f"has a part longer than {_MAX_PART_BYTES} bytes"
        if _RESERVED.match(part.partition(".")[0].strip()):
            return "is reserved on Windows"
    return None


# --- reading ---------------------------------------------------------------------------------


def _walk(archive: Path, writer: _Writer) -> None:
    with archive.open("rb") as raw:
        info = os.fstat(raw.fileno())
        if not stat.S_ISREG(info.st_mode):
            raise writer.refuse("it is not a plain file")
        head = raw.read(512)
        raw.seek(0)
        if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
            writer.packed = lambda: info.st_size
            _walk_zip(raw, writer)
        elif head[:2] == b"\x1f\x8b":
            writer.packed = raw.tell
            with gzip.GzipFile(fileobj=raw) as stream:
                _walk_tar(stream, writer)
        elif head[:4] == b"\x28\xb5\x2f\xfd":
            writer.packed = raw.tell
            with _zstd(raw) as stream:
                _walk_tar(stream, writer)
        elif len(head) == 512 and head[257:262] == b"ustar":
            _walk_tar(raw, writer)
        else:
            raise writer.refuse("it is neither zip nor tar, tar.gz or tar.zst")


@contextlib.contextmanager
def _zstd(raw: BinaryIO) -> Iterator[_Readable]:
    try:
        import zstandard
    except ImportError as error:
        raise MissingExtra(
            "Unpacking tar.zst needs zstandard, which is not installed",
            hint="pip install 'ftsdk[together]'",
        ) from error
    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    try:
        with decompressor.stream_reader(raw, read_across_frames=True, closefd=False) as stream:
            yield stream
    except zstandard.ZstdError as error:
        raise BadTar(str(error)) from error


def _walk_tar(stream: _Readable, writer: _Writer) -> None:
    for member in tar_members(stream):
        if member.is_folder:
            writer.folder_entry(member.name)
        elif member.is_file:
            writer.file(member.name, member.size, member)
        else:
            raise writer.refuse(f"{_shown(member.name)} is {member.kind}, not a regular file")
    # Only padding, or the checksum that ends the stream, may follow the end of the tar.
    left = 1 << 20
    while chunk := stream.read(_CHUNK):
        left -= len(chunk)
        if left < 0 or chunk.strip(b"\0"):
            raise writer.refuse("something follows the end of the archive")


def _walk_zip(raw: BinaryIO, writer: _Writer) -> None:
    _directory_is_small(raw, writer)
    with zipfile.ZipFile(raw) as opened:
        for member in opened.infolist():
            # zipfile cuts a name at NUL and keeps the whole in orig_filename.
            if member.filename != member.orig_filename:
                raise writer.refuse(f"the name {_shown(member.orig_filename)} is not plain")
            mode = stat.S_IFMT(member.external_attr >> 16)
            allowed = (0, stat.S_IFDIR if member.is_dir() else stat.S_IFREG)
            if member.create_system == _UNIX and mode not in allowed:
                raise writer.refuse(f"{_shown(member.filename)} is not a regular file")
            if member.flag_bits & 0x1:
                raise writer.refuse(f"{_shown(member.filename)} is encrypted")
            if member.is_dir():
                writer.folder_entry(member.filename)
                continue
            try:
                with opened.open(member) as source:
                    writer.file(member.filename, member.file_size, source)
                    if source.read(1):
                        raise writer.refuse(f"{_shown(member.filename)} is larger than declared")
            except (NotImplementedError, RuntimeError) as error:
                raise writer.refuse(f"{_shown(member.filename)}: {error}") from error


def _directory_is_small(raw: BinaryIO, writer: _Writer) -> None:
    """Refuse a zip directory with too many members before it is read into memory."""
    size = raw.seek(0, os.SEEK_END)
    raw.seek(max(0, size - (1 << 16) - 22))
    tail = raw.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < 22:
        raise zipfile.BadZipFile("the end of the directory is missing")
    entries = int.from_bytes(tail[at + 10 : at + 12], "little")
    length = int.from_bytes(tail[at + 12 : at + 16], "little")
    if entries > writer.limits.files or length > (writer.limits.files + 1) * 1200:
        raise writer.refuse(f"it contains more than {writer.limits.files} entries")
    raw.seek(0)
