"""Checks of the validation rows: the row rules, duplicates, tokens and the provider's limits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ftsdk.dataset.findings.finding import Fault
from ftsdk.dataset.findings.token_summary import RowLengths
from ftsdk.dataset.formats.registry import Format
from ftsdk.dataset.reader import RowReader
from ftsdk.dataset.readers.canonical_copy import CanonicalCopy
from ftsdk.dataset.row import Read, canonical_bytes, prompt_of, shape_of
from ftsdk.dataset.rules.byte_signs import may_hold
from ftsdk.dataset.rules.duplicates import Duplicates, folded_hash, keys_of
from ftsdk.dataset.rules.provider import validation_faults
from ftsdk.dataset.rules.token_counts import Counting
from ftsdk.dataset.validation.checked import Opened, file_fault
from ftsdk.dataset.validation.checker import RowChecker, facts_of, sensitive


class ValidationRows:
    """Reads the validation rows before the training rows, which are then compared with them.

    Findings go to the checker's result, each marked as one of the validation rows; the rows are
    remembered in `checker.validation` and `checker.validation_prompts`.
    """

    def __init__(self, opened: Opened, checker: RowChecker, copy: CanonicalCopy | None) -> None:
        self._opened, self._checker, self._copy = opened, checker, copy
        counting = checker.result.counting
        self._counting = None if counting is None else Counting(counting.counter)
        self._duplicates = Duplicates()
        self._rows = 0
        self.format: str | None = None

    @property
    def tokens(self) -> int | None:
        """The tokens of all rows, or None when they are not counted."""
        return None if self._counting is None else sum(self._counting.totals)

    @property
    def lengths(self) -> RowLengths | None:
        """The lengths of all rows, or None when they are not counted."""
        counting = self._counting
        if counting is None or not any(counting.totals):
            return None
        totals = counting.totals
        return RowLengths(len(totals), sum(totals), max(totals), max(counting.longest))

    def read(self) -> None:
        """Check every row."""
        opened, found = self._opened, self._checker.found
        reader = RowReader(opened.source, opened.reading, max_row_bytes=opened.max_row_bytes)
        for item in reader:
            if isinstance(item, Fault):
                found.add(in_validation(item))
            elif opened.keep is None or opened.keep(item):
                self._take(item, reader.spec)
        self.format = reader.format
        if self._copy is not None:
            self._copy.lines = self._duplicates.lines
        found.extend(map(in_validation, facts_of(reader.facts)))
        found.extend(map(in_validation, self._of_all_rows(is_empty=not reader.records)))
        found.next_set()

    def _take(self, item: Read, fmt: Format | None) -> None:
        checker = self._checker
        self._rows += 1
        is_sound = True
        for fault in checker.check(item, fmt):
            is_sound &= fault.severity != "fault"
            checker.found.add(in_validation(fault))
        if may_hold(item.raw):
            checker.found.extend(map(in_validation, sensitive(item, fmt, checker.allowed)))
        checker.validation.setdefault(folded_hash(item.row), item.line)
        prompt = prompt_of(item.row)
        if prompt is not None:
            checker.validation_prompts.setdefault(folded_hash(prompt), item.line)
        self._duplicates.add(item.line, *keys_of(item.row, shape_of(item.row)), len(item.raw))
        if checker.near is not None:
            checker.near.add_validation(item.line, item.row)
        if self._counting is not None and is_sound:
            self._counting.add(item.line, item.row)
        if self._copy is not None:
            self._copy.add(canonical_bytes(item.row))

    def _of_all_rows(self, *, is_empty: bool) -> Iterator[Fault]:
        target = self._checker.target
        if self._counting is not None:
            yield from self._counting.faults(
                target.limits, target.method, target.longest_of(self.format)
            )
        yield from self._duplicates.faults(text=self.format == "text")
        if self._checker.near is not None:
            yield from self._checker.near.validation_faults()
        if target.limits is not None:
            yield from validation_faults(target.limits, self._rows)
        if is_empty:
            yield file_fault("FT004", f"{self._opened.name} has no rows")


def in_validation(fault: Fault) -> Fault:
    """A finding, marked as one of the validation rows."""
    return replace(fault, message=f"validation: {fault.message}")
