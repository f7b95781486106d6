"""Checks that need all rows: duplicates, outliers, languages, and the provider's limits for a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import orjson

from ftsdk.dataset.findings.finding import Fault
from ftsdk.dataset.formats.registry import FORMATS
from ftsdk.dataset.reader import RowReader
from ftsdk.dataset.readers.source import open_regular
from ftsdk.dataset.rules.language import odd_languages, odd_languages_of_file
from ftsdk.dataset.rules.near_duplicates import NearDuplicates
from ftsdk.dataset.rules.provider import file_faults, method_faults
from ftsdk.dataset.rules.token_counts import template_faults
from ftsdk.dataset.tokenize.counters import TokenizedRowCounter
from ftsdk.dataset.validation.checked import Checked, Opened, Target, file_fault
from ftsdk.dataset.validation.checker import answer_of, facts_of


def findings_of_set(
    checked: Checked, opened: Opened, target: Target, near: NearDuplicates | None
) -> Iterator[Fault]:
    """Every finding about the set as a whole."""
    if not checked.records and not any(f.severity == "fault" for f in checked.found.kept):
        yield file_fault("FT004", f"{opened.name} has no rows")
    yield from facts_of(checked.facts)
    yield from checked.duplicates.faults(text=checked.format == "text")
    yield from checked.outliers.faults(checked.duplicates)
    yield from _languages(checked, opened)
    if near is not None:
        yield from near.faults()
    if target.limits is None:
        yield from method_faults(target.method, checked.format)
    else:
        yield from file_faults(
            target.limits, method=target.method, format_name=checked.format, rows=checked.rows,
            size_bytes=opened.source.size_bytes, image_rows=checked.image_rows,
            container=opened.source.container,
        )  # fmt: skip
    if checked.counting is not None:
        if checked.format == "tokenized":  # other processes may have counted
            checked.counting.counter = TokenizedRowCounter()
        longest = target.longest_of(checked.format)
        yield from checked.counting.faults(target.limits, target.method, longest)
        if checked.format is not None and FORMATS[checked.format].shape in ("chat", "preference"):
            yield from template_faults(checked.counting.counter)


def _languages(checked: Checked, opened: Opened) -> Iterator[Fault]:
    """Rows in another language; of a long file the same rows are sampled in one or more passes."""
    source, copy = opened.source, checked.copy
    if source.path is None or not source.is_long or opened.keep is not None:
        yield from odd_languages(checked.sample.kept, whole=checked.sample.is_whole)
    elif copy is not None and copy.is_whole:
        shape = FORMATS[checked.format or "chat"].shape

        def copied_answer(raw: bytes) -> str | None:
            answer = answer_of(orjson.loads(raw), shape)
            return answer if isinstance(answer, str) else None

        for fault in odd_languages_of_file(copy.open(), copy.size_bytes, copied_answer):
            yield replace(fault, line=copy.line_of(fault.line - 1), offset=None)
    else:
        reader = RowReader(source, opened.reading)
        reader.format = checked.format

        def read_answer(raw: bytes) -> str | None:
            item = reader.read((0, None, raw))
            if isinstance(item, Fault):
                return None
            answer = answer_of(item.row, FORMATS[reader.format or "chat"].shape)
            return answer if isinstance(answer, str) else None

        with open_regular(source.path) as handle:
            yield from odd_languages_of_file(handle, source.size_bytes or 0, read_answer)
