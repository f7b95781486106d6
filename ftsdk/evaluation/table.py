"""The comparison as lines of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ftsdk.evaluation.gate import Gate
from ftsdk.evaluation.statistics.compare import about
from ftsdk.evaluation.statistics.macro_f1 import MacroF1Difference
from ftsdk.types.evaluation import Comparison, Verdict

_MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Means:
    """The mean scores of both models on the rows of a comparison, between 0 and 1."""

    reference: float | None
    candidate: float | None


def comparison_table(
    gate: Gate, means: Mapping[str, Means], *, reference: str, candidate: str
) -> list[str]:
    """Return the lines of the table: a head, a line for each metric and slice, and the gate's.

    `means` has those of the metrics and slices by name; `reference` and `candidate` are the names
    of the models.
    """
    rows = [("", reference, candidate, "difference, 95 %", "flips", "")]
    for name, one in gate.metrics.items():
        rows.append((name, *_cells(one, means.get(name), is_slice=False)))
    for name, one in gate.slices.items():
        rows.append((f"slice {name}", *_cells(one, means.get(name), is_slice=True)))
    return [*_aligned(rows), f"Gate: {gate.result}, {gate.reason}."]


def macro_f1_line(found: MacroF1Difference) -> str:
    """Return the difference of macro-F1 as a line, with what its interval is."""
    span = (
        f"  ({_signed(found.low)}, {_signed(found.high)})"
        if found.low is not None and found.high is not None
        else ""
    )
    return (
        f"macro-F1  {_percent(found.reference)}  {_percent(found.candidate)}  "
        f"{_signed(found.delta)}{span}  {found.method}"
    )


def _cells(
    one: Comparison, means: Means | None, *, is_slice: bool
) -> tuple[str, str, str, str, str]:
    found = means or Means(None, None)
    return (
        _percent(found.reference),
        _percent(found.candidate),
        _difference(one),
        f"+{one.wins} {_MINUS}{one.losses}",
        _verdict(one, is_slice=is_slice),
    )


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value * 100:.1f} %"


def _difference(one: Comparison) -> str:
    if one.delta is None or one.low is None or one.high is None:
        return "–"
    return f"{_signed(one.delta)}  ({_signed(one.low)}, {_signed(one.high)})"


def _signed(value: float) -> str:
    points = f"{abs(value) * 100:.1f}"
    if float(points) == 0:
        return points
    return f"{'+' if value > 0 else _MINUS}{points}"


def _verdict(one: Comparison, *, is_slice: bool) -> str:
    text = str(one.verdict)
    if one.verdict is Verdict.PARITY and one.margin is not None:
        text += f" (margin {one.margin * 100:.3g})"
    elif one.verdict is Verdict.INCONCLUSIVE and one.rows_needed is not None:
        text += f", about {about(one.rows_needed):,} rows needed"
    elif one.verdict in (Verdict.BETTER, Verdict.WORSE) and one.p_adjusted is not None:
        text += " after Holm"
    return f"{text}, n {one.n:,}" if is_slice else text


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
