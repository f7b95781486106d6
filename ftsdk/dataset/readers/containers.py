"""Containers: JSON lines (plain, gzip, zstd), JSON array, CSV, Parquet, each as JSON records."""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from ftsdk.dataset.findings.finding import Fault
from ftsdk.dataset.readers.json_array import read_array
from ftsdk.dataset.readers.lines import Block, Record, Stop, read_blocks
from ftsdk.dataset.readers.tables import read_csv, read_parquet
from ftsdk.errors import MissingExtra

_SUFFIXES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".jsonl.gz": "jsonl.gz",
    ".ndjson.gz": "jsonl.gz",
    ".jsonl.zst": "jsonl.zst",
    ".ndjson.zst": "jsonl.zst",
    ".json": "json",
    ".json.gz": "json.gz",
    ".csv": "csv",
    ".tsv": "csv",
    ".csv.gz": "csv.gz",
    ".tsv.gz": "csv.gz",
    ".parquet": "parquet",
}
_SNIFFED = 4096
_GZIP, _ZSTD, _PARQUET = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1"

BOMB_FREE_BYTES = 64 << 20
BOMB_RATIO = 200
"""Text compresses 3 to 20 times; beyond 200, and 64 MiB, it is a bomb or a mistake."""


def container_of(path: Path, head: bytes) -> tuple[str, list[Fault]]:
    """The container of a file by its name and first bytes; raises `Stop` when they disagree."""
    name = path.name.lower()
    found = next(
        (
            kind
            for end, kind in sorted(_SUFFIXES.items(), key=lambda s: -len(s[0]))
            if name.endswith(end)
        ),
        None,
    )
    if found is None and "." not in path.stem:  # `rows.zst` is taken for JSON lines
        found = {".gz": "jsonl.gz", ".zst": "jsonl.zst"}.get(path.suffix.lower())
    for magic, kind, ending in (
        (_GZIP, "gz", ".jsonl.gz"),
        (_ZSTD, "zst", ".jsonl.zst"),
        (_PARQUET, "parquet", ".parquet"),
    ):
        is_so, is_named = head.startswith(magic), (found or "").rpartition(".")[2] == kind
        if is_so and not is_named:
            raise _stop(
                "FT005",
                f"the content is {kind} data, but the name says otherwise",
                f"rename it to {path.name.split('.')[0]}{ending}",
            )
        if is_named and not is_so:
            raise _stop(
                "FT005",
                f"the name ends in {path.suffix}, but the content is not",
                "check how the file was written; it may be plain text",
            )
    if found == "json.gz":
        inside = zlib.decompressobj(wbits=31).decompress(head, _SNIFFED)
        return f"{_text_container(path, inside, 'json')}.gz", []
    if found is not None and found.endswith((".gz", ".zst", "parquet")):
        return found, []
    _refuse_wide(head)
    if found is None or found in {"jsonl", "json"}:
        return _text_container(path, head, found), []
    return found, []


def _text_container(path: Path, head: bytes, found: str | None) -> str:
    text = head.removeprefix(codecs.BOM_UTF8).lstrip(b" \t\r\n")
    _refuse_one_object(text)
    if found == "json":
        # Some tools write JSON lines under .json; an array (or one object over lines) is the rule.
        first = text.split(b"\n", 1)[0].rstrip()
        return "jsonl" if first.startswith(b"{") and first.endswith(b"}") else "json"
    if text.startswith(b"["):
        raise _stop(
            "FT005",
            "this is a JSON array, not one JSON object a line",
            f"rename it to {path.stem}.json, or write JSON lines",
        )
    if text.startswith(b"{") and b"\n" not in text and b"\r" in text.strip():
        raise _stop(
            "FT005",
            "lines end in CR only (old Mac line ends)",
            "end lines with LF (\\n)",
        )
    if text.startswith(b"{") and text[1:].lstrip(b" \t").startswith((b"\n", b"\r\n")):
        raise _stop(
            "FT005",
            "one JSON object is spread over many lines",
            "write each row on one line (no indentation)",
        )
    return "jsonl"


_WRAPPED = re.compile(
    rb'\{\s*"(data|rows|examples|train|items|instances|dataset|records|samples)"\s*:\s*\[\s*[\[{]'
)
_BY_COLUMN = re.compile(rb'\{\s*"[^"\\]{1,100}"\s*:\s*\{\s*"0"\s*:')


def _refuse_one_object(text: bytes) -> None:
    """Raise `Stop` for a file that is one object with all rows in it."""
    wrapped = _WRAPPED.match(text)
    if wrapped is not None:
        name = wrapped[1].decode()
        raise _stop(
            "FT027",
            f"the rows are in a list under the key {name!r} of one object",
            f"write only that list: jq .{name} FILE > rows.json",
        )
    if _BY_COLUMN.match(text):
        raise _stop(
            "FT027",
            "the file is written by columns, as pandas does by default",
            'write it by rows: frame.to_json(path, orient="records", lines=True)',
        )


def _refuse_wide(head: bytes) -> None:
    for bom, name in (
        (codecs.BOM_UTF32_LE, "UTF-32 (little endian)"),
        (codecs.BOM_UTF32_BE, "UTF-32 (big endian)"),
        (codecs.BOM_UTF16_LE, "UTF-16 (little endian)"),
        (codecs.BOM_UTF16_BE, "UTF-16 (big endian)"),
    ):
        if head.startswith(bom):
            raise _stop("FT007", f"the file is {name}", "save it as UTF-8")
    sample = head[:1024]
    if b"\x00" not in sample:
        return
    if sample.count(b"\x00") == len(sample):
        raise _stop(
            "FT016",
            "the file starts with NUL bytes: this is not text",
            "write it again; it may be sparse or damaged",
        )
    even, odd = sample[0::2].count(b"\x00"), sample[1::2].count(b"\x00")
    half = len(sample) // 2
    if odd > 0.4 * half and even < 0.1 * half:
        raise _stop(
            "FT007",
            "the file is UTF-16 (little endian, without BOM)",
            "save it as UTF-8",
        )
    if even > 0.4 * half and odd < 0.1 * half:
        raise _stop("FT007", "the file is UTF-16 (big endian, without BOM)", "save it as UTF-8")


_REPORT_EACH = 256  # records


def records(
    handle: BinaryIO,
    container: str,
    *,
    max_row_bytes: int,
    on_bytes: Callable[[int], None] | None,
) -> Iterator[Block | Record | Fault]:
    """The records of an open file, those of lines in blocks; raises `Stop` when it cannot be read on."""
    if container.endswith((".gz", ".zst")):
        inner, _, packing = container.rpartition(".")
        stream = cast("BinaryIO", _Inflated(handle, packing, on_bytes))
        yield from records(stream, inner, max_row_bytes=max_row_bytes, on_bytes=None)
    elif container == "jsonl":
        yield from read_blocks(handle, max_row_bytes=max_row_bytes, on_bytes=on_bytes)
    elif container == "json":
        yield from _reporting(read_array(handle, max_row_bytes=max_row_bytes), handle, on_bytes)
    elif container == "csv":
        yield from _reporting(read_csv(handle, max_row_bytes=max_row_bytes), handle, on_bytes)
    else:
        yield from read_parquet(handle, on_bytes=on_bytes)


def _reporting(
    found: Iterator[Record | Fault], handle: BinaryIO, on_bytes: Callable[[int], None] | None
) -> Iterator[Record | Fault]:
    """The records; `on_bytes` is called now and then with the bytes read since."""
    reported = 0
    for number, record in enumerate(found):
        if on_bytes is not None and not number % _REPORT_EACH:
            on_bytes(handle.tell() - reported)
            reported = handle.tell()
        yield record
    if on_bytes is not None:
        on_bytes(handle.tell() - reported)


class _Inflated(io.RawIOBase):
    """A decompressing reader that refuses decompression bombs and counts the compressed bytes."""

    def __init__(
        self, handle: BinaryIO, packing: str, on_bytes: Callable[[int], None] | None
    ) -> None:
        self._raw = handle
        self._on_bytes = on_bytes
        self._reported = 0
        self._given = 0
        self._stream: Any = (
            gzip.GzipFile(fileobj=handle, mode="rb") if packing == "gz" else _zstd(handle)
        )

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def read(self, size: int = -1) -> bytes:
        try:
            data = cast("bytes", self._stream.read(size))
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise _stop(
                "FT006",
                f"the compressed data is damaged or cut off ({error})",
                "compress the file again",
            ) from error
        except Exception as error:
            if type(error).__name__ != "ZstdError":
                raise
            raise _stop(
                "FT006",
                f"the compressed data is damaged or cut off ({error})",
                "compress the file again",
            ) from error
        self._given += len(data)
        taken = self._raw.tell()
        if self._given > BOMB_FREE_BYTES and self._given > BOMB_RATIO * taken:
            raise _stop(
                "FT006",
                f"the data is more than {BOMB_RATIO} times larger when decompressed",
                "unpack it yourself if you trust it, and pass the plain file",
            )
        if self._on_bytes is not None:
            self._on_bytes(taken - self._reported)
            self._reported = taken
        return data


def _zstd(handle: BinaryIO) -> Any:
    try:
        import zstandard
    except ImportError as error:
        raise MissingExtra(
            "Reading .zst files needs the package zstandard.",
            hint="pip install 'ftsdk[data]', or unpack the file",
        ) from error
    return _Zstd(handle, zstandard.ZstdDecompressor(max_window_size=1 << 26))


class _Zstd:
    """Unpacks zstd frames from small pieces: a kilobyte can grow to 40 MB, and no more.

    The library's own stream reader says nothing when the data is cut off.
    """

    def __init__(self, handle: BinaryIO, decompressor: Any) -> None:
        self._handle, self._make = handle, decompressor
        self._frame: Any = None
        self._rest = b""

    def read(self, size: int) -> bytes:
        out: list[bytes] = []
        size_out = 0
        while size_out < size // 4:
            data = self._rest or self._handle.read(1024)
            self._rest = b""
            if not data:
                if self._frame is not None:
                    raise EOFError("the last frame has no end")
                break
            if self._frame is None:
                self._frame = self._make.decompressobj()
            piece = self._frame.decompress(data)
            if self._frame.eof:
                self._rest, self._frame = self._frame.unused_data, None
            if piece:
                out.append(piece)
                size_out += len(piece)
        return b"".join(out)


def _stop(code: str, message: str, hint: str) -> Stop:
    return Stop(Fault(code=code, severity="fault", line=0, message=message, hint=hint))
