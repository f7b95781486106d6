"""One pass over the rows: every rule, one report. `validate` is its face."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from ftsdk.dataset.codes import RULES
from ftsdk.dataset.dataset import Dataset
from ftsdk.dataset.findings.registry import Hit, Rule, fault_of
from ftsdk.dataset.findings.report import DatasetReport, Fault, Findings
from ftsdk.dataset.formats.registry import FORMATS, Format, shape_of
from ftsdk.dataset.provider_limits import (
    Limits,
    limits_for,
    limits_of_formats,
    with_capabilities,
)
from ftsdk.dataset.reader import Read, RowReader
from ftsdk.dataset.readers.lines import DEFAULT_MAX_ROW_BYTES, Stop
from ftsdk.dataset.readers.source import Source, open_source
from ftsdk.dataset.rules import secrets
from ftsdk.dataset.rules.content import images_of
from ftsdk.dataset.rules.duplicates import Repeats, keys_of, normal
from ftsdk.dataset.rules.language import MIN_CHARS, Sample, odd_languages, odd_languages_of_file
from ftsdk.dataset.rules.near_duplicates import NearRepeats, why_not_near
from ftsdk.dataset.rules.outliers import Tallies, is_usual
from ftsdk.dataset.rules.preference import pair_hits
from ftsdk.dataset.rules.provider import at_provider, file_faults, row_hits, validation_faults
from ftsdk.dataset.rules.token_counts import Counting, counter_for, cut_at
from ftsdk.dataset.rules.tokenized import GivenTokens, beyond, token_bound
from ftsdk.dataset.tokenize.tokenizer_folder import model_folder
from ftsdk.dataset.validation.parallel import Forwards, is_long, read_in_parts

__all__ = ["Opened", "Run", "judge"]

Row = dict[str, Any]

_SEEN_KEPT = 200_000
"""So many distinct rows are remembered by their bytes (20 MB); beyond it rows are judged again."""


def judge(
    source: Any,
    *,
    provider: str | None,
    model: str | None,
    method: str,
    capabilities: Any,
    limits: Limits | None,
    tokenizer: Any,
    validation: Any,
    format_name: str | None,
    name: str | None,
    tokens: bool | None,
    near_duplicates: bool | None,
    max_length: int | None,
    max_row_bytes: int,
    on_bytes: Callable[[int], None] | None,
) -> DatasetReport:
    """What `validate` gives; its arguments are told there."""
    opened = _open(source, format_name, name, max_row_bytes)
    if isinstance(opened, Fault):
        is_path = isinstance(source, (str, Path))
        shown = name or ((Path(source).name or str(source)) if is_path else "rows")
        return DatasetReport(
            name=shown, rows=0, faults=(opened,), provider=provider, model=model, method=method,
            counts={opened.code: 1}, row_counts={opened.code: 1},
            path=str(source) if isinstance(source, (str, Path)) else None,
        )  # fmt: skip
    limits = limits or limits_for(provider, model)
    counting = None if tokens is False else counter_for(
        tokenizer, model=model, limits=limits, wanted=tokens is True
    )  # fmt: skip
    if limits is None and provider is not None and capabilities is not None:
        limits = limits_of_formats(provider, capabilities.formats)
    limits = with_capabilities(limits, capabilities)
    run = Run(opened, limits, provider, model, method, counting, max_length, near_duplicates)
    if counting is not None:
        run.counter = {"tokenizer": None if tokenizer is None else str(tokenizer), "model": model,
                       "wanted": tokens is True}  # fmt: skip
    run.tokenizer = tokenizer if isinstance(tokenizer, str | Path) else None
    run.counts_given = run.counts_given and tokens is not False
    run.may_part = counting is None or isinstance(tokenizer, str | Path | None)
    if validation is not None:
        run.take_validation(validation, format_name)
    run.go(on_bytes)
    return run.report()


@dataclasses.dataclass(frozen=True)
class Opened:
    """A source with how its rows are read, and which of them count."""

    source: Source
    format: str | None
    keep: Callable[[Row], bool] | None
    max_row_bytes: int
    name: str


def _open(
    source: Any, format_name: str | None, name: str | None, max_row_bytes: int
) -> Opened | Fault:
    if isinstance(source, Dataset):
        return Opened(source._source, format_name or source._forced, source._keep,
                       source.max_row_bytes, name or source.name)  # fmt: skip
    try:
        opened = open_source(source, name=name)
    except Stop as stop:
        return stop.fault
    return Opened(opened, format_name, None, max_row_bytes, opened.name)


class Run:
    """One pass: reads, applies the row rules, keeps the tallies."""

    def __init__(
        self,
        opened: Opened,
        limits: Limits | None,
        provider: str | None,
        model: str | None,
        method: str,
        counting: Counting | None,
        max_length: int | None,
        near: bool | None,
    ) -> None:
        self.opened, self.limits, self.counting = opened, limits, counting
        self.provider, self.model, self.method = provider, model, method
        self.max_length = max_length
        self.found = Findings()
        self.repeats, self.tallies = Repeats(), Tallies()
        self.near = NearRepeats.when_asked(near, opened.source.size_bytes)
        self.skipped = why_not_near(near, opened.source.size_bytes)
        self.validation: dict[int, int] = {}
        self.validation_tokens: int | None = None
        self.rows = self.records = self.image_rows = 0
        self.may_part = False
        self.tokenizer: str | Path | None = None
        self.counts_given = self.opened.source.container != "jsonl"
        """Whether tokens are counted that need no tokenizer; a part of a file cannot decide it."""
        self.sample = Sample()
        self.bound: int | None = None
        self._tokens_seen = False
        self.counter: dict[str, Any] | None = None
        """The arguments of `counter_for` by which a worker makes the same counter."""
        self.format: str | None = None
        self._rules: tuple[Rule, ...] = ()
        self._rules_for: str | None = None

    # --- validation rows ----------------------------------------------------------------------

    def take_validation(self, source: Any, format_name: str | None) -> None:
        """Judge the validation rows by the row rules, and remember them for the leak check."""
        opened = _open(source, format_name, None, DEFAULT_MAX_ROW_BYTES)
        if isinstance(opened, Fault):
            self.found.add(_in_validation(opened))
            return
        reader = RowReader(opened.source, format=opened.format, max_row_bytes=opened.max_row_bytes)
        counting = None if self.counting is None else Counting(self.counting.counter)
        repeats = Repeats()
        rows = 0
        for item in reader:
            if isinstance(item, Fault):
                self.found.add(_in_validation(item))
            elif opened.keep is None or opened.keep(item.row):
                rows += 1
                sound = True
                for fault in self._judge(item, reader.spec):
                    sound &= fault.severity != "fault"
                    self.found.add(_in_validation(fault))
                if secrets.may_hold(item.raw):
                    for fault in _sensitive(item, reader.spec):
                        self.found.add(_in_validation(fault))
                self.validation.setdefault(normal(item.row), item.line)
                repeats.add(item.line, *keys_of(item.row, shape_of(item.row)), len(item.raw))
                if self.near is not None:
                    self.near.add_validation(item.line, item.row)
                if counting is not None and sound:
                    counting.add(item.line, item.row)
        if counting is not None:
            self.validation_tokens = sum(counting.totals)
            for fault in counting.faults(self.limits, self.method, self.max_length):
                self.found.add(_in_validation(fault))
        self.found.extend(map(_in_validation, repeats.faults(text=reader.format == "text")))
        if self.near is not None:
            self.found.extend(map(_in_validation, self.near.validation_faults()))
        self.found.extend(map(_in_validation, self._validation_limits(rows)))
        if not reader.records:
            self.found.add(_in_validation(_file_fault("FT004", f"{opened.name} holds no rows")))
        self.found.next_set()

    def _validation_limits(self, rows: int) -> Iterator[Fault]:
        if self.limits is not None:
            yield from validation_faults(self.limits, rows)

    # --- the pass -----------------------------------------------------------------------------

    def go(self, on_bytes: Callable[[int], None] | None) -> None:
        """Read everything once, by several processes where that is faster, and look at the whole."""
        opened = self.opened
        self.found.extend(opened.source.notices)
        alone = opened.keep is not None or bool(self.validation) or self.near is not None
        tell = None if on_bytes is None else Forwards(on_bytes)
        if alone or not self.may_part or not read_in_parts(self, self.counter, tell):
            self.read(tell)
        if not self.records and not any(f.severity == "fault" for f in self.found.kept):
            self.found.add(_file_fault("FT004", f"{opened.name} holds no rows"))
        self._finish()

    def read(
        self, on_bytes: Callable[[int], None] | None, *, format_before: str | None = None
    ) -> None:
        """Judge every row of the source; `format_before` is what an earlier row gave."""
        opened = self.opened
        reader = RowReader(opened.source, format=opened.format,
                           max_row_bytes=opened.max_row_bytes, on_bytes=on_bytes)  # fmt: skip
        reader.format = reader.format or format_before
        # A row whose bytes were seen before, and were faultless, needs no second look.
        seen: dict[int, int] = {}
        may_skip = opened.keep is None and not self.validation
        hashed, known, again = hash, seen.get, self._again
        for record in reader.stream():
            if isinstance(record, Fault):
                self.found.add(record)
                continue
            key = hashed(record[2])
            before = known(key)
            if before is not None:
                again(record[0], before)
                continue
            item = reader.read(record)
            if isinstance(item, Fault):
                self.found.add(item)
            elif opened.keep is None or opened.keep(item.row):
                index = len(self.repeats.lines)
                if self._take(item, reader.spec) and may_skip and len(seen) < _SEEN_KEPT:
                    seen[key] = index
        self.records = reader.records
        self.rows = reader.records if opened.keep is None else self.tallies.texts
        self.format = reader.format

    def _again(self, line: int, index: int) -> None:
        self.repeats.again(line, index)
        self.tallies.texts += 1
        if self.counting is not None:
            self.counting.again(line, index)

    def _take(self, item: Read, fmt: Format | None) -> bool:
        """Judge and count one row; True when it is plain and nothing was found in it."""
        before = len(self.found.kept)
        row, line = item.row, item.line
        if item.plain:
            messages = row["messages"]
            answer = messages[-1]["content"]
            # As `keys_of` would, without its looks at what a plain row cannot have.
            prompt_key = hash((b"", *[(m["role"], m["content"]) for m in messages[:-1]]))
            answer_key = hash(("assistant", answer))
            if self.limits is not None and self.limits.reads_text:
                self.found.extend(self._judge_provider(item, fmt))
        else:
            self.found.extend(self._judge(item, fmt))
            shape = fmt.shape if fmt is not None else "chat"
            if shape == "tokens":
                self._look_at_tokens(item)
            prompt_key, answer_key = keys_of(row, shape)
            answer = _answer(row, shape)
            self.image_rows += shape == "chat" and any(True for _ in images_of(row))
        self.repeats.add(line, prompt_key, answer_key, len(item.raw))
        self.tallies.texts += 1
        usual = not isinstance(answer, str) or is_usual(answer)
        if isinstance(answer, str) and len(answer) >= MIN_CHARS:
            self.sample.add(line, answer)
        if not usual:
            scripts = len(self.tallies.script_lines)
            told = self.tallies.add(line, answer)
            if told is not None:
                self.found.add(told)
            usual = not self.tallies.script_lines and scripts == 0
        if secrets.may_hold(item.raw):
            self.found.extend(_sensitive(item, fmt))
        leaks = bool(self.validation) and self._compare(item)
        if self.near is not None:
            self.near.add(line, row, told=leaks)
        if self.counting is not None:
            if any(f.severity == "fault" for f in self.found.kept[before:]):
                self.counting.skip(line)
            else:
                self.counting.add(line, row)
        return item.plain and usual and len(self.found.kept) == before

    def _look_at_tokens(self, item: Read) -> None:
        """Ids that the model's tokenizer does not have; and who counts tokens that stand there."""
        if not self._tokens_seen:
            self._tokens_seen = True
            if self.counting is not None:
                self.counting.counter = GivenTokens()
            elif self.counts_given:
                self.counting = Counting(GivenTokens())
            folder = model_folder(self.tokenizer or self.model)
            self.bound = None if folder is None else token_bound(folder)
        if self.bound is not None:
            name = Path(str(self.tokenizer or self.model)).name
            for hit in beyond(item.row, self.bound, name):
                self.found.add(fault_of("FT146", item.line, hit, offset=item.offset))

    def _judge(self, item: Read, fmt: Format | None) -> Iterator[Fault]:
        if fmt is None:
            return
        if not item.plain:
            if self._rules_for != fmt.name:
                self._rules_for = fmt.name
                self._rules = tuple(
                    r for r in RULES.values() if r.check and r.shape in (fmt.shape, "any")
                )
            for rule in self._rules:
                if rule.check is not None:
                    for hit in rule.check(item.row):
                        yield _placed(rule.code, item, fmt, hit)
            if fmt.shape == "preference":
                for code, hit in pair_hits(item.row):
                    yield _placed(code, item, fmt, hit)
            if fmt.own is not None:
                for code, hit in fmt.own(orjson.loads(item.raw)):
                    yield fault_of(code, item.line, hit, offset=item.offset)
        yield from self._judge_provider(item, fmt)

    def _judge_provider(self, item: Read, fmt: Format | None) -> Iterator[Fault]:
        if self.limits is None or fmt is None or (item.plain and not self.limits.reads_text):
            return
        for code, fact, hit in row_hits(item.row, self.limits):
            yield at_provider(_placed(code, item, fmt, hit), fact)

    def _compare(self, item: Read) -> bool:
        """Whether the row is in the validation set, told as FT304."""
        other = self.validation.get(normal(item.row))
        if other is not None:
            hit = Hit("", f"the row is also line {other} of the validation set")
            self.found.add(fault_of("FT304", item.line, hit, offset=item.offset))
        return other is not None

    def _finish(self) -> None:
        is_text = self.format == "text"
        self.found.extend(self.repeats.faults(text=is_text))
        self.found.extend(self.tallies.faults(self.repeats))
        self._look_at_languages()
        if self.near is not None:
            self.found.extend(self.near.faults())
        if self.repeats.full:
            self.skipped.append("repeats beyond the first eight million rows")
        if self.limits is not None:
            self.found.extend(
                file_faults(self.limits, method=self.method, format_name=self.format, rows=self.rows,
                            size_bytes=self.opened.source.size_bytes, image_rows=self.image_rows,
                            container=self.opened.source.container)
            )  # fmt: skip
        if self.counting is not None:
            if self.format == "tokenized":  # also where others than this process counted
                self.counting.counter = GivenTokens()
            self.found.extend(self.counting.faults(self.limits, self.method, self.max_length))

    def _look_at_languages(self) -> None:
        path, size = self.opened.source.path, self.opened.source.size_bytes
        long = is_long(self.opened.source) and self.opened.keep is None
        if path is None or size is None or not long:
            self.found.extend(odd_languages(self.sample.kept, whole=self.sample.is_whole))
        else:  # the same rows are looked at, however many processes read
            reader = RowReader(self.opened.source, format=self.format)

            def answer_of(raw: bytes) -> str | None:
                item = reader.read((0, None, raw))
                told = (
                    None
                    if isinstance(item, Fault)
                    else _answer(item.row, FORMATS[reader.format or "chat"].shape)
                )
                return told if isinstance(told, str) else None

            self.found.extend(odd_languages_of_file(path, size, answer_of))

    def report(self) -> DatasetReport:
        """What was found, faults and notices in file order."""
        kept = sorted(self.found.kept, key=lambda f: f.line)
        source = self.opened.source
        return DatasetReport(
            name=self.opened.name,
            rows=self.rows,
            faults=tuple(f for f in kept if f.severity == "fault"),
            notices=tuple(f for f in kept if f.severity == "notice"),
            format=self.format,
            container=source.container,
            path=str(source.path) if source.path is not None else None,
            size_bytes=source.size_bytes,
            provider=self.provider,
            model=self.model,
            method=self.method,
            counts=self.found.counts,
            row_counts=self.found.rows,
            tokens=None
            if self.counting is None
            else self.counting.summary(
                self.max_length, cut_at(self.limits, self.method, self.max_length)
            ),
            validation_tokens=self.validation_tokens,
            skipped=tuple(self.skipped),
        )


def _placed(code: str, item: Read, fmt: Format, hit: Hit) -> Fault:
    return fault_of(
        code, item.line, hit._replace(field=fmt.field(hit.field, item.raw)), offset=item.offset
    )


def _sensitive(item: Read, fmt: Format | None) -> Iterator[Fault]:
    told: set[str] = set()
    for place, found in secrets.scan_row(item.row):
        if found.what not in told:
            told.add(found.what)
            field = fmt.field(place, item.raw) if fmt is not None else place
            hit = Hit(field, f"looks like {found.what} ({found.masked})", found.masked)
            yield fault_of(found.code, item.line, hit, offset=item.offset)


def _answer(row: Row, shape: str) -> Any:
    """The text that a row teaches, where it is one text."""
    if shape == "text":
        return None
    messages = row.get("messages") if shape == "chat" else row.get("preferred_output")
    if not isinstance(messages, list) or not messages or not isinstance(messages[-1], dict):
        return None
    last = messages[-1]
    return None if last.get("tool_calls") else last.get("content")


def _in_validation(fault: Fault) -> Fault:
    return dataclasses.replace(fault, message=f"validation: {fault.message}")


def _file_fault(code: str, message: str) -> Fault:
    rule = RULES[code]
    return Fault(code=code, severity=rule.severity, line=0, message=message, hint=rule.hint)
