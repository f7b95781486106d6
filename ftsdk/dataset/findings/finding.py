"""A finding of a dataset check, and the collector that counts findings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Severity = Literal["fault", "notice"]
KEPT_PER_CODE = 10_000
"""This many findings of one code are kept in full; later ones are only counted."""


def short(value: object, limit: int = 60) -> str:
    """A value as at most one short line, control characters escaped."""
    text = (value if isinstance(value, str) else repr(value))[: limit * 2]
    if not text.isprintable():
        text = "".join(
            ch if ch.isprintable() else ch.encode("unicode_escape").decode() for ch in text
        )
    return text if len(text) <= limit else text[: limit - 1] + "…"


@dataclass(frozen=True, slots=True)
class Fault:
    """One finding.

    `line` is the 1-based line of a text file, or the 1-based row of anything else (0: the file as
    a whole); `offset` the byte where the record, or the flaw in it, starts (None where there are
    no bytes); `field` a path such as `messages[2].content`; `value` at most one short line.
    A finding about several rows (duplicates) has their number in `rows` and the first of their
    lines in `lines`.
    """

    code: str
    severity: Severity
    line: int
    message: str
    hint: str = ""
    field: str = ""
    offset: int | None = None
    value: str = ""
    rows: int = 1
    lines: tuple[int, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The finding as `--json` prints it."""
        data: dict[str, Any] = {
            "code": self.code,
            "severity": self.severity,
            "line": self.line,
            "offset": self.offset,
            "field": self.field,
            "message": self.message,
            "hint": self.hint,
            "value": self.value,
        }
        if self.lines:
            data["rows"] = self.rows
            data["lines"] = list(self.lines)
        return data

    def __str__(self) -> str:
        place = f"line {self.line}" if self.line else "file"
        if self.field:
            place += f", {self.field}"
        return f"{self.code}  {place}: {self.message}"


class Findings:
    """Collects faults and notices: all are counted, the first of each code are kept.

    `counts` has the findings by code, `rows` the rows with one: two findings in one row are one row,
    so findings must be added in the order of the rows.
    """

    def __init__(self, kept_per_code: int = KEPT_PER_CODE) -> None:
        self.kept: list[Fault] = []
        self.counts: dict[str, int] = {}
        self.rows: dict[str, int] = {}
        self.faults = 0
        """The findings that were added here and are faults."""
        self._last: dict[str, int] = {}
        self._limit = kept_per_code

    def add(self, fault: Fault) -> None:
        """Count a finding, and keep it while its code has fewer than `kept_per_code`."""
        count = self.counts.get(fault.code, 0) + 1
        self.counts[fault.code] = count
        self.faults += fault.severity == "fault"
        if fault.lines or not fault.line or self._last.get(fault.code) != fault.line:
            self.rows[fault.code] = self.rows.get(fault.code, 0) + fault.rows
        self._last[fault.code] = fault.line
        if count <= self._limit:
            self.kept.append(fault)

    def keeps(self, code: str) -> bool:
        """Whether another finding of this code is kept."""
        return self.counts.get(code, 0) < self._limit

    def count(self, code: str, line: int, findings: int) -> None:
        """Count findings of one row whose code has all that are kept."""
        self.counts[code] += findings
        self.rows[code] += self._last.get(code) != line
        self._last[code] = line

    def next_set(self) -> None:
        """Findings added from here on are about other rows, whose lines start again."""
        self._last.clear()

    def join(
        self, kept: Iterable[Fault], counts: Mapping[str, int], rows: Mapping[str, int]
    ) -> None:
        """Add what another collector kept and counted."""
        room = {code: self._limit - self.counts.get(code, 0) for code in counts}
        for fault in kept:
            if room[fault.code] > 0:
                room[fault.code] -= 1
                self.kept.append(fault)
        for code, count in counts.items():
            self.counts[code] = self.counts.get(code, 0) + count
        for code, count in rows.items():
            self.rows[code] = self.rows.get(code, 0) + count

    def extend(self, faults: Iterable[Fault]) -> None:
        """Add several."""
        for fault in faults:
            self.add(fault)


class Hit(NamedTuple):
    """One hit of a rule: the field path in the canonical row, a message, and the value.

    `droppable` is true for a key that may be left out of the rows, so that the hint names the option.
    """

    field: str
    message: str
    value: Any = None
    droppable: bool = False


class SummaryLine(NamedTuple):
    """All findings of one code in one line of a table; every field is text."""

    mark: str
    code: str
    rows: str
    message: str
    place: str
    hint: str
