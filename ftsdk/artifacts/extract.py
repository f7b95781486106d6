"""Extract one named file from an untrusted archive, and nothing else.

Only a regular file is read, only the one asked for, only up to a given size, and always under a
name of ours. Nothing else is unpacked, so no path in the archive becomes a path on this machine.
"""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
import zlib
from pathlib import Path

from ftsdk.errors import UnexpectedResponse

_CHUNK = 1 << 20
_UNIX = 3  # ZipInfo.create_system of archives that carry Unix file modes


def extract_member(archive: Path, suffix: str, target: Path, *, max_bytes: int) -> str:
    """Write the one member whose name ends in `suffix` to `target`; return its SHA-256 (hex).

    Raises `UnexpectedResponse` when the file is not a zip archive, when there is no such member or
    more than one, when it is not a regular file, or when it is larger than `max_bytes`. `target`
    must not exist; on failure it is removed.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            member = _single_member(opened, suffix, archive, max_bytes)
            return _copy(opened, member, target, max_bytes)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        target.unlink(missing_ok=True)
        raise UnexpectedResponse(
            f"{archive.name} is not a valid archive: {error}.",
            where=str(archive),
            hint="download it again",
        ) from error


def _single_member(
    opened: zipfile.ZipFile, suffix: str, archive: Path, max_bytes: int
) -> zipfile.ZipInfo:
    found = [member for member in opened.infolist() if member.filename.endswith(suffix)]
    if len(found) != 1:
        raise UnexpectedResponse(
            f"{archive.name} contains {len(found)} members that end in {suffix}; expected one.",
            where=str(archive),
        )
    member = found[0]
    mode = member.external_attr >> 16
    is_special = member.create_system == _UNIX and stat.S_IFMT(mode) not in (0, stat.S_IFREG)
    if member.is_dir() or is_special or member.flag_bits & 0x1:
        raise UnexpectedResponse(
            f"{member.filename} in {archive.name} is not a plain regular file.", where=str(archive)
        )
    if member.file_size > max_bytes:
        raise UnexpectedResponse(
            f"{member.filename} in {archive.name} declares {member.file_size} bytes; "
            f"at most {max_bytes} are accepted.",
            where=str(archive),
        )
    return member


def _copy(opened: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, max_bytes: int) -> str:
    digest, written = hashlib.sha256(), 0
    fd = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(fd, "wb") as out, opened.open(member) as source:
            while chunk := source.read(_CHUNK):
                written += len(chunk)
                # The header's size is only a claim; the real size is checked here.
                if written > max_bytes:
                    raise UnexpectedResponse(
                        f"{member.filename} unpacks to more than {max_bytes} bytes.",
                        where=str(opened.filename),
                    )
                digest.update(chunk)
                out.write(chunk)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return digest.hexdigest()
