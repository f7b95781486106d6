"""One pass over rows: applies every rule to each row and collects what is needed for the whole set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from ftsdk.dataset.codes import RULES
from ftsdk.dataset.findings.finding import Fault, Hit
from ftsdk.dataset.findings.registry import Rule, fault_of
from ftsdk.dataset.findings.secret_patterns import Allowed
from ftsdk.dataset.formats.registry import Format
from ftsdk.dataset.reader import RowReader
from ftsdk.dataset.row import Read, Row, canonical_bytes, images_of, prompt_of
from ftsdk.dataset.rules import secrets
from ftsdk.dataset.rules.duplicates import folded_hash, keys_of
from ftsdk.dataset.rules.language import MIN_CHARS
from ftsdk.dataset.rules.near_duplicates import NearDuplicates
from ftsdk.dataset.rules.outliers import is_usual
from ftsdk.dataset.rules.preference import pair_hits
from ftsdk.dataset.rules.provider import at_provider, row_hits
from ftsdk.dataset.rules.token_counts import Counting
from ftsdk.dataset.rules.tokenized import beyond, token_bound
from ftsdk.dataset.tokenize.counters import TokenizedRowCounter
from ftsdk.dataset.tokenize.tokenizer_folder import model_folder
from ftsdk.dataset.validation.checked import Checked, Opened, Target

_SEEN_KEPT = 200_000
"""This many distinct rows are remembered by their bytes (20 MB); later ones are checked again."""


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
        self.allowed = secrets.allowed_values(target.allowed)
        self._bound: int | None = None
        self._tokens_seen = False
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
        # A row with the same bytes as an earlier row without findings needs no second check.
        seen: dict[int, int] = {}
        may_skip = opened.keep is None and not self.validation
        hashed, known, again = hash, seen.get, self._repeat
        for record in reader.stream():
            if isinstance(record, Fault):
                self.found.add(record)
                continue
            key = hashed(record[2])
            before = known(key)
            if before is not None:
                again(record[0], before, record[2])
                continue
            item = reader.read(record)
            if isinstance(item, Fault):
                self.found.add(item)
            elif opened.keep is None or opened.keep(item):
                index = len(self.duplicates.lines)
                if self._take(item, reader.spec) and may_skip and len(seen) < _SEEN_KEPT:
                    seen[key] = index
        result.records = reader.records
        result.rows = reader.records if opened.keep is None else self.outliers.texts
        result.format = reader.format
        result.facts = reader.facts
        if result.copy is not None:
            result.copy.lines = self.duplicates.lines

    def _repeat(self, line: int, index: int, raw: bytes) -> None:
        """Count a row whose bytes are those of the plain row with this index."""
        self.duplicates.again(line, index)
        self.outliers.texts += 1
        if self.result.counting is not None:
            self.result.counting.again(line, index)
        if self.result.copy is not None:
            self.result.copy.add(canonical_bytes(orjson.loads(raw)))

    def _take(self, item: Read, fmt: Format | None) -> bool:
        """Check and count one row; True when it is plain and has no finding."""
        before = len(self.found.kept)
        answer = self._take_plain(item, fmt) if item.plain else self._take_any(item, fmt)
        usual = self._look_at_answer(item.line, answer)
        if secrets.may_hold(item.raw):
            self.found.extend(sensitive(item, fmt, self.allowed))
        leaks = bool(self.validation) and self._compare(item)
        if self.near is not None:
            self.near.add(item.line, item.row, leaks=leaks)
        counting = self.result.counting
        if counting is not None:
            if any(f.severity == "fault" for f in self.found.kept[before:]):
                counting.skip(item.line)
            else:
                counting.add(item.line, item.row)
        if self.result.copy is not None:
            self.result.copy.add(canonical_bytes(item.row))
        return item.plain and usual and len(self.found.kept) == before

    def _take_plain(self, item: Read, fmt: Format | None) -> Any:
        """Add a plain row to the duplicates; as `_take_any`, without checks that cannot fail."""
        messages = item.row["messages"]
        answer = messages[-1]["content"]
        prompt_key = hash((b"", *[(m["role"], m["content"]) for m in messages[:-1]]))
        if self.limits is not None and self.limits.reads_text:
            self.found.extend(self._check_provider(item, fmt))
        self.duplicates.add(item.line, prompt_key, hash(("assistant", answer)), len(item.raw))
        return answer

    def _take_any(self, item: Read, fmt: Format | None) -> Any:
        """Check a row by all rules and add it to the duplicates; returns its answer."""
        self.found.extend(self.check(item, fmt))
        shape = fmt.shape if fmt is not None else "chat"
        if shape == "tokens":
            self._check_token_ids(item)
        self.result.image_rows += shape == "chat" and any(True for _ in images_of(item.row))
        self.duplicates.add(item.line, *keys_of(item.row, shape), len(item.raw))
        return answer_of(item.row, shape)

    def _look_at_answer(self, line: int, answer: Any) -> bool:
        """Count an answer for the checks of the whole set; True when it is an ordinary one."""
        self.outliers.texts += 1
        if not isinstance(answer, str):
            return True
        if len(answer) >= MIN_CHARS:
            self.result.sample.add(line, answer)
        if is_usual(answer):
            return True
        scripts = len(self.outliers.script_lines)
        notice = self.outliers.add(line, answer)
        if notice is not None:
            self.found.add(notice)
        return not self.outliers.script_lines and scripts == 0

    # --- the rules ----------------------------------------------------------------------------

    def check(self, item: Read, fmt: Format | None) -> Iterator[Fault]:
        """The findings of the row rules and of the provider's limits in one row."""
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
        yield from self._check_provider(item, fmt)

    def _rules_of(self, fmt: Format) -> tuple[Rule, ...]:
        if self._rules_for != fmt.name:
            self._rules_for = fmt.name
            self._rules = tuple(
                r for r in RULES.values() if r.check and r.shape in (fmt.shape, "any")
            )
        return self._rules

    def _check_provider(self, item: Read, fmt: Format | None) -> Iterator[Fault]:
        if self.limits is None or fmt is None or (item.plain and not self.limits.reads_text):
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


def answer_of(row: Row, shape: str) -> Any:
    """The text that a row trains, when it is one text; None otherwise."""
    if shape == "text":
        return None
    messages = row.get("messages") if shape == "chat" else row.get("preferred_output")
    if not isinstance(messages, list) or not messages or not isinstance(messages[-1], dict):
        return None
    last = messages[-1]
    return None if last.get("tool_calls") else last.get("content")
