"""One pass over rows: applies every rule to each row and collects what is needed for the whole set."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ftsdk.dataset.codes import RULES
from ftsdk.dataset.findings.finding import Fault, Hit
from ftsdk.dataset.findings.registry import Rule, fault_of
from ftsdk.dataset.findings.secret_patterns import Allowed
from ftsdk.dataset.formats.columns import AS_NAMED
from ftsdk.dataset.formats.registry import Format
from ftsdk.dataset.formats.typed_rows import Pair, Said, TypedForm, WithCalls
from ftsdk.dataset.reader import RowReader
from ftsdk.dataset.readers.lines import Block, Record
from ftsdk.dataset.row import Read, Row, canonical_bytes, images_of, prompt_of
from ftsdk.dataset.rules import secrets
from ftsdk.dataset.rules.duplicates import folded_hash, keys_of
from ftsdk.dataset.rules.extra_keys import Extra, ExtraKeyFindings
from ftsdk.dataset.rules.language import MIN_CHARS
from ftsdk.dataset.rules.near_duplicates import NearDuplicates
from ftsdk.dataset.rules.outliers import is_usual, unusual
from ftsdk.dataset.rules.preference import pair_hits
from ftsdk.dataset.rules.provider import at_provider, row_hits
from ftsdk.dataset.rules.token_counts import Counting
from ftsdk.dataset.rules.tokenized import beyond, token_bound
from ftsdk.dataset.rules.tool_rows import ToolRows
from ftsdk.dataset.tokenize.counters import OpenAICounter, TokenizedRowCounter
from ftsdk.dataset.tokenize.tokenizer_folder import model_folder
from ftsdk.dataset.validation.checked import Checked, Opened, Target
from ftsdk.dataset.validation.plain_rows import Looked, look


class RowChecker:
    """Reads rows and checks each one; `result` is complete when `read` returns."""

    def __init__(
        self,
        opened: Opened,
        target: Target,
        result: Checked,
        *,
        near: NearDuplicates | None = None,
        counts_given: bool = False,
    ) -> None:
        self.opened, self.target, self.result = opened, target, result
        self.limits = target.limits
        self.found, self.duplicates, self.outliers = (
            result.found,
            result.duplicates,
            result.outliers,
        )
        self.near = near
        self.counts_given = counts_given
        """Whether to count rows that are token ids already, for which no tokenizer is needed."""
        self.validation: dict[int, int] = {}
        """The line of each validation row by its hash; training rows are compared with them."""
        self.validation_prompts: dict[int, int] = {}
        """The line of the first validation row of each prompt by the prompt's hash."""
        self._tool_rows = ToolRows()
        self._extra_keys = ExtraKeyFindings(result.found, self.limits)
        self.allowed = secrets.allowed_values(target.allowed)
        self._bound: int | None = None
        self._tokens_seen = False
        self.samples = opened.keep is not None or not opened.source.is_long
        """Whether answers are sampled as they pass; a long file is read at places spread over it."""
        self._rules: tuple[Rule, ...] = ()
        self._rules_for: str | None = None

    # --- reading ------------------------------------------------------------------------------

    def read(
        self, on_bytes: Callable[[int], None] | None = None, *, format_before: str | None = None
    ) -> None:
        """Check every row of the source; `format_before` is the format of earlier rows."""
        opened, result = self.opened, self.result
        reader = RowReader(opened.source, opened.reading,
                           max_row_bytes=opened.max_row_bytes, on_bytes=on_bytes)  # fmt: skip
        reader.format = reader.format or format_before
        for block in reader.blocks():
            if isinstance(block, Fault):
                self.found.add(block)
            else:
                self._take_block(block, reader)
        result.records = reader.records
        result.rows = reader.records if opened.keep is None else self.outliers.texts
        result.format = reader.format
        result.facts = reader.facts
        if result.copy is not None:
            result.copy.lines = self.duplicates.lines

    def _take_block(self, block: Block, reader: RowReader) -> None:
        """Check the rows of a block: those that break no rule together, the others one by one."""
        form = reader.form()
        may_have_calls = reader.format == "chat" and self.opened.reading.columns == AS_NAMED
        looked = look(block, form, self.allowed, self._tool_rows if may_have_calls else None)
        done = 0
        alone = self._taken_alone(looked, form)
        for number, offset in zip(alone, block.offsets_of(alone), strict=True):
            self._take_together(block, looked, done, number, reader.spec)
            reader.records += number - done
            done = number + 1
            raw = block.rows[number].removesuffix(b"\r")
            if not raw or raw.isspace():
                continue
            reader.records += 1
            record = (block.line_of(number), offset, raw)
            if looked.said[number] is not None:
                self._take_plain(record, reader, looked, number)
                continue
            self._take_record(record, reader, may_hold=looked.may_hold(number, raw))
            if reader.form() is not form:
                self._take_block(block.after(number), reader)
                return
        self._take_together(block, looked, done, len(block.rows), reader.spec)
        reader.records += len(block.rows) - done

    def _taken_alone(self, looked: Looked, form: TypedForm | None) -> Sequence[int]:
        """The numbers of the rows that are not taken together with others."""
        if form is None or self._needs_rows():
            return range(len(looked.rows))
        if looked.with_calls and (self.result.counting is not None or self._may_refuse_calls()):
            return sorted((*looked.others, *looked.with_calls))
        return looked.others

    def _take_together(
        self, block: Block, looked: Looked, start: int, end: int, fmt: Format | None
    ) -> None:
        """Count rows that break no rule, from number `start` to before `end`."""
        if start == end or fmt is None:
            return
        said = [what for what in looked.said[start:end] if what is not None]  # all of them
        lines = block.lines(start, end)
        numbers = range(start, end) if looked.extra else ()
        extra = {n - start: looked.extra[n] for n in numbers if n in looked.extra}
        refused = {
            index
            for index, one in extra.items()
            if self._extra_keys.add(
                lines[index], one, fmt, looked.rows[start + index], at_provider=True
            )
        }
        self.outliers.texts += len(said)
        keys = {} if fmt.shape == "chat" else {index: one.keys for index, one in extra.items()}
        self.duplicates.extend(lines, said, map(len, looked.rows[start:end]), keys)
        answers = [what[1] if type(what) is tuple else answer_said(what) for what in said]
        for number in unusual(answers):
            self._add_unusual(lines[number], answers[number] or "")
        if self.samples:
            for line, answer in zip(lines, answers, strict=True):
                self._add_to_sample(line, answer)
        self._count_tokens(lines, said, refused)

    def _count_tokens(
        self, lines: Sequence[int], said: Sequence[Said | WithCalls], refused: Collection[int]
    ) -> None:
        """Count the tokens of rows, but for those with the `refused` indices."""
        counting = self.result.counting
        if counting is None:
            return
        for index, (line, what) in enumerate(zip(lines, said, strict=True)):
            if index in refused:
                counting.skip(line)
            elif not isinstance(what, WithCalls):  # which are taken alone
                counting.add_said(line, what)

    def _needs_rows(self) -> bool:
        """Whether a row that breaks no rule is needed for more than what it says."""
        counting = self.result.counting
        return (
            self.opened.keep is not None
            or bool(self.validation)
            or self.near is not None
            or self.result.copy is not None
            or self._may_refuse_texts()
            or (counting is not None and not isinstance(counting.counter, OpenAICounter))
        )

    def _may_refuse_texts(self) -> bool:
        """Whether a provider's limits can refuse a row of texts that breaks no rule."""
        return self.limits is not None and self.limits.reads_text

    def _may_refuse_calls(self) -> bool:
        """Whether a provider's limits can refuse a row with calls or weights that breaks no rule."""
        return self.limits is not None and not self.limits.takes_calls

    def _take_plain(self, record: Record, reader: RowReader, looked: Looked, number: int) -> None:
        """Take a row that breaks no rule by itself."""
        line, offset, raw = record
        fmt = reader.spec
        assert fmt is not None  # noqa: S101  # rows of no format are never plain
        item = Read(line, offset, raw, fmt.read(fmt.source(raw)), plain=True)
        if self.opened.keep is None or self.opened.keep(item):
            has_calls = isinstance(looked.said[number], WithCalls)
            may_refuse = self._may_refuse_calls() if has_calls else self._may_refuse_texts()
            extra = looked.extra.get(number)
            self._take(item, fmt, may_hold=False, may_refuse=may_refuse, extra=extra)

    def _take_record(self, record: Record, reader: RowReader, *, may_hold: bool) -> None:
        """Read a record in full, and take its row."""
        item = reader.read(record)
        if isinstance(item, Fault):
            self.found.add(item)
        elif self.opened.keep is None or self.opened.keep(item):
            self._take(item, reader.spec, may_hold=may_hold)

    def _take(
        self,
        item: Read,
        fmt: Format | None,
        *,
        may_hold: bool,
        may_refuse: bool | None = None,
        extra: Extra | None = None,
    ) -> None:
        """Check and count one row; a plain one may have `extra` keys."""
        before, refused = self.found.faults, False
        if extra is not None and fmt is not None:
            refused = self._extra_keys.add(
                item.line, extra, fmt, item.raw, at_provider=not may_refuse
            )
        self.found.extend(self.check(item, fmt, may_refuse=may_refuse))
        shape = fmt.shape if fmt is not None else "chat"
        if shape == "tokens":
            self._check_token_ids(item)
        if shape == "chat" and not item.plain:
            self.result.image_rows += any(True for _ in images_of(item.row))
        self.duplicates.add(item.line, *keys_of(item.row, shape), len(item.raw))
        self._look_at_answer(item.line, answer_of(item.row, shape))
        if may_hold:
            self.found.extend(sensitive(item, fmt, self.allowed))
        self._add_to_sets(item, is_sound=self.found.faults == before and not refused)

    def _add_to_sets(self, item: Read, *, is_sound: bool) -> None:
        """Compare a row with others, count its tokens, and copy it."""
        leaks = bool(self.validation) and self._compare(item)
        if self.near is not None:
            self.near.add(item.line, item.row, leaks=leaks)
        counting = self.result.counting
        if counting is not None:
            if is_sound:
                counting.add(item.line, item.row)
            else:
                counting.skip(item.line)
        if self.result.copy is not None:
            self.result.copy.add(canonical_bytes(item.row))

    def _look_at_answer(self, line: int, answer: Any) -> None:
        """Count an answer for the checks of the whole set."""
        self.outliers.texts += 1
        if isinstance(answer, str):
            self._add_to_sample(line, answer)
            if not is_usual(answer):
                self._add_unusual(line, answer)

    def _add_unusual(self, line: int, answer: str) -> None:
        notice = self.outliers.add(line, answer)
        if notice is not None:
            self.found.add(notice)

    def _add_to_sample(self, line: int, answer: str | None) -> None:
        if answer is not None and len(answer) >= MIN_CHARS:
            self.result.sample.add(line, answer)

    # --- the rules ----------------------------------------------------------------------------

    def check(
        self, item: Read, fmt: Format | None, *, may_refuse: bool | None = None
    ) -> Iterator[Fault]:
        """The findings of the row rules and of the provider's limits in one row.

        `may_refuse` is whether the limits may refuse a plain row; of itself it has only texts.
        """
        if fmt is None:
            return
        if not item.plain:
            for rule in self._rules_of(fmt):
                if rule.check is not None:
                    for hit in rule.check(item.row):
                        yield _placed(rule.code, item, fmt, hit)
            if fmt.shape == "preference":
                for code, hit in pair_hits(item.row):
                    yield _placed(code, item, fmt, hit)
            if fmt.own is not None:
                for code, hit in fmt.own(fmt.source(item.raw)):
                    yield fault_of(code, item.line, hit, offset=item.offset)
        if may_refuse is None:
            may_refuse = not item.plain or self._may_refuse_texts()
        if may_refuse:
            yield from self._check_provider(item, fmt)

    def _rules_of(self, fmt: Format) -> tuple[Rule, ...]:
        if self._rules_for != fmt.name:
            self._rules_for = fmt.name
            self._rules = tuple(
                r
                for r in RULES.values()
                if r.check
                and r.shape in (fmt.shape, "any")
                and not (r.code == "FT131" and self.target.method == "kto")
            )
        return self._rules

    def _check_provider(self, item: Read, fmt: Format | None) -> Iterator[Fault]:
        if self.limits is None or fmt is None:
            return
        for code, fact, hit in row_hits(item.row, self.limits):
            yield at_provider(_placed(code, item, fmt, hit), fact)

    def _check_token_ids(self, item: Read) -> None:
        """Report ids that the model's tokenizer does not have; count rows that are ids already."""
        named = self.target.tokenizer or self.target.model
        if not self._tokens_seen:
            self._tokens_seen = True
            if self.result.counting is not None:
                self.result.counting.counter = TokenizedRowCounter()
            elif self.counts_given:
                self.result.counting = Counting(TokenizedRowCounter())
            folder = model_folder(named)
            self._bound = None if folder is None else token_bound(folder)
        if self._bound is not None:
            for hit in beyond(item.row, self._bound, Path(str(named)).name):
                self.found.add(fault_of("FT146", item.line, hit, offset=item.offset))

    def _compare(self, item: Read) -> bool:
        """Whether the row is also a validation row (FT304); a shared prompt is reported as FT314."""
        other = self.validation.get(folded_hash(item.row))
        if other is not None:
            hit = Hit("", f"the row is also line {other} of the validation set")
            self.found.add(fault_of("FT304", item.line, hit, offset=item.offset))
            return True
        prompt = prompt_of(item.row)
        other = None if prompt is None else self.validation_prompts.get(folded_hash(prompt))
        if other is not None:
            hit = Hit("", f"the prompt is also that of line {other} of the validation set")
            self.found.add(fault_of("FT314", item.line, hit, offset=item.offset))
        return False


def facts_of(facts: Mapping[str, int]) -> Iterator[Fault]:
    """One notice with everything that was taken as something else; none where nothing was."""
    if facts:
        said = (
            fact if line == 1 else f"{fact} (first at line {line})" for fact, line in facts.items()
        )
        yield fault_of("FT026", 0, Hit("", "; ".join(said)))


def _placed(code: str, item: Read, fmt: Format, hit: Hit) -> Fault:
    return fault_of(
        code, item.line, hit._replace(field=fmt.field(hit.field, item.raw)), offset=item.offset
    )


def sensitive(item: Read, fmt: Format | None, allowed: Allowed) -> Iterator[Fault]:
    """The secrets and personal data of a row, the first of each kind that is not allowed."""
    seen: set[str] = set()
    for place, match in secrets.scan_row(item.row, allowed):
        if match.what not in seen:
            seen.add(match.what)
            field = fmt.field(place, item.raw) if fmt is not None else place
            hit = Hit(field, f"looks like {match.what} ({match.masked})", match.masked)
            yield fault_of(match.code, item.line, hit, offset=item.offset)


def answer_said(said: Said | WithCalls) -> str | None:
    """As `answer_of`, for the canonical row of which this is all."""
    if isinstance(said, WithCalls):
        return said.text
    if type(said) is tuple:
        return said[1]
    if type(said) is list:
        return said[-1][1]
    return said.chosen if isinstance(said, Pair) else None


def answer_of(row: Row, shape: str) -> Any:
    """The text that a row trains, when it is one text; None otherwise."""
    if shape == "text":
        return None
    messages = row.get("messages") if shape == "chat" else row.get("preferred_output")
    if not isinstance(messages, list) or not messages or not isinstance(messages[-1], dict):
        return None
    last = messages[-1]
    return None if last.get("tool_calls") else last.get("content")
