"""What a person should know of the rows before a job is created: the notices, what costs most first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ftsdk.errors import DatasetError
from ftsdk.types.plan import DataNotice

if TYPE_CHECKING:
    from ftsdk.dataset import Dataset, DatasetReport, Fault

_ORDER = (
    "FT512",
    "FT510",
    "FT511",
    "FT502",
    "FT50",
    "FT2",
    "FT026",
    "FT1",
    "FT4",
    "FT30",
    "FT31",
    "FT32",
)
"""The starts of codes: what the model cannot learn, what is left out, what the provider does, what is read."""
_SAMPLE = 200
_SEEN_ANYWAY = {"FT503": "FT510", "FT505": "FT511", "FT502": "FT502"}
"""Findings of the sample that say the same as one about all rows."""


def data_notices(
    report: DatasetReport,
    train: Dataset,
    tokenizer: Any,
    max_length: int | None,
    *,
    trains_embedding: bool = False,
) -> tuple[DataNotice, ...]:
    """Every notice of a report, and what a look at the first 200 rows finds as the model sees them."""
    found = [_notice(code, faults, report.row_counts.get(code, len(faults)))
             for code, faults in report.by_code("notice").items()]  # fmt: skip
    found += _of_sample(train, tokenizer, max_length, {one.code for one in found})
    if trains_embedding:
        found = [one for one in found if one.code != "FT512"]
    return tuple(sorted(found, key=_rank))


def _rank(notice: DataNotice) -> tuple[int, int, str]:
    place = next(
        (i for i, start in enumerate(_ORDER) if notice.code.startswith(start)), len(_ORDER)
    )
    return place, -notice.rows, notice.code


def _notice(code: str, faults: list[Fault], rows: int, where: str = "") -> DataNotice:
    first = faults[0]
    return DataNotice(
        code=code, rows=rows, line=first.line, message=first.message + where, hint=first.hint
    )


def _of_sample(
    train: Dataset, tokenizer: Any, max_length: int | None, known: set[str]
) -> Iterator[DataNotice]:
    """What the model's own tokenizer and template leave out of the first rows; none without them."""
    from ftsdk.dataset.dataset import findings_of_sample  # reading rows is not needed to list jobs

    groups: dict[str, list[Fault]] = {}
    for fault in findings_of_sample(train, tokenizer, max_length, _SAMPLE):
        if fault.severity == "notice" and _SEEN_ANYWAY.get(fault.code) not in known:
            groups.setdefault(fault.code, []).append(fault)
    where = f" (of the first {_SAMPLE} rows)" if train.rows > _SAMPLE else ""
    for code, faults in groups.items():
        yield _notice(code, faults, len({fault.line for fault in faults}), where)


def refuse_notices(notices: Iterable[DataNotice], report: DatasetReport) -> None:
    """Raise `DatasetError` when there is a notice: the job was asked for with `strict`."""
    found = list(notices)
    if not found:
        return
    first, more = found[0], f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    raise DatasetError(
        f"{first.message}{more}",
        where=f"{report.name}{f', line {first.line}' if first.line else ''} [{first.code}]",
        hint=f"{first.hint}; or create the job without strict",
        report=report,
        submitted="no",
    )
