"""`validate`: one pass over the rows, every rule, one report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ftsdk.dataset.dataset import Dataset
from ftsdk.dataset.lines import DEFAULT_MAX_ROW_BYTES, Stop
from ftsdk.dataset.report import DatasetReport, Fault, Findings
from ftsdk.dataset.rows import Read, RowReader
from ftsdk.dataset.rules import RULES, Rule, fault_of
from ftsdk.dataset.source import Source, open_source

__all__ = ["validate"]


def validate(
    source: Any,
    *,
    provider: str | None = None,
    model: str | None = None,
    method: str = "sft",
    capabilities: Any = None,
    tokenizer: Any = None,
    validation: Any = None,
    format: str | None = None,  # noqa: A002 - the public word for it
    name: str | None = None,
    max_row_bytes: int = DEFAULT_MAX_ROW_BYTES,
    on_bytes: Callable[[int], None] | None = None,
) -> DatasetReport:
    """Every fault and notice of a dataset, for one target, in one run. Nothing is sent anywhere.

    `source` is whatever `Dataset.load` takes. Never raises for what is in the data: also a missing
    file is a fault of the report. `on_bytes` is told how many bytes were read, for a progress bar.
    """
    keep, forced = None, format
    try:
        if isinstance(source, Dataset):
            opened, forced = source._source, format or source._forced
            keep, max_row_bytes = source._keep, source.max_row_bytes
        else:
            opened = open_source(source, name=name)
    except Stop as stop:
        shown = name or (Path(source).name if isinstance(source, (str, Path)) else "rows")
        return DatasetReport(
            name=shown,
            rows=0,
            faults=(stop.fault,),
            provider=provider,
            model=model,
            method=method,
            counts={stop.fault.code: 1},
            row_counts={stop.fault.code: 1},
            path=str(source) if isinstance(source, (str, Path)) else None,
        )
    run = _Run(opened, forced, max_row_bytes, on_bytes, keep)
    run.go()
    return run.report(provider=provider, model=model, method=method)


class _Run:
    """One pass: reads, applies the row rules, keeps the tallies."""

    def __init__(
        self,
        source: Source,
        format_name: str | None,
        max_row_bytes: int,
        on_bytes: Callable[[int], None] | None,
        keep: Callable[[dict[str, Any]], bool] | None,
    ) -> None:
        self.source = source
        self.found = Findings()
        self.reader = RowReader(
            source, format=format_name, max_row_bytes=max_row_bytes, on_bytes=on_bytes
        )
        self.keep = keep
        self.rules: tuple[Rule, ...] = ()
        self.rules_for: str | None = None

    def go(self) -> None:
        """Read everything."""
        self.found.extend(self.source.notices)
        for item in self.reader:
            if isinstance(item, Fault):
                self.found.add(item)
            elif item.plain or (self.keep is not None and not self.keep(item.row)):
                continue
            else:
                self._judge(item)
        if not self.reader.records and not self.found.counts:
            self.found.add(fault_of_file("FT004", f"{self.source.name} holds no rows"))

    def _judge(self, item: Read) -> None:
        fmt = self.reader.spec
        if fmt is None:
            return
        if self.rules_for != fmt.name:
            self.rules_for = fmt.name
            self.rules = tuple(
                r for r in RULES.values() if r.check and r.shape in (fmt.shape, "any")
            )
        for rule in self.rules:
            if rule.check is None:
                continue
            for hit in rule.check(item.row):
                self.found.add(
                    fault_of(
                        rule.code,
                        item.line,
                        hit._replace(field=fmt.field(hit.field)),
                        offset=item.offset,
                    )
                )

    def report(self, *, provider: str | None, model: str | None, method: str) -> DatasetReport:
        """What was found."""
        kept = self.found.kept
        return DatasetReport(
            name=self.source.name,
            rows=self.reader.records,
            faults=tuple(f for f in kept if f.severity == "fault"),
            notices=tuple(f for f in kept if f.severity == "notice"),
            format=self.reader.format,
            container=self.source.container,
            path=str(self.source.path) if self.source.path is not None else None,
            size_bytes=self.source.size_bytes,
            provider=provider,
            model=model,
            method=method,
            counts=self.found.counts,
            row_counts=self.found.rows,
        )


def fault_of_file(code: str, message: str) -> Fault:
    """A finding about the file as a whole, with the rule's own mend."""
    rule = RULES[code]
    return Fault(code=code, severity=rule.severity, line=0, message=message, mend=rule.mend)
