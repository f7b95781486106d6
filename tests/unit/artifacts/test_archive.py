"""T15: forty-odd hostile archives leave nothing behind; sound ones unpack byte for byte."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ftsdk.artifacts.archive import ArchiveLimits, unpack
from ftsdk.errors import StoreError, UnexpectedResponse

zstandard = pytest.importorskip("zstandard", reason="tar.zst needs zstandard")

Entry = tuple[str | tarfile.TarInfo, bytes]
FILES = {
    "adapter_config.json": b'{"r": 16}',
    "adapter_model.safetensors": bytes(range(256)) * 40,
    "nested/tokenizer.json": b"{}",
    "empty.txt": b"",
}
LIMITS = ArchiveLimits(files=100, bytes=64 << 20, ratio=50)


def tar(*entries: Entry, fmt: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=fmt) as archive:
        for name, data in entries:
            info = tarfile.TarInfo(name) if isinstance(name, str) else name
            if info.isreg():
                info.size = len(data)
            archive.addfile(info, io.BytesIO(data) if info.isreg() else None)
    return out.getvalue()


def special(name: str, kind: bytes, link: str = "") -> Entry:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info, b""


def zipped(*entries: tuple[str | zipfile.ZipInfo, bytes], method: int = 8) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return out.getvalue()


def zip_link(name: str, target: bytes) -> bytes:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, 0o120777 << 16
    return zipped((info, target))


def zip_named(written: str, shown: bytes, where: str = "both") -> bytes:
    """A zip whose member's name is changed afterwards, in the directory, the member, or both."""
    data, old = zipped((written, b"x")), written.encode()
    first = data.index(old)
    if where in ("both", "member"):
        data = data[:first] + shown + data[first + len(old) :]
    if where in ("both", "directory"):
        last = data.rindex(old) if where == "directory" else data.rindex(old, first + 1)
        data = data[:last] + shown + data[last + len(old) :]
    return data


def overlapping() -> bytes:
    """Two directory entries that point at one member."""
    data = bytearray(zipped(("one", b"0" * 4096), ("two", b"0" * 4096)))
    directory = data.index(b"PK\x01\x02")
    second = data.index(b"PK\x01\x02", directory + 1)
    data[second + 42 : second + 46] = data[directory + 42 : directory + 46]
    return bytes(data)


def lying_size(size: int) -> bytes:
    """A zip whose directory says the member unpacks to `size` bytes."""
    data = bytearray(zipped(("model.safetensors", b"0" * 100_000)))
    directory = data.index(b"PK\x01\x02")
    data[directory + 24 : directory + 28] = struct.pack("<I", size)
    return bytes(data)


def encrypted() -> bytes:
    data = bytearray(zipped(("a.json", b"{}")))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def raw_header(name: bytes, size: bytes, kind: bytes = b"0") -> bytes:
    block = bytearray(512)
    block[: len(name)] = name
    block[100:108] = b"0000644\0"
    block[124 : 124 + len(size)] = size
    block[156:157] = kind
    block[257:265] = b"ustar\x0000"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def zst(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


GOOD = tar(("a.json", b"{}"))
HOSTILE: dict[str, Callable[[], bytes]] = {
    "parent": lambda: tar(("../x", b"x")),
    "parent inside": lambda: tar(("a/../../x", b"x")),
    "absolute": lambda: tar(("/tmp/x", b"x")),
    "absolute, twice": lambda: tar(("//x", b"x")),
    "symlink then through it": lambda: tar(
        special("out", tarfile.SYMTYPE, "/tmp"), ("out/x", b"x")
    ),
    "symlink inside": lambda: tar(("a", b"x"), special("b", tarfile.SYMTYPE, "a")),
    "hard link": lambda: tar(special("x", tarfile.LNKTYPE, "/etc/passwd")),
    "link with an empty name": lambda: tar(special("", tarfile.SYMTYPE, "")),
    "pipe": lambda: tar(special("x", tarfile.FIFOTYPE)),
    "character device": lambda: tar(special("x", tarfile.CHRTYPE)),
    "block device": lambda: tar(special("x", tarfile.BLKTYPE)),
    "contiguous": lambda: tar(special("x", tarfile.CONTTYPE)),
    "sparse": lambda: raw_header(b"x", b"00000000010\0", b"S") + bytes(1536),
    "300 letters": lambda: tar(("a" * 300, b"x")),
    "300 letters, gnu": lambda: tar(("a" * 300, b"x"), fmt=tarfile.GNU_FORMAT),
    "deep": lambda: tar(("d/" * 40 + "x", b"x")),
    "long real path": lambda: tar(("/".join(["d" * 190] * 8), b"x")),
    "twice": lambda: tar(("a.json", b"1"), ("a.json", b"2")),
    "case twins": lambda: tar(("A.json", b"1"), ("a.json", b"2")),
    "folder case twins": lambda: tar(("A/x", b"1"), ("a/y", b"2")),
    "unicode twins": lambda: tar(("é", b"1"), ("e\u0301", b"2")),
    "ligature twins": lambda: tar(("ﬁle", b"1"), ("file", b"2")),
    "file as folder": lambda: tar(("a", b"1"), ("a/b", b"2")),
    "folder as file": lambda: tar(("a/b", b"1"), ("A", b"2")),
    "CON": lambda: tar(("con", b"x")),
    "NUL.txt": lambda: tar(("NUL.txt", b"x")),
    "trailing dot": lambda: tar(("a.", b"x")),
    "trailing blank": lambda: tar(("a ", b"x")),
    "drive": lambda: tar(("C:x", b"x")),
    "alternate stream": lambda: tar(("a.json:evil", b"x")),
    "backslash": lambda: tar(("..\\x", b"x")),
    "NUL in a pax name": lambda: tar(("a\0b" + "é", b"x")),
    "newline": lambda: tar(("a\nb", b"x")),
    "bidi": lambda: tar(("a\u202egnp.exe", b"x")),
    "not UTF-8": lambda: raw_header(b"\xff\xfe", b"00000000001\0") + b"x".ljust(512, b"\0"),
    "too many": lambda: tar(*((f"f{i}", b"") for i in range(101))),
    "too many folders": lambda: tar(*(special(f"f{i}", tarfile.DIRTYPE) for i in range(101))),
    "over the size": lambda: zst(tar(("x", b"ab" * (33 << 20)))),
    "zst bomb": lambda: zst(tar(("x", bytes(40 << 20)))),
    "gzip bomb": lambda: gzip.compress(tar(("x", bytes(40 << 20)))),
    "declared 8 exabytes": lambda: raw_header(b"x", b"\x80" + bytes(3) + b"\x7f" + b"\xff" * 7),
    "negative size": lambda: raw_header(b"x", b"\xff" * 12),
    "odd size": lambda: raw_header(b"x", b"0000000009z\0"),
    "name record of 1 GB": lambda: raw_header(b"x", b"10000000000\0", b"L"),
    "wrong checksum": lambda: b"b" + GOOD[1:],
    "cut in a header": lambda: GOOD[:300],
    "cut in a file": lambda: tar(("x", b"x" * 4000))[:2000],
    "cut zst": lambda: zst(tar(("x", bytes(range(256)) * 99)))[:-40],
    "cut gzip": lambda: gzip.compress(tar(("x", bytes(range(256)) * 99)))[:-40],
    "no end": lambda: GOOD[:1024],
    "second archive behind": lambda: tar(("x", b"x")) + GOOD,
    "nothing in it": tar,
    "only folders": lambda: tar(special("d", tarfile.DIRTYPE)),
    "global pax path": lambda: (
        raw_header(b"g", b"00000000012\0", b"g") + b"10 path=x\n".ljust(512, b"\0") + GOOD
    ),
    "html": lambda: b"<html>please log in</html>",
    "empty": lambda: b"",
    "pickle": lambda: b"\x80\x04\x95" + b"os\nsystem\n" * 60,
    "zip: parent": lambda: zipped(("../x", b"x")),
    "zip: absolute": lambda: zipped(("/x", b"x")),
    "zip: link": lambda: zip_link("x", b"/etc/passwd"),
    "zip: NUL": lambda: zip_named("abcd", b"a\0cd"),
    "zip: two names": lambda: zip_named("abcd", b"abce", "member"),
    "zip: overlapping": overlapping,
    "zip: lying size": lambda: lying_size(10),
    "zip: lying large": lambda: lying_size(50 << 20),
    "zip: encrypted": encrypted,
    "zip: bomb": lambda: zipped(("x", bytes(40 << 20))),
    "zip: many": lambda: zipped(*((f"f{i}", b"") for i in range(101))),
    "zip: twice in case": lambda: zipped(("A", b"1"), ("a", b"2")),
    "zip: cut": lambda: zipped(("x", b"x" * 5000))[:-30],
    "zip: unknown method": lambda: zipped(("a.json", b"{}")).replace(b"\x08\x00", b"\x63\x00"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused_and_leaves_nothing(name: str, tmp_path: Path) -> None:
    archive = tmp_path / "in" / "weights.bin"
    archive.parent.mkdir()
    archive.write_bytes(HOSTILE[name]())
    target = tmp_path / "out" / "model"
    target.parent.mkdir()
    with pytest.raises(UnexpectedResponse) as caught:
        unpack(archive, target, limits=LIMITS)
    assert "weights.bin" in caught.value.what
    assert caught.value.what.isprintable()
    assert list(target.parent.iterdir()) == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "out"]


def sound() -> dict[str, bytes]:
    plain = tar(*FILES.items())
    return {
        "tar": plain,
        "gnu tar": tar(*FILES.items(), fmt=tarfile.GNU_FORMAT),
        "ustar": tar(*FILES.items(), fmt=tarfile.USTAR_FORMAT),
        "tar.gz": gzip.compress(plain),
        "tar.zst": zst(plain),
        "two zst frames": zst(plain[:1000]) + zst(plain[1000:]),
        "zip": zipped(*FILES.items()),
        "stored zip": zipped(*FILES.items(), method=0),
        "dot names": tar(
            special("./", tarfile.DIRTYPE), *((f"./{k}", v) for k, v in FILES.items())
        ),
    }


@pytest.mark.parametrize("name", sound())
def test_a_sound_archive_unpacks_byte_for_byte(name: str, tmp_path: Path) -> None:
    archive, target = tmp_path / "weights", tmp_path / "model"
    archive.write_bytes(sound()[name])
    paths = unpack(archive, target, limits=LIMITS)
    assert {p.relative_to(target).as_posix(): p.read_bytes() for p in paths} == FILES
    assert all(p.stat().st_mode & 0o777 == 0o600 for p in paths)


@pytest.mark.parametrize("fmt", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_within_the_limit_are_read(fmt: int, tmp_path: Path) -> None:
    name = "é" * 60 + "/" + "b" * 120 + ".json"
    (tmp_path / "a").write_bytes(tar((name, b"{}"), fmt=fmt))
    (path,) = unpack(tmp_path / "a", tmp_path / "model")
    assert path.relative_to(tmp_path / "model").as_posix() == name


def test_a_pax_size_is_honoured(tmp_path: Path) -> None:
    record = b"12 size=600\n"
    data = raw_header(b"x", b"%011o\0" % len(record), b"x") + record.ljust(512, b"\0")
    data += raw_header(b"x", b"00000000000\0") + b"w" * 600 + bytes(1024 - 600) + bytes(1024)
    (tmp_path / "a").write_bytes(data)
    (path,) = unpack(tmp_path / "a", tmp_path / "model")
    assert path.read_bytes() == b"w" * 600


def test_a_folder_that_holds_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(GOOD)
    target = tmp_path / "model"
    target.mkdir()
    assert unpack(tmp_path / "a", target)
    before = (target / "a.json").read_bytes()
    with pytest.raises(StoreError):
        unpack(tmp_path / "a", target)
    assert (target / "a.json").read_bytes() == before


def test_memory_stays_small_on_a_large_declared_name(tmp_path: Path) -> None:
    """A pax record of 8 GB is refused by its header alone."""
    (tmp_path / "a").write_bytes(raw_header(b"x", b"77777777777\0", b"x"))
    with pytest.raises(UnexpectedResponse, match="name record"):
        unpack(tmp_path / "a", tmp_path / "model")
