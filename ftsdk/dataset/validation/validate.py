"""Validation of a dataset for one target: `validate`, and `validate_for_job`, which keeps a copy."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ftsdk.dataset.dataset import MODEL, TOKENIZER, Dataset
from ftsdk.dataset.findings.finding import Fault
from ftsdk.dataset.findings.report import DatasetReport
from ftsdk.dataset.findings.token_summary import RowLengths
from ftsdk.dataset.provider_limits import Limits, limits_for, limits_of_formats, with_capabilities
from ftsdk.dataset.reader import AS_DETECTED, Reading
from ftsdk.dataset.readers.canonical_copy import CanonicalCopy
from ftsdk.dataset.readers.lines import DEFAULT_MAX_ROW_BYTES
from ftsdk.dataset.rules.near_duplicates import NearDuplicates, why_not_near
from ftsdk.dataset.rules.token_counts import counter_for, cut_at
from ftsdk.dataset.validation.checked import Checked, Opened, Target, open_rows, opened_dataset
from ftsdk.dataset.validation.checker import RowChecker
from ftsdk.dataset.validation.parallel import ForwardProgress, check_in_parts
from ftsdk.dataset.validation.stale_copies import remove_stale_copies
from ftsdk.dataset.validation.validation_rows import ValidationRows, in_validation
from ftsdk.dataset.validation.whole_set import findings_of_set
from ftsdk.errors import UsageError
from ftsdk.util.arguments import COUNT, FLAG, FUNCTION, MAPPING, TEXT, TEXTS, Check, checked

ALLOWABLE = tuple(f"FT{number}" for number in range(401, 409))
"""The codes of secrets and personal data."""
ALLOWED = Check("true, false or codes", lambda v: isinstance(v, bool) or TEXTS.accepts(v))


@checked(
    model=MODEL,
    tokenizer=TOKENIZER,
    format=TEXT,
    map=MAPPING,
    drop=TEXTS,
    allow_findings=ALLOWED,
    name=TEXT,
    tokens=FLAG,
    near_duplicates=FLAG,
    max_length=COUNT,
    max_row_bytes=COUNT,
    on_bytes=FUNCTION,
)
def validate(
    source: Any,
    *,
    provider: str | None = None,
    model: str | None = None,
    method: str | None = None,
    capabilities: Any = None,
    limits: Limits | None = None,
    tokenizer: Any = None,
    validation: Any = None,
    format: str | None = None,  # noqa: A002  # the public word for it
    map: Mapping[str, str] | None = None,  # noqa: A002  # as `--map`
    drop: Iterable[str] | None = None,
    allow_findings: bool | Collection[str] = False,
    name: str | None = None,
    tokens: bool | None = None,
    near_duplicates: bool | None = None,
    max_length: int | None = None,
    max_row_bytes: int = DEFAULT_MAX_ROW_BYTES,
    on_bytes: Callable[[int], None] | None = None,
) -> DatasetReport:
    """The report with every fault and notice of a dataset, for one target. Nothing is sent anywhere.

    Never raises for what is in the data: a missing file, too, is a fault of the report.

    - `source`: whatever `Dataset.load` takes. `validation` rows are checked too, and compared with
      the training rows.
    - `limits`: the provider's dataset limits; without them they are looked up by `provider` and
      `model`. `capabilities`: a backend's record, whose numbers replace those of the limits.
    - `tokenizer`: a model folder, the name of an OpenAI encoding, or a `ChatTokenizer`; without one
      it is looked up by `model`. `tokens=False` counts no tokens; neither does None without an
      exact tokenizer.
    - `method`: `sft` (the default), `dpo`, `kto` or `orpo`. `format`, `map` and `drop` say how the rows are read, as
      in `Dataset.load`; a method that is given decides where rows can be read as chat and as pairs.
    - `allow_findings`: values that are no findings, such as `["FT406:*@ourcompany.com"]`.
    - `near_duplicates` needs the extra `data`; None looks for them in small files when it is
      installed.
    - `on_bytes` is called with the number of bytes read since its last call, for a progress bar.
    """
    reading, method = Reading.of(format, map, drop, method), method or "sft"
    opened = open_rows(source, reading, name, max_row_bytes)
    if isinstance(opened, Fault):
        return _unreadable(opened, source, name, Target(None, provider, model, method))
    limits = _limits(limits, provider, model, capabilities)
    named = tokenizer if isinstance(tokenizer, str | Path) else None
    return _Validation(
        opened,
        Target(limits, provider, model, method, max_length, named, _values(allow_findings)),
        tokenizer=tokenizer,
        tokens=tokens,
        near_duplicates=near_duplicates,
    ).run(None if validation is None else (validation, reading), on_bytes)


class ValidatedRows(NamedTuple):
    """A report, and the datasets that it is about, which now read from copies of their rows."""

    report: DatasetReport
    train: Dataset
    validation: Dataset | None


def validate_for_job(
    train: Dataset,
    validation: Dataset | None,
    *,
    folder: Path,
    provider: str | None = None,
    model: str | None = None,
    method: str = "sft",
    capabilities: Any = None,
    limits: Limits | None = None,
    tokenizer: Any = None,
    max_length: int | None = None,
    truncate: bool = False,
    allow_findings: bool | Collection[str] = False,
) -> ValidatedRows:
    """As `validate`, and copy the canonical rows while they are read, so that files are read once.

    The returned datasets have the same rows as those given, and take them, their count and their
    hash from the copies. A copy above 8 MB goes to a file without a name in `folder`;
    `Dataset.write_jsonl` to the same file system then only gives it a name. Datasets that are not
    files, and those of a report with faults, are returned as they are. With `truncate` the trainer
    cuts rows that are longer than `max_length`, which is a notice, and a fault where nothing is left.
    """
    remove_stale_copies(folder)
    opened = opened_dataset(train)
    limits = _limits(limits, provider, model, capabilities)
    if truncate and limits is not None:
        limits = replace(limits, refuses_long_rows=False)
    named = tokenizer if isinstance(tokenizer, str | Path) else None
    allowed = _values(allow_findings)
    target = Target(limits, provider, model, method, max_length, named, allowed)
    work = _Validation(
        opened, target, tokenizer=tokenizer, tokens=None, near_duplicates=None,
        cut_at=max_length if truncate else None,
    )  # fmt: skip
    work.result.copy = _copy(train, folder)
    copy = None if validation is None else _copy(validation, folder)
    work.validation_copy = copy
    report = work.run(None if validation is None else (validation, AS_DETECTED), None)
    if not report.ok:
        return ValidatedRows(report, train, validation)
    if work.result.copy is not None:
        train = train.with_copy(work.result.copy, report.format)
    if validation is not None and copy is not None:
        validation = validation.with_copy(copy, work.validation_format)
    return ValidatedRows(report, train, validation)


def _values(allow_findings: bool | Collection[str] | None) -> tuple[str, ...]:
    """The values among acknowledged findings, as `FT406:*@ourcompany.com`. Raises `UsageError`."""
    if isinstance(allow_findings, bool) or allow_findings is None:
        return ()
    for one in allow_findings:
        code, colon, value = one.partition(":")
        if code not in ALLOWABLE or (colon and not value):
            raise UsageError(f"{one!r} is no finding that can be acknowledged", where="allow_findings=",
                             hint=f"{', '.join(ALLOWABLE)}; or with a value, such as FT406:*@ourcompany.com")  # fmt: skip
    return tuple(one for one in allow_findings if ":" in one)


def _copy(dataset: Dataset, folder: Path) -> CanonicalCopy | None:
    return None if dataset.path is None or dataset.has_copy else CanonicalCopy(folder)


def _unreadable(fault: Fault, source: Any, name: str | None, target: Target) -> DatasetReport:
    """The report of a source that cannot be opened."""
    path = Path(source) if isinstance(source, (str, Path)) else None
    return DatasetReport(
        name=name or ("rows" if path is None else path.name or str(source)),
        rows=0,
        faults=(fault,),
        provider=target.provider,
        model=target.model,
        method=target.method,
        counts={fault.code: 1},
        row_counts={fault.code: 1},
        path=None if path is None else str(source),
    )


def _limits(
    limits: Limits | None, provider: str | None, model: str | None, capabilities: Any
) -> Limits | None:
    """The limits of the target: given, or looked up, and corrected by a backend's capabilities."""
    limits = limits or limits_for(provider, model)
    if capabilities is None or (limits is None and provider is None):
        return limits
    if limits is None:
        limits = limits_of_formats(provider or "", capabilities.formats)
    return with_capabilities(limits, capabilities)


class _Validation:
    """One validation: the validation rows, the training rows in one or several processes, the set."""

    def __init__(
        self,
        opened: Opened,
        target: Target,
        *,
        tokenizer: Any,
        tokens: bool | None,
        near_duplicates: bool | None,
        cut_at: int | None = None,
    ) -> None:
        size = opened.source.size_bytes
        wanted = tokens is True
        self.opened, self.target = opened, target
        self.result = Checked()
        self.validation_copy: CanonicalCopy | None = None
        self.validation_format: str | None = None
        self.validation_lengths: RowLengths | None = None
        self.near = NearDuplicates.when_asked(near_duplicates, size)
        self.skipped = why_not_near(near_duplicates, size)
        self.counts_given = tokens is not False and opened.source.container != "jsonl"
        self.counter: dict[str, Any] | None = None
        self.may_part = self.near is None and opened.keep is None
        if tokens is not False:
            self.result.counting = counter_for(
                tokenizer, model=target.model, limits=target.limits, wanted=wanted, cut_at=cut_at
            )
        if self.result.counting is not None:
            self.may_part &= isinstance(tokenizer, str | Path | None)
            named = None if tokenizer is None else str(tokenizer)
            self.counter = {
                "tokenizer": named, "model": target.model, "wanted": wanted, "cut_at": cut_at,
            }  # fmt: skip

    def run(
        self, validation: tuple[Any, Reading] | None, on_bytes: Callable[[int], None] | None
    ) -> DatasetReport:
        """Read everything once; `validation` is a source and its reading."""
        result = self.result
        checker = RowChecker(
            self.opened, self.target, result, near=self.near, counts_given=self.counts_given
        )
        tokens = None if validation is None else self._read_validation(checker, *validation)
        result.found.extend(self.opened.source.notices)
        progress = None if on_bytes is None else ForwardProgress(on_bytes)
        in_parts = (
            self.may_part
            and not checker.validation
            and check_in_parts(self.opened, self.target, result, self.counter, progress)
        )
        if not in_parts:
            checker.read(progress)
        result.found.extend(findings_of_set(result, self.opened, self.target, self.near))
        if result.duplicates.full:
            self.skipped.append("duplicates beyond the first eight million rows")
        return self._report(tokens)

    def _read_validation(self, checker: RowChecker, source: Any, reading: Reading) -> int | None:
        """Check the validation rows; returns their tokens when they are counted."""
        opened = open_rows(source, reading, None, DEFAULT_MAX_ROW_BYTES)
        if isinstance(opened, Fault):
            checker.found.add(in_validation(opened))
            return None
        rows = ValidationRows(opened, checker, self.validation_copy)
        rows.read()
        self.validation_format, self.validation_lengths = rows.format, rows.lengths
        return rows.tokens

    def _report(self, validation_tokens: int | None) -> DatasetReport:
        """The findings of the result in file order, and its figures."""
        result, target, source = self.result, self.target, self.opened.source
        kept = sorted(result.found.kept, key=lambda f: f.line)
        longest = target.longest_of(result.format)
        cut = cut_at(target.limits, target.method, longest)
        if result.counting is not None and result.rows and not any(result.counting.totals):
            self.skipped.append("tokens: every row has a fault")
        return DatasetReport(
            name=self.opened.name,
            rows=result.rows,
            faults=tuple(f for f in kept if f.severity == "fault"),
            notices=tuple(f for f in kept if f.severity == "notice"),
            format=result.format,
            container=source.container,
            path=str(source.path) if source.path is not None else None,
            size_bytes=source.size_bytes,
            provider=target.provider,
            model=target.model,
            method=target.method,
            counts=result.found.counts,
            row_counts=result.found.rows,
            tokens=None if result.counting is None else result.counting.summary(longest, cut),
            validation_tokens=validation_tokens,
            validation_lengths=self.validation_lengths,
            skipped=tuple(self.skipped),
        )
