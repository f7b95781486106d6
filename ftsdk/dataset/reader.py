"""Reads records into canonical rows: strict parsing and format detection."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from ftsdk.dataset.findings.finding import Fault, short
from ftsdk.dataset.findings.registry import RULES
from ftsdk.dataset.formats.columns import AS_NAMED, Columns, map_hint
from ftsdk.dataset.formats.registry import FORMATS, Format, detect, matches
from ftsdk.dataset.formats.shared import Unreadable
from ftsdk.dataset.formats.typed_rows import FORMS, TypedForm
from ftsdk.dataset.readers import strict_json
from ftsdk.dataset.readers.lines import DEFAULT_MAX_ROW_BYTES, Block, Record
from ftsdk.dataset.readers.source import Source
from ftsdk.dataset.row import Read
from ftsdk.dataset.rules import chat, file
from ftsdk.dataset.rules.extra_keys import means_nothing
from ftsdk.dataset.rules.fast_path import is_plain
from ftsdk.errors import UsageError

_REGISTERED = (file, chat)  # the codes that reading itself fires


@dataclass(frozen=True)
class Reading:
    """How rows are to be read, as far as the user said: format, columns, and the method they are for.

    The method decides where a row can be read by several formats. Raises `UsageError` for a format
    that does not exist.
    """

    format: str | None = None
    columns: Columns = AS_NAMED
    method: str | None = None

    def __post_init__(self) -> None:
        if self.format is not None and self.format not in FORMATS:
            raise UsageError(
                f"there is no row format {self.format!r}",
                where="format=",
                hint=f"one of {', '.join(FORMATS)}",
            )

    @classmethod
    def of(
        cls,
        format_name: str | None = None,
        names: Mapping[str, str] | None = None,
        dropped: Iterable[str] | None = None,
        method: str | None = None,
    ) -> Reading:
        """The reading that the arguments `format=`, `map=`, `drop=` and `method=` ask for."""
        return cls(format_name, Columns.of(names, dropped), method)

    def with_more(self, other: Reading) -> Reading:
        """This reading with what `other` says instead or as well."""
        names = {**dict(self.columns.names), **dict(other.columns.names)}
        columns = Columns.of(names, (*self.columns.dropped, *other.columns.dropped))
        return Reading(other.format or self.format, columns, other.method or self.method)

    def to_dict(self) -> dict[str, Any]:
        """The reading as JSON values; `from_dict` reads it."""
        return {
            "format": self.format,
            "names": [list(pair) for pair in self.columns.names],
            "dropped": list(self.columns.dropped),
            "method": self.method,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Reading:
        """The reading that `to_dict` wrote."""
        names = tuple((source, name) for source, name in data["names"])
        return cls(data["format"], Columns(names, tuple(data["dropped"])), data["method"])


AS_DETECTED = Reading()
"""Rows as they are detected: nothing was said about them."""


@dataclass
class RowReader:
    """Reads a source into canonical rows; the first row that has a format decides it."""

    source: Source
    reading: Reading = AS_DETECTED
    max_row_bytes: int = DEFAULT_MAX_ROW_BYTES
    on_bytes: Callable[[int], None] | None = None
    records: int = 0
    """Records seen so far, faulty ones included."""
    facts: dict[str, int] = field(default_factory=dict)
    """What was taken as what, each with the line where it was first; in the order of the lines."""

    def __post_init__(self) -> None:
        self.format: str | None = self.reading.format
        self._forced = self.format is not None
        self._columns = self.reading.columns
        self._line = 0
        self._specs: dict[str, Format] = {}
        self._forms: dict[str, TypedForm | None] = {}
        self._names: dict[str, str] | None = None
        """The columns of the first row by their standard names, where they have others."""
        self._has_names = False

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

    def blocks(self) -> Iterator[Block | Fault]:
        """As `stream`, in blocks; count the records of each with `records`."""
        for block in self.source.blocks(max_row_bytes=self.max_row_bytes, on_bytes=self.on_bytes):
            if isinstance(block, Fault):
                self.records += block.line > 0 and block.severity == "fault"
            yield block

    def form(self) -> TypedForm | None:
        """The form in which most rows of this format can be decoded at once, where there is one.

        Where columns have other names, they are those of the first row.
        """
        if self.format is None or self._columns.dropped:
            return None
        if self.format not in self._forms:
            known = FORMS.get(self.format)
            if self._names is not None:
                names = {k: v for k, v in self._names.items() if k != v or not means_nothing(k)}
                known = None if known is None else known.renamed(names)
            elif self._columns.names:
                known = None
            self._forms[self.format] = known
        return self._forms[self.format]

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
        self._line = line
        value = strict_json.parse(raw)
        if isinstance(value, str) and value.lstrip().startswith("{"):
            inner = strict_json.parse(value.encode())
            if isinstance(inner, dict):
                self._say("each row is a JSON text within JSON, and is read as the row in it")
                value = inner
        if isinstance(value, strict_json.Flaw):
            return _fault(record, value)
        if not isinstance(value, dict):
            return _refused(record, "FT019", f"the row is not an object: {short(value)}")
        try:
            standard = self._columns.standard(value, self._say)
            if not self._has_names:
                self._has_names = True
                self._names = self._columns.plain_names(tuple(value))
                self._forms.clear()
            return self._row(record, standard, value)
        except Unreadable as error:
            hint = error.hint or RULES["FT134"].hint
            return Fault(
                "FT134", "fault", line, error.message, hint, field=error.field, offset=offset
            )

    def _row(self, record: Record, value: dict[str, Any], source: dict[str, Any]) -> Read | Fault:
        """A row whose columns have their standard names as a canonical row."""
        line, offset, raw = record
        found = detect(value, self.reading.method)
        if self.format is None and found is not None:
            self.format = found
        if self.format == "chat" and found == "claude" and not self._forced:
            self.format = found  # rows of Claude's look like chat until one has a system prompt
        name = self.format
        if name is None or (found is None and not self._forced):
            keys = ", ".join(short(k, 20) for k in list(source)[:6]) or "none"
            hint = (
                f"{map_hint(source)}; or {RULES['FT100'].hint}" if source else RULES["FT100"].hint
            )
            fault = _refused(record, "FT100", f"no format has these keys: {keys}")
            return replace(fault, hint=hint)
        if found != name and not self._fits(value, name):
            return _refused(
                record, "FT101",
                f"a row of another format ({_title(found)}) in a file of {FORMATS[name].title}",
            )  # fmt: skip
        self._say_other_readings(value, name)
        row = FORMATS[name].read(value, self._say)
        return Read(line, offset, raw, row, plain=name == "chat" and is_plain(raw, value))

    def _say(self, fact: str) -> None:
        self.facts.setdefault(fact, self._line)

    def _say_other_readings(self, value: dict[str, Any], name: str) -> None:
        """Say that a row can be read as chat and as a pair, when nobody chose."""
        if self._forced or self.reading.method is not None:
            return
        if "chosen" not in value and "rejected" not in value and "preferred_output" not in value:
            return
        for other in matches(value):
            if (FORMATS[other].shape == "preference") is not (FORMATS[name].shape == "preference"):
                self._say(f"the rows are read as {FORMATS[name].title}; "
                          f"--format {other} reads them as {FORMATS[other].title}")  # fmt: skip

    def _fits(self, value: dict[str, Any], name: str) -> bool:
        """Whether a row may pass as `name` although another format fits better."""
        if name in matches(value):
            return True
        found = detect(value)
        if found == "chat" and name in ("converse", "claude"):
            return True  # a row without a system prompt looks like plain chat
        if found == "kto" and FORMATS[name].shape == "chat" and FORMATS[name].keys[0] in value:
            return True  # its label is a finding of its own (FT131)
        if found in ("converse", "claude") and name == "chat" and self._forced:
            return True
        return self._forced and (found is None or any(k in value for k in FORMATS[name].keys))

    def _flawed(self, record: Record) -> Fault:
        flaw = strict_json.parse(record[2])
        if not isinstance(flaw, strict_json.Flaw):  # the two readers disagree: refuse
            flaw = strict_json.Flaw("FT010", "not JSON", RULES["FT010"].hint)
        return _fault(record, flaw)

    @property
    def spec(self) -> Format | None:
        """The format that was found (or forced), with the names of the file's columns."""
        if self.format is None:
            return None
        known = self._specs.get(self.format)
        if known is None:
            known = replace(FORMATS[self.format], columns=self._columns)
            self._specs[self.format] = known
        return known


def _title(name: str | None) -> str:
    return FORMATS[name].title if name is not None else "unknown"


def _refused(record: Record, code: str, message: str) -> Fault:
    return Fault(code, "fault", record[0], message, RULES[code].hint, offset=record[1])


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
