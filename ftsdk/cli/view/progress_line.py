"""A job's progress as one line that fits the terminal, or as plain text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ftsdk.cli.view.formatting import clean, redact, status_style, status_text
from ftsdk.cli.view.output import text
from ftsdk.jobs.html import sparkline
from ftsdk.types.job import JobSnapshot
from ftsdk.util.durations import clock, percent

if TYPE_CHECKING:
    from rich.text import Text

_SHORTEST_BAR, _LONGEST_BAR = 8, 40


@dataclass(frozen=True)
class Row:
    """What is shown of one job: its short id, its snapshot, its training losses so far."""

    short: str
    snapshot: JobSnapshot
    losses: Sequence[float] = ()
    trouble: str = ""
    """Why it could not be refreshed, if so."""


def bar(fraction: float, width: int, style: str) -> Text:
    """Return `━━━━━╸────`, the completed part in colour."""
    halves = round(max(0.0, min(1.0, fraction)) * width * 2)
    done, half = divmod(halves, 2)
    return text(("━" * done + "╸" * half, style), ("─" * (width - done - half), "dim"))


def _loss(row: Row, spark: int) -> Text:
    if not row.losses:
        return text()
    first, last = row.losses[0], row.losses[-1]
    if spark < 4 or len(row.losses) < 3:
        return text(("loss ", "dim"), f"{last:.2f}")
    return text(
        ("loss ", "dim"), f"{first:.2f} ", (sparkline(row.losses, spark), "cyan"), f" {last:.2f}"
    )


def live_line(row: Row, width: int, *, id_width: int | None = None) -> Text:
    """Return a line of at most `width` columns: id, status, bar, step, loss, speed, time left.

    In a narrow terminal speed is left out first, then the curve, the step and the bar.
    """
    snapshot, progress = row.snapshot, row.snapshot.progress
    style = status_style(snapshot.status)
    head = text(
        (row.short.ljust(id_width or 0), "bold"), "  ",
        (f"{status_text(snapshot.status):<10}", style),
    )  # fmt: skip
    if row.trouble or progress is None or progress.fraction is None:
        return _cut(
            head.append(f"  {clean(row.trouble or redact(snapshot.message))}", "dim"), width
        )
    share = text(f"{percent(progress.fraction):>5}")
    step = text()
    if progress.step is not None:
        total = f"/{progress.total_steps}" if progress.total_steps else ""
        step = text(("step ", "dim"), f"{progress.step}{total}")
    speed = text()
    if progress.tokens_per_s and not snapshot.status.is_final:
        speed = text(f"{progress.tokens_per_s:,.0f}", (" tok/s", "dim"))
    left = text()
    if progress.eta_s is not None and not snapshot.status.is_final:
        left = text(clock(progress.eta_s), (" left", "dim"))
    trials = (
        [share, step, _loss(row, 12), speed, left],
        [share, step, _loss(row, 8), speed, left],
        [share, step, _loss(row, 8), left],
        [share, step, _loss(row, 0), left],
        [share, _loss(row, 0), left],
        [share, left],
        [share],
    )
    shown, room = _fitting(trials, width - head.cell_len - 1)
    line = head.append("  ")
    if room >= _SHORTEST_BAR:
        line.append_text(bar(progress.fraction, min(room, _LONGEST_BAR), style))
    for part in shown:
        line.append(" " if part is share else "   ").append_text(part)
    return _cut(line, width)


def _fitting(trials: Sequence[Sequence[Text]], width: int) -> tuple[list[Text], int]:
    """Return the first choice that leaves room for a bar, else the last, and the room left."""
    shown: list[Text] = []
    room = width
    for parts in trials:
        shown = [part for part in parts if part.cell_len]
        room = width - sum(part.cell_len + 3 for part in shown)
        if room >= _SHORTEST_BAR:
            break
    return shown, room


def _cut(line: Text, width: int) -> Text:
    line.truncate(max(1, width), overflow="ellipsis")
    return line


def plain_line(row: Row) -> str:
    """Return the same as plain text, without a bar."""
    snapshot, progress = row.snapshot, row.snapshot.progress
    parts = [row.short, status_text(snapshot.status)]
    if progress is not None and progress.fraction is not None:
        parts.append(percent(progress.fraction))
        if progress.step is not None:
            total = f"/{progress.total_steps}" if progress.total_steps else ""
            parts.append(f"step {progress.step}{total}")
    if row.losses:
        parts.append(f"loss {row.losses[-1]:.3f}")
    if not snapshot.status.is_final and progress is not None:
        if progress.tokens_per_s:
            parts.append(f"{progress.tokens_per_s:,.0f} tok/s")
        if progress.eta_s is not None:
            parts.append(f"{clock(progress.eta_s)} left")
    under_way = progress is not None and bool(progress.fraction) and not snapshot.status.is_final
    if row.trouble or (snapshot.message and not under_way):
        parts.append(clean(row.trouble or redact(snapshot.message)))
    return "  ".join(parts)
