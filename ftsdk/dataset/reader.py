"""Reads records into canonical rows: strict parsing and format detection."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from ftsdk.dataset.findings.finding import Fault, short
from ftsdk.dataset.findings.registry import RULES
from ftsdk.dataset.formats.registry import FORMATS, Format, detect, matches
from ftsdk.dataset.readers import strict_json
from ftsdk.dataset.readers.lines import DEFAULT_MAX_ROW_BYTES, Record
from ftsdk.dataset.readers.source import Source
from ftsdk.dataset.row import Read
from ftsdk.dataset.rules import chat, file
from ftsdk.dataset.rules.fast_path import is_plain
from ftsdk.errors import UsageError

_REGISTERED = (file, chat)  # the codes that reading itself fires


@dataclass
class RowReader:
    """Reads a source into canonical rows; the first row that has a format decides it."""

    source: Source
    format: str | None = None
    max_row_bytes: int = DEFAULT_MAX_ROW_BYTES
    on_bytes: Callable[[int], None] | None = None
    records: int = 0
    """Records seen so far, faulty ones included."""

    def __post_init__(self) -> None:
        if self.format is not None and self.format not in FORMATS:
            raise UsageError(
                f"there is no row format {self.format!r}",
                where="format=",
                hint=f"one of {', '.join(FORMATS)}",
            )
        self._forced = self.format is not None

    def __iter__(self) -> Iterator[Read | Fault]:
        for record in self.stream():
            yield record if isinstance(record, Fault) else self.read(record)

    def stream(self) -> Iterator[Record | Fault]:
        """The records of the source; pass each to `read`."""
        for record in self.source.records(max_row_bytes=self.max_row_bytes, on_bytes=self.on_bytes):
            if type(record) is tuple:
                self.records += 1
            elif isinstance(record, Fault):
                self.records += record.line > 0 and record.severity == "fault"
            yield record

    def read(self, record: Record) -> Read | Fault:
        """One record as a canonical row, or the fault of a record that is not a row."""
        line, offset, raw = record
        try:
            value = orjson.loads(raw)
        except orjson.JSONDecodeError:
            return self._flawed(record)
        if self.format == "chat" and is_plain(raw, value):
            return Read(line, offset, raw, value, plain=True)
        return self._full(record)

    def _full(self, record: Record) -> Read | Fault:
        line, offset, raw = record
        value = strict_json.parse(raw)
        if isinstance(value, strict_json.Flaw):
            return _fault(record, value)
        if not isinstance(value, dict):
            return Fault(
                "FT019",
                "fault",
                line,
                f"the row is not an object: {short(value)}",
                RULES["FT019"].hint,
                offset=offset,
            )
        found = detect(value)
        if self.format is None and found is not None:
            self.format = found
        if self.format == "chat" and found == "claude" and not self._forced:
            self.format = found  # rows of Claude's look like chat until one has a system prompt
        name = self.format
        if name is None or (found is None and not self._forced):
            keys = ", ".join(short(k, 20) for k in list(value)[:6]) or "none"
            return Fault(
                "FT100",
                "fault",
                line,
                f"no format has these keys: {keys}",
                RULES["FT100"].hint,
                offset=offset,
            )
        if found != name and not self._fits(value, name):
            return Fault(
                "FT101",
                "fault",
                line,
                f"a row of another format ({_title(found)}) in a file of {FORMATS[name].title}",
                RULES["FT101"].hint,
                offset=offset,
            )
        fmt = FORMATS[name]
        row = fmt.read(value)
        return Read(line, offset, raw, row, plain=name == "chat" and is_plain(raw, value))

    def _fits(self, value: dict[str, Any], name: str) -> bool:
        """Whether a row may pass as `name` although another format fits better."""
        if name in matches(value):
            return True
        found = detect(value)
        if found == "chat" and name in ("converse", "claude"):
            return True  # a row without a system prompt looks like plain chat
        if found in ("converse", "claude") and name == "chat" and self._forced:
            return True
        return self._forced and found is None

    def _flawed(self, record: Record) -> Fault:
        flaw = strict_json.parse(record[2])
        if not isinstance(flaw, strict_json.Flaw):  # the two readers disagree: refuse
            flaw = strict_json.Flaw("FT010", "not JSON", RULES["FT010"].hint)
        return _fault(record, flaw)

    @property
    def spec(self) -> Format | None:
        """The format that was found (or forced)."""
        return FORMATS[self.format] if self.format is not None else None


def _title(name: str | None) -> str:
    return FORMATS[name].title if name is not None else "unknown"


def _fault(record: Record, flaw: strict_json.Flaw) -> Fault:
    rule = RULES.get(flaw.code)
    line, start, raw = record
    offset = None if start is None else start + flaw.offset
    around = raw[max(0, flaw.offset - 20) : flaw.offset + 30].decode("utf-8", "replace")
    return Fault(
        code=flaw.code,
        severity=rule.severity if rule and flaw.code != "FT020" else "fault",
        line=line,
        offset=offset,
        message=flaw.message,
        hint=flaw.hint,
        value=short(around),
    )
