"""`--fix`: writes a fixed copy of a file and lists the changes; only changes that lose nothing."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from ftsdk.dataset.conversion.legacy_functions import functions_to_tools
from ftsdk.dataset.dataset import raise_stop
from ftsdk.dataset.findings.finding import Fault
from ftsdk.dataset.findings.registry import RULES
from ftsdk.dataset.formats.columns import Columns
from ftsdk.dataset.formats.shared import Unreadable
from ftsdk.dataset.readers import strict_json
from ftsdk.dataset.readers.lines import DEFAULT_MAX_ROW_BYTES, Record, Stop
from ftsdk.dataset.readers.source import file_fault, open_source
from ftsdk.dataset.row import ROLES
from ftsdk.errors import UsageError
from ftsdk.util import files

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """One change: its code, line and field, and what was done."""

    code: str
    line: int
    field: str
    done: str


@dataclass(frozen=True)
class FixReport:
    """The result of `fix`. `rows` were written, `left` of them unchanged as they could not be read.

    `changes` are the first 10,000 changes, `counts` the number of all by code; `also` lists the changes
    to the file as a whole. `refused` are the first 10,000 places that a person has to change, each with
    the reason in `done`; their rows keep what they have there.
    """

    path: Path
    rows: int
    left: int
    changes: tuple[Change, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    also: tuple[str, ...] = ()
    refused: tuple[Change, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The report as `--json` prints it."""
        changes = [asdict(change) for change in self.changes]
        return {
            "path": str(self.path), "rows": self.rows, "left": self.left, "counts": self.counts,
            "also": list(self.also),
            "changes": changes,
            "refused": [asdict(one) for one in self.refused],
            "mends": changes,  # the former name of the key
        }  # fmt: skip

    def __str__(self) -> str:
        lines = [f"Wrote {self.path}: {self.rows:,} rows, {sum(self.counts.values()):,} fixes"]
        lines.extend(self._counted())
        lines.extend(f"  {done}" for done in self.also)
        lines.extend(f"  line {one.line}, {one.field}: {one.done}" for one in self.refused[:10])
        if len(self.refused) > 10:
            lines.append(f"  … and {len(self.refused) - 10:,} more places that need a person")
        if self.left:
            lines.append(f"  {self.left:,} rows could not be read and are unchanged")
        return "\n".join(lines)

    def _counted(self) -> Iterator[str]:
        """A line for each kind of change; for each code where not all changes are kept."""
        all_kept = len(self.changes) == sum(self.counts.values())
        kinds = Counter((c.code, c.done if all_kept else "") for c in self.changes)
        for (code, done), count in sorted(kinds.items()):
            first = next(c for c in self.changes if c.code == code and done in ("", c.done))
            number = count if all_kept else self.counts[code]
            yield f"  {code}  {number:,} × {first.done} (first at line {first.line})"


def fix(
    source: str | Path,
    output: str | Path,
    *,
    map: Mapping[str, str] | None = None,  # noqa: A002  # as `--map`
    drop: Iterable[str] | None = None,
    drop_duplicates: bool = False,
    max_row_bytes: int = DEFAULT_MAX_ROW_BYTES,
) -> FixReport:
    """Write a fixed copy of a file to `output`, as JSON lines; the source is not changed.

    Fixes a byte order mark, CR line ends, blank lines and commas between rows; columns under other names, JSON texts in
    columns, and index columns; tool arguments that are an object, or encoded twice; `functions` and
    `function_call`, the old form of tools; roles in capitals; weights written `true`, `1.0` or
    `"1"`; NUL characters in text. `map` and `drop` name the columns, as in `Dataset.load`.
    `drop_duplicates` also leaves out rows with the content of an earlier one. The file is read once
    and one row is in memory.

    In JSON lines, a row that needs no fix is copied byte by byte; rows of a JSON array or a table
    become one line each, with the same values. A row that cannot be read is copied as it is.

    Raises `DatasetError` when the source cannot be read, or an element of an array cannot be written
    as one line; `UsageError` for a name that `map` does not know.
    """
    path = Path(output)
    if path.suffix.lower() in _OTHER_SUFFIXES:
        raise UsageError("the fixed copy is JSON lines, but the name says otherwise",
                         where=str(path), hint=f"-o {path.name.split('.')[0]}.fixed.jsonl")  # fmt: skip
    if path.exists() and Path(source).exists() and path.samefile(source):
        raise UsageError("the fixed copy would replace its source", where=str(path),
                         hint="name another file")  # fmt: skip
    try:
        opened = open_source(source)
    except Stop as stop:
        raise_stop(str(source), stop.fault)
    work = _Fixing(Columns.of(map, drop), drop_duplicates, is_copied=opened.container in _LINES)
    with files.atomic_file(path) as handle:
        for record in opened.records(max_row_bytes=max_row_bytes):
            if isinstance(record, Fault):
                work.see_fault(record, opened.name)
                continue
            line = work.line(record)
            if line is not None and b"\n" in line:
                line = _one_line(record, line, opened.name)
            if line is not None:
                handle.write(line)
                handle.write(b"\n")
        if not work.rows:
            raise_stop(opened.name, file_fault("FT004", f"{opened.name} has no rows", RULES["FT004"].hint))  # fmt: skip
    also = [*work.also(), *_container_change(opened.container)]
    return FixReport(
        path, work.rows, work.left, tuple(work.changes), dict(work.counts), tuple(also),
        tuple(work.refused),
    )  # fmt: skip


_LINES = frozenset(("jsonl", "jsonl.gz", "jsonl.zst"))
"""Containers whose records are lines of the file."""


def _container_change(container: str) -> Iterator[str]:
    if container in _LINES:
        return
    kind = container.partition(".")[0]
    title = {"json": "the JSON array", "csv": "the table", "parquet": "the Parquet file"}
    yield f"wrote {title.get(kind, 'the rows')} as JSON lines"


_OTHER_SUFFIXES = frozenset((".gz", ".zst", ".parquet", ".csv", ".tsv"))
"""Names under which JSON lines would not be read again."""

_STRING_OR_BREAK = re.compile(rb'("[^"\\]*+(?:\\.[^"\\]*+)*+")|[ \t]*[\r\n][ \t\r\n]*', re.DOTALL)


def _one_line(record: Record, raw: bytes, name: str) -> bytes:
    """An element of an array that covers several lines as one line; numbers and texts stay as written."""
    line = _STRING_OR_BREAK.sub(lambda found: found[1] or b"", raw)
    if b"\n" in line:  # within a string, so that the row cannot be read and must not change
        flaw = strict_json.parse(raw)
        fault = RULES["FT016"]
        message = flaw.message if isinstance(flaw, strict_json.Flaw) else fault.title
        raise_stop(name, Fault("FT016", "fault", record[0], message, fault.hint, offset=record[1]))
    return line


class _LineEnds:
    """Blank lines and CR line ends between the records, which a fixed copy does not have."""

    def __init__(self) -> None:
        self._line, self._end = 0, 0
        self.blank = 0
        self.has_cr = False

    def see(self, line: int, offset: int | None, raw: bytes) -> None:
        """Look at the bytes before a record; its offset is None when the source is not text."""
        if offset is None:
            return
        feeds, between = line - self._line, offset - self._end
        self.blank += feeds - 1
        if self._line and between > feeds:  # spaces of a blank line count as well
            self.has_cr = self.has_cr or feeds == 1 or between == 2 * feeds
        self._line, self._end = line, offset + len(raw)


class _Fixing:
    """One pass over the records: the bytes to write for each, and what was changed."""

    def __init__(self, columns: Columns, drop_duplicates: bool, *, is_copied: bool) -> None:
        self._columns, self._drop, self._is_copied = columns, drop_duplicates, is_copied
        self.ends = _LineEnds()
        self._seen: set[bytes] = set()
        self.changes: list[Change] = []
        self.refused: list[Change] = []
        self.counts: Counter[str] = Counter()
        self.rows = self.left = self._named = 0

    def see_fault(self, fault: Fault, name: str) -> None:
        """Raise the fault of a record that was not read, which cannot be copied; pass notices."""
        if fault.code == "FT020":
            self.note(Change("FT020", 1, "", "removed the byte order mark"))
        elif fault.severity == "fault":
            raise_stop(name, fault)

    def also(self) -> Iterator[str]:
        """The changes to the file as a whole."""
        if self.ends.blank:
            lines = "1 blank line" if self.ends.blank == 1 else f"{self.ends.blank:,} blank lines"
            yield f"left out {lines}"
        if self.ends.has_cr:
            yield "ended the lines in LF, which ended in CR LF"
        if self._named:
            names = [f"wrote {source} as {name}" for source, name in self._columns.names]
            dropped = [f"left out {key}" for key in self._columns.dropped]
            yield f"{', '.join([*names, *dropped])}, in {self._named:,} rows"

    def note(self, change: Change) -> None:
        self.counts[change.code] += 1
        if len(self.changes) < 10_000:
            self.changes.append(change)

    def line(self, record: Record) -> bytes | None:
        """The bytes to write for one record; None to leave it out."""
        line, _, raw = record
        if self._is_copied:
            self.ends.see(*record)
        inner, unpacked = _row_in(raw)
        if inner is None:
            self.rows, self.left = self.rows + 1, self.left + 1
            return raw
        changes = [] if unpacked is None else [Change(unpacked[0], line, "", unpacked[1])]
        row = self._fixed(inner, line, changes)
        for change in changes:
            self.note(change)
        if self._drop and self._is_repeated(row):
            self.note(Change("FT302", line, "", "left out a duplicate row"))
            return None
        self.rows += 1
        return raw if self._is_copied and not changes and row == inner else orjson.dumps(row)

    def _fixed(self, value: Row, line: int, changes: list[Change]) -> Row:
        """The row with all fixes, each of which is added to `changes`; `value` may change too."""
        row = self._standard(value, line, changes)
        converted = functions_to_tools(row)
        changes += [Change("FT132", line, hit.field, hit.message) for hit in converted.changes]
        changes += fix_row(converted.row, line)
        self._refuse(Change("FT132", line, hit.field, hit.message) for hit in converted.refused)
        return converted.row

    def _standard(self, value: Row, line: int, changes: list[Change]) -> Row:
        """The row with the columns that formats read."""
        facts: list[str] = []
        try:
            row = self._columns.standard(value, facts.append)
        except Unreadable as error:
            self._refuse(iter([Change("FT134", line, error.field, error.message)]))
            return value
        changes += [
            Change("FT026", line, "", f"wrote the row as it is read: {fact}") for fact in facts
        ]
        if self._columns.names or self._columns.dropped:
            self._named += row != value
        return row

    def _refuse(self, places: Iterator[Change]) -> None:
        self.refused.extend(islice(places, 10_000 - len(self.refused)))

    def _is_repeated(self, row: Row) -> bool:
        """Whether a row with this content was there before; keeps a digest of each, not the row."""
        content = orjson.dumps(row, option=orjson.OPT_SORT_KEYS)
        key = hashlib.blake2b(content, digest_size=16).digest()
        if key in self._seen:
            return True
        self._seen.add(key)
        return False


def _row_in(raw: bytes) -> tuple[Row | None, tuple[str, str] | None]:
    """The row of a record, and the code and name of the change that made it one; None without."""
    value = strict_json.parse(raw)
    if isinstance(value, dict):
        return value, None
    if isinstance(value, str):
        inner = strict_json.parse(value.encode())
        change = ("FT026", "wrote the row that was a JSON text within JSON")
    else:
        inner = strict_json.parse(raw.rstrip().removesuffix(b","))
        change = ("FT017", "removed the comma after the row")
    return (inner, change) if isinstance(inner, dict) else (None, None)


_MESSAGES = (
    "messages", "conversations", "preferred_output", "non_preferred_output", "prompt", "chosen", "rejected",
)  # fmt: skip
"""Keys of lists of messages in the rows of any format."""


def fix_row(row: Row, line: int) -> Iterator[Change]:
    """Fix a row in place; yields each change."""
    groups: list[tuple[str, Any]] = [(name, row.get(name)) for name in _MESSAGES]
    prompt = row.get("input")
    if isinstance(prompt, dict):
        groups.append(("input.messages", prompt.get("messages")))
    for place, messages in groups:
        for i, message in enumerate(messages if isinstance(messages, list) else []):
            if isinstance(message, dict):
                yield from _fix_message(message, f"{place}[{i}]", line)
    if isinstance(row.get("text"), str) and "\x00" in row["text"]:
        row["text"] = row["text"].replace("\x00", "")
        yield Change("FT021", line, "text", "removed NUL characters")


_WEIGHTS: tuple[tuple[type, Any, int], ...] = (
    (bool, True, 1), (bool, False, 0), (str, "1", 1), (str, "0", 0), (float, 1.0, 1), (float, 0.0, 0),
)  # fmt: skip


def _fix_message(message: Row, place: str, line: int) -> Iterator[Change]:
    role = message.get("role")
    if isinstance(role, str) and role not in ROLES and role.strip().lower() in ROLES:
        message["role"] = role.strip().lower()
        yield Change("FT104", line, f"{place}.role", "wrote the role in lower case")
    weight = message.get("weight")
    for kind, value, number in _WEIGHTS:
        if type(weight) is kind and weight == value:
            message["weight"] = number
            yield Change("FT107", line, f"{place}.weight", "wrote the weight as 0 or 1")
    if isinstance(message.get("content"), str) and "\x00" in message["content"]:
        message["content"] = message["content"].replace("\x00", "")
        yield Change("FT021", line, f"{place}.content", "removed NUL characters")
    calls = message.get("tool_calls")
    for j, call in enumerate(calls if isinstance(calls, list) else []):
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            yield from _fix_arguments(function, f"{place}.tool_calls[{j}].function.arguments", line)


def _fix_arguments(function: Row, place: str, line: int) -> Iterator[Change]:
    arguments = function.get("arguments")
    if isinstance(arguments, dict):
        function["arguments"] = orjson.dumps(arguments).decode()
        yield Change("FT113", line, place, "wrote the arguments as a JSON string")
        return
    inner = arguments
    for _ in range(4):  # each round takes one layer of encoding off
        if not isinstance(inner, str):
            return
        try:
            value = orjson.loads(inner)
        except orjson.JSONDecodeError:
            return
        if isinstance(value, dict):
            break
        inner = value
    else:
        return
    if inner is not arguments:
        function["arguments"] = inner
        yield Change("FT114", line, place, "removed the second encoding of the arguments")
