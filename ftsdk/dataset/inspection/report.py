"""The report of an inspection: the tokens that a model is shown, and which of them are trained.

The rows are rendered by `tokenize.render`, as in training, so the report shows what is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from ftsdk.dataset.findings.finding import Fault, short
from ftsdk.dataset.findings.token_summary import TokenSummary
from ftsdk.dataset.inspection.html import page
from ftsdk.dataset.inspection.rows import InspectedRow

BINS = 24


@dataclass(frozen=True)
class InspectionReport:
    """The tokens that one model is shown of one dataset.

    `visible` is False when the model's tokenizer is private; the report then has counts at most.
    `lengths` and `learned` hold tokens and trained tokens, one number per sequence. `shown` holds
    the sequences of the first rows in full.
    """

    name: str
    model: str
    visible: bool
    template_sha256: str | None
    summary: TokenSummary | None
    lengths: tuple[int, ...] = ()
    learned: tuple[int, ...] = ()
    shown: tuple[InspectedRow, ...] = ()
    findings: tuple[Fault, ...] = ()
    refused: int = 0
    refused_rows: tuple[InspectedRow, ...] = ()
    """The first rows that cannot be trained, as they are in the file, with the reason in `notes`."""
    max_length: int | None = None
    known: tuple[str, ...] = ()
    last_line: int = 0
    """The line of the last row."""

    def histogram(self, bins: int = BINS) -> list[tuple[int, int, int, int]]:
        """`(from, to, sequences, trained tokens)` per bin of length."""
        if not self.lengths:
            return []
        top = max(*self.lengths, 1) if len(self.lengths) > 1 else max(self.lengths[0], 1)
        width = max(1, -(-(top + 1) // bins))
        rows = [[i * width, (i + 1) * width, 0, 0] for i in range(-(-(top + 1) // width))]
        for length, learned in zip(self.lengths, self.learned, strict=True):
            rows[length // width][2] += 1
            rows[length // width][3] += learned
        return [(a, b, n, t) for a, b, n, t in rows]

    def to_dict(self) -> dict[str, Any]:
        """The report as `--json` prints it, with the token ids of the shown rows."""
        return {**self._figures(), "rows": [row.to_dict() for row in self.shown]}

    def _figures(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "model": self.model,
            "visible": self.visible,
            "template_sha256": self.template_sha256,
            "tokens": None if self.summary is None else self.summary.to_dict(),
            "histogram": [list(b) for b in self.histogram()],
            "findings": [f.to_dict() for f in self.findings],
            "refused_rows": self.refused,
            "max_length": self.max_length,
            "known": list(self.known),
        }

    def to_html(self) -> str:
        """A self-contained page: figures, histogram, and a browser of the shown rows."""
        rows = sorted((*self.shown, *self.refused_rows), key=lambda row: row.line)
        return page(self._figures(), rows, sequences=len(self.lengths))

    def diff(self, other: InspectionReport) -> InspectionDiff:
        """The differences between what two models are shown, for the rows shown in full."""
        mine, theirs = _by_row(self.shown), _by_row(other.shown)
        pairs = [(mine[k], found) for k, found in theirs.items() if k in mine]
        return InspectionDiff(self, other, tuple(_row_diff(a, b) for a, b in pairs))

    def headline(self) -> str:
        """One line of figures."""
        parts = [self.name, self.model]
        if self.summary is not None:
            parts += [f"{self.summary.rows:,} rows", *self.summary.phrases()]
        if self.template_sha256:
            parts.append(f"template {self.template_sha256[:12]}")
        return " · ".join(parts)

    def __str__(self) -> str:
        lines = [self.headline()]
        if not self.visible:
            lines.append("  not visible: what this model is shown, token by token")
            lines += [f"  · {fact}" for fact in self.known]
        for finding in self.findings[:20]:
            lines.append(f"  {'✗' if finding.severity == 'fault' else '!'} {finding}")
        for row in self.shown[:3]:
            lines.append(f"  {row.title()}: {row.tokens:,} tokens, {row.trained:,} trained")
            lines += [f"    {line}" for line in row.marked().split("\n")]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """The page inside a notebook cell."""
        return f'<iframe style="width:100%;height:640px;border:0" srcdoc="{escape(self.to_html())}"></iframe>'


@dataclass(frozen=True)
class RowDiff:
    """One row at two models: token counts, and whether the trained text is the same."""

    line: int
    tokens: tuple[int, int]
    trained: tuple[int, int]
    same_learned: bool
    only: tuple[str, str]
    """The trained text from the first difference on, of each model."""


@dataclass(frozen=True)
class InspectionDiff:
    """The comparison of two inspections of one dataset."""

    left: InspectionReport
    right: InspectionReport
    rows: tuple[RowDiff, ...]

    def to_dict(self) -> dict[str, Any]:
        """The comparison as `--json` prints it."""
        return {
            "models": [self.left.model, self.right.model],
            "templates": [self.left.template_sha256, self.right.template_sha256],
            "tokens": [x.summary.to_dict() if x.summary else None for x in (self.left, self.right)],
            "refused_rows": [self.left.refused, self.right.refused],
            "rows": [
                {"line": r.line, "tokens": list(r.tokens), "trained": list(r.trained),
                 "same_learned": r.same_learned, "only": list(r.only)}
                for r in self.rows
            ],
        }  # fmt: skip

    def __str__(self) -> str:
        lines = [f"{self.left.model}  against  {self.right.model}"]
        sums = [x.summary for x in (self.left, self.right)]
        if sums[0] is not None and sums[1] is not None:
            lines.append(f"  tokens   {sums[0].total:,}  →  {sums[1].total:,}")
            lines.append(f"  learned  {sums[0].trained:,}  →  {sums[1].trained:,}")
        hidden = [x.model for x in (self.left, self.right) if not x.visible]
        if hidden:
            lines.append(f"  rows cannot be compared: {' and '.join(hidden)} not visible")
            return "\n".join(lines)
        if self.left.refused or self.right.refused:
            lines.append(f"  refused  {self.left.refused:,}  →  {self.right.refused:,} rows")
        same = (
            "the same" if self.left.template_sha256 == self.right.template_sha256 else "different"
        )
        lines.append(f"  chat templates: {same}")
        parted = [r for r in self.rows if not r.same_learned]
        lines.append(f"  of {len(self.rows):,} rows compared, {len(parted):,} learn another text")
        lines += [
            f"    line {r.line}: {short(r.only[0], 40)!r}  /  {short(r.only[1], 40)!r}"
            for r in parted[:5]
        ]
        return "\n".join(lines)


def _by_row(shown: Sequence[InspectedRow]) -> dict[tuple[int, str], list[InspectedRow]]:
    """The sequences of each row, which one model may see whole and another answer by answer.

    The two answers of a pair are compared each on its own.
    """
    found: dict[tuple[int, str], list[InspectedRow]] = {}
    for row in shown:
        found.setdefault((row.line, row.name), []).append(row)
    return found


def _row_diff(left: Sequence[InspectedRow], right: Sequence[InspectedRow]) -> RowDiff:
    texts = [
        "".join(p.text for row in rows for p in row.pieces if p.trained and not p.special)
        for rows in (left, right)
    ]
    at = 0
    while at < min(map(len, texts)) and texts[0][at] == texts[1][at]:
        at += 1
    tokens, trained = (
        (sum(getattr(r, name) for r in left), sum(getattr(r, name) for r in right))
        for name in ("tokens", "trained")
    )
    return RowDiff(left[0].line, tokens, trained, texts[0] == texts[1],
                   (texts[0][at : at + 60], texts[1][at : at + 60]))  # fmt: skip
