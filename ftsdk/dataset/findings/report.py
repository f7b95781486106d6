"""The report of a dataset check: its faults and notices, with counts and a summary.

A *fault* stops a job; a *notice* does not, but deserves attention. Both name the row, the field,
what is wrong and how to fix it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ftsdk.dataset.findings.finding import Fault, Severity, SummaryLine, short
from ftsdk.dataset.findings.html import report_card
from ftsdk.dataset.findings.token_summary import BilledTokens, RowLengths, TokenSummary
from ftsdk.errors import DatasetError
from ftsdk.util.names import plural

READ_AS = "FT026"
"""The code whose message lists everything that was read as something else."""

_NUMBERS = re.compile(r"\d[\d,.]*")


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
    tokens: TokenSummary | None = None
    validation_tokens: int | None = None
    """Tokens of the validation rows, counted once; None without them."""
    validation_lengths: RowLengths | None = None
    billed_tokens: Mapping[str, BilledTokens] = field(default_factory=dict)
    """The tokens that each requested provider would bill; filled in by `ftsdk.validate` and the command line."""
    skipped: tuple[str, ...] = ()
    """Checks that could not run here, each with its reason."""

    @property
    def ok(self) -> bool:
        """True when there is no fault (there may be notices)."""
        return not self.faults

    @property
    def lengths(self) -> RowLengths | None:
        """The lengths of all rows, validation rows too; None where they are not known exactly."""
        if self.tokens is None or not self.tokens.exact:
            return None
        return self.tokens.lengths.joined(self.validation_lengths)

    @property
    def findings(self) -> tuple[Fault, ...]:
        """Secrets and personal data (FT4xx), which block an upload until acknowledged."""
        return tuple(f for f in (*self.faults, *self.notices) if f.code.startswith("FT4"))

    def open_findings(self, allowed: bool | Collection[str] = False) -> dict[str, int]:
        """The number of unacknowledged findings of each FT4xx code.

        `allowed` is True for all, or the codes that are known and wanted (`{"FT406"}`). Values that
        were allowed when the rows were checked (`{"FT406:*@ourcompany.com"}`) are no findings.
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
            "tokens": None if self.tokens is None else self.tokens.to_dict(),
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

    def summary_lines(self) -> Iterator[SummaryLine]:
        """One line for each code that was found, faults first."""
        for severity, mark in (("fault", "✗"), ("notice", "!")):
            for code, faults in self.by_code(severity).items():  # type: ignore[arg-type]  # literal
                rows = self.row_counts.get(code, len(faults))
                yield SummaryLine(
                    mark, code, _rows(rows, faults), _first_message(faults), _place(faults),
                    faults[0].hint,
                )  # fmt: skip

    def closing(self) -> str:
        """The number of faults and notices, in one line."""
        faults = sum(self.counts.get(c, 0) for c in {f.code for f in self.faults})
        notices = sum(self.counts.get(c, 0) for c in {f.code for f in self.notices})
        if not faults and not notices:
            return "No fault. Nothing was sent anywhere."
        return f"{plural(faults, 'fault')}, {plural(notices, 'notice')}. Nothing was sent anywhere."

    def __str__(self) -> str:
        table = list(self.summary_lines())
        lines = [self.headline()]
        if table:
            wide_rows = max(len(r[2]) for r in table)
            wide_text = min(72, max(len(r[3].partition("; ")[0]) for r in table))
            for mark, code, rows, message, place, hint in table:
                first, *more = message.split("; ") if code == READ_AS else [message]
                found = f"  {mark} {code}  {rows:<{wide_rows}}  {short(first, 100):<{wide_text}}  {place}"
                lines += [found.rstrip(), *(f"      and   {short(one, 100)}" for one in more)]
                lines.append(f"      hint  {hint}  (docs/errors/{code}.md)")
        lines.extend(f"  · {line}" for line in self._footnotes())
        lines.append(self.closing())
        return "\n".join(lines)

    def _footnotes(self) -> Iterator[str]:
        """Billed tokens, and the checks that were skipped."""
        yield from map(str, self.billed_tokens.values())
        yield from (f"not checked: {reason}" for reason in self.skipped)

    def _repr_html_(self) -> str:
        """The report as a notebook shows it."""
        return report_card(
            name=self.name,
            verdict=self.closing(),
            has_faults=not self.ok,
            facts=self.headline().removeprefix(self.name).strip(),
            tokens=self.tokens,
            findings=list(self.summary_lines()),
            footnotes=self._footnotes(),
        )


def _first_message(faults: list[Fault]) -> str:
    """The first finding's message, and the number of other kinds with the same code."""
    said = (fault.message.removeprefix("validation: ").partition(" (")[0] for fault in faults)
    kinds = {_NUMBERS.sub("0", one) for one in said}
    if len(kinds) == 1:
        return faults[0].message
    others = "1 other kind" if len(kinds) == 2 else f"{len(kinds) - 1:,} other kinds"
    return f"{short(faults[0].message, 80)} (+ {others})"


def _rows(count: int, faults: list[Fault]) -> str:
    if all(f.line == 0 and not f.lines for f in faults):
        return "file"
    return plural(count, "row")


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
