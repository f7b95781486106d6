"""What a check of a dataset found: faults, notices and the report that holds them.

A *fault* stops a job; a *notice* is worth a look and does not. Both say which row, where in it,
what is wrong and how to mend it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any, Literal

from ftsdk.errors import DatasetError

__all__ = ["BilledTokens", "DatasetReport", "Fault", "Findings", "Severity", "short"]

Severity = Literal["fault", "notice"]

KEPT_PER_CODE = 10_000
"""So many findings of one code are kept in full; beyond it they are counted only."""


_NUMBERS = re.compile(r"\d[\d,.]*")


def short(value: object, limit: int = 60) -> str:
    """A value as at most one short line, control characters escaped."""
    text = value if isinstance(value, str) else repr(value)
    text = "".join(
        ch if ch.isprintable() else ch.encode("unicode_escape").decode() for ch in text[: limit * 2]
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
        told: dict[str, Any] = {
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
            told["rows"] = self.rows
            told["lines"] = list(self.lines)
        return told

    def __str__(self) -> str:
        place = f"line {self.line}" if self.line else "file"
        if self.field:
            place += f", {self.field}"
        return f"{self.code}  {place}: {self.message}"


class Findings:
    """Collects faults and notices: all are counted, the first of each code are kept.

    `counts` are findings by code, `rows` the rows that have one: two findings in one row are one
    row. So what is found in rows comes in the order of the rows.
    """

    def __init__(self, kept_per_code: int = KEPT_PER_CODE) -> None:
        self.kept: list[Fault] = []
        self.counts: dict[str, int] = {}
        self.rows: dict[str, int] = {}
        self._last: dict[str, int] = {}
        self._limit = kept_per_code

    def add(self, fault: Fault) -> None:
        """Count a finding, and keep it while its code has room."""
        count = self.counts.get(fault.code, 0) + 1
        self.counts[fault.code] = count
        if fault.lines or not fault.line or self._last.get(fault.code) != fault.line:
            self.rows[fault.code] = self.rows.get(fault.code, 0) + fault.rows
        self._last[fault.code] = fault.line
        if count <= self._limit:
            self.kept.append(fault)

    def next_set(self) -> None:
        """What is added from here on is about other rows, whose lines begin anew."""
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


@dataclass(frozen=True)
class BilledTokens:
    """The tokens that one provider would bill for training, all epochs, and the price if known.

    `low` and `high` are equal where the count is exact; None where a provider bills by another
    measure, or nothing. `usd_low` and `usd_high` are US dollars, a job's minimum charge included.
    """

    provider: str
    model: str
    low: int | None
    high: int | None
    usd_low: Decimal | None = None
    usd_high: Decimal | None = None
    assumptions: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As `--json` prints it; amounts are strings."""
        return {
            **asdict(self),
            "usd_low": None if self.usd_low is None else str(self.usd_low),
            "usd_high": None if self.usd_high is None else str(self.usd_high),
            "assumptions": list(self.assumptions),
        }

    def __str__(self) -> str:
        why = "; ".join(self.assumptions)
        if self.low is None or self.high is None:
            return f"{self.provider}: {why}"
        span = f"{self.low:,}" if self.low == self.high else f"{self.low:,} – {self.high:,}"
        price = ""
        if self.usd_low is not None and self.usd_high is not None:
            price = f", ${self.usd_low:.2f}"
            price += "" if self.usd_low == self.usd_high else f" – {self.usd_high:.2f}"
        return f"{self.provider} would bill {span} tokens{price} ({why})"


@dataclass(frozen=True)
class DatasetReport:
    """Everything that was found in one dataset, for one target.

    `faults` and `notices` are in file order; `counts` has the exact number per code, also where
    more were found than are kept. `tokens` is a summary, or None when tokens were not counted.
    """

    name: str
    rows: int
    faults: tuple[Fault, ...] = ()
    notices: tuple[Fault, ...] = ()
    format: str | None = None
    container: str | None = None
    path: str | None = None
    size_bytes: int | None = None
    provider: str | None = None
    model: str | None = None
    method: str = "sft"
    counts: Mapping[str, int] = field(default_factory=dict)
    row_counts: Mapping[str, int] = field(default_factory=dict)
    tokens: Any = None
    validation_tokens: int | None = None
    """Tokens of the validation rows, counted once; None without them."""
    billed_tokens: Mapping[str, BilledTokens] = field(default_factory=dict)
    """What each provider that was asked about would bill for (`ftsdk.validate` and the command
    line fill it in; the rules alone know no prices)."""
    skipped: tuple[str, ...] = ()
    """Checks that could not run here, each with its reason."""

    @property
    def ok(self) -> bool:
        """True when there is no fault (there may be notices)."""
        return not self.faults

    @property
    def findings(self) -> tuple[Fault, ...]:
        """Secrets and personal data (FT4xx), which block an upload until acknowledged."""
        return tuple(f for f in (*self.faults, *self.notices) if f.code.startswith("FT4"))

    def open_findings(self, allowed: bool | Collection[str] = False) -> dict[str, int]:
        """How many findings of each FT4xx code nobody has acknowledged.

        `allowed` is True for all, or the codes that are known and wanted (`{"FT406"}`).
        """
        codes = {f.code for f in self.findings}
        if isinstance(allowed, bool):
            codes = set() if allowed else codes
        else:
            codes -= set(allowed)
        return {code: self.counts.get(code, 0) for code in sorted(codes)}

    def by_code(self, severity: Severity | None = None) -> dict[str, list[Fault]]:
        """Findings grouped by code, in order of code."""
        groups: dict[str, list[Fault]] = {}
        for fault in (*self.faults, *self.notices):
            if severity is None or fault.severity == severity:
                groups.setdefault(fault.code, []).append(fault)
        return dict(sorted(groups.items()))

    def to_dict(self) -> dict[str, Any]:
        """The report as `ftsdk validate --json` prints it; `faults` lists notices too."""
        tokens = self.tokens
        return {
            "ok": self.ok,
            "name": self.name,
            "path": self.path,
            "rows": self.rows,
            "format": self.format,
            "container": self.container,
            "size_bytes": self.size_bytes,
            "provider": self.provider,
            "model": self.model,
            "method": self.method,
            "counts": dict(self.counts),
            "faults": [f.to_dict() for f in (*self.faults, *self.notices)],
            "tokens": tokens.to_dict() if hasattr(tokens, "to_dict") else tokens,
            "validation_tokens": self.validation_tokens,
            "billed_tokens": {name: b.to_dict() for name, b in self.billed_tokens.items()},
            "skipped": list(self.skipped),
        }

    def raise_for_faults(self) -> None:
        """Raise `DatasetError`, which carries this report, when there is a fault."""
        if not self.ok:
            raise self.error()

    def error(self) -> DatasetError:
        """The error that carries this report; there must be a fault."""
        first = self.faults[0]
        count = sum(self.counts.get(code, 0) for code in {f.code for f in self.faults})
        more = f" (and {count - 1} more)" if count > 1 else ""
        place = f"{self.name}, line {first.line}" if first.line else self.name
        if first.field:
            place += f", {first.field}"
        return DatasetError(
            f"{first.message}{more}",
            where=f"{place} [{first.code}]",
            hint=first.hint,
            report=self,
        )

    # --- for people ---------------------------------------------------------------------------

    def headline(self) -> str:
        """One line: name, format, rows and tokens."""
        parts = [
            self.format or "format not known",
            f"{self.rows:,} row{'s' * (self.rows != 1)}",
        ]
        if self.tokens is not None:
            parts.extend(self.tokens.phrases())
        return f"{self.name}   " + " · ".join(parts)

    def summary_lines(self) -> Iterator[tuple[str, str, str, str, str]]:
        """One tuple per code: mark, code, rows, message, place; what the tables show."""
        for severity, mark in (("fault", "✗"), ("notice", "!")):
            for code, faults in self.by_code(severity).items():  # type: ignore[arg-type]  # literal
                rows = self.row_counts.get(code, len(faults))
                yield mark, code, _rows(rows, faults), _first_message(faults), _place(faults)

    def closing(self) -> str:
        """How many faults and notices, in one line."""
        faults = sum(self.counts.get(c, 0) for c in {f.code for f in self.faults})
        notices = sum(self.counts.get(c, 0) for c in {f.code for f in self.notices})
        if not faults and not notices:
            return "No fault. Nothing was sent anywhere."
        return f"{_many(faults, 'fault')}, {_many(notices, 'notice')}. Nothing was sent anywhere."

    def __str__(self) -> str:
        table = list(self.summary_lines())
        lines = [self.headline()]
        if table:
            wide_rows = max(len(r[2]) for r in table)
            wide_text = min(72, max(len(r[3]) for r in table))
            for mark, code, rows, message, place in table:
                lines.append(
                    f"  {mark} {code}  {rows:<{wide_rows}}  {short(message, 100):<{wide_text}}  {place}"
                )
        lines.extend(f"  · {billed}" for billed in self.billed_tokens.values())
        lines.extend(f"  · not checked: {reason}" for reason in self.skipped)
        lines.append(self.closing())
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """The report as a notebook shows it."""
        from ftsdk.dataset.findings.html import report_card

        return report_card(self)


def _many(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def _first_message(faults: list[Fault]) -> str:
    """What the first finding says, and how many of another kind stand behind its code."""
    said = (fault.message.removeprefix("validation: ").partition(" (")[0] for fault in faults)
    kinds = {_NUMBERS.sub("0", one) for one in said}
    if len(kinds) == 1:
        return faults[0].message
    others = "1 other kind" if len(kinds) == 2 else f"{len(kinds) - 1:,} other kinds"
    return f"{short(faults[0].message, 80)} (+ {others})"


def _rows(count: int, faults: list[Fault]) -> str:
    if all(f.line == 0 and not f.lines for f in faults):
        return "file"
    return _many(count, "row")


def _place(faults: list[Fault]) -> str:
    numbers: list[int] = []
    for fault in faults:
        for line in fault.lines or (fault.line,):
            if line and line not in numbers:
                numbers.append(line)
        if len(numbers) > 3:
            break
    if not numbers:
        return ""
    shown = ", ".join(str(n) for n in numbers[:3]) + (", …" if len(numbers) > 3 else "")
    return f"line{'s' if len(numbers) > 1 else ''} {shown}"
