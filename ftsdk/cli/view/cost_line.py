"""What one job was estimated, quoted and billed at, on one line, with the differences."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ftsdk.spending.ledger import Line


def cost_figures(line: Line) -> str:
    """Return `estimated $4.00 – 4.52 · quoted $4.00, within it · billed $3.90, $0.10 below it`.

    Empty for a job that costs nothing, and where only one figure is known.
    """
    parts = []
    if line.high is not None and line.low is not None:
        span = f"{line.low:.2f}" if line.low == line.high else f"{line.low:.2f} – {line.high:.2f}"
        parts.append(f"estimated ${span}")
    if line.quoted is not None:
        parts.append(f"quoted ${line.quoted:.2f}{_difference(line.quote_off)}")
    if line.actual is not None:
        off = line.off if line.quoted is None else line.actual - line.quoted
        parts.append(f"billed ${line.actual:.2f}{_difference(off)}")
    nothing = not any((line.high, line.quoted, line.actual))
    return "" if nothing or len(parts) < 2 else " · ".join(parts)


def _difference(off: Decimal | None) -> str:
    if off is None:
        return ""
    if abs(off) < Decimal("0.005"):
        return ", as expected"
    return f", ${abs(off):.2f} {'above' if off > 0 else 'below'}"


def cost_figures_document(line: Line) -> dict[str, Any]:
    """Return the same for `--json`, in US dollars."""
    return {
        "estimate": None if line.high is None else [line.low, line.high],
        "quoted": line.quoted,
        "quote_off": line.quote_off,
        "billed": line.actual,
        "bill_off": line.off,
        "counted": line.counted,
        "why": line.why,
    }
