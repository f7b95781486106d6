"""What `wait` shows while it waits: a card in a notebook, a bar on a terminal, nothing elsewhere.

The only place outside the command line that writes to a screen, and only where somebody looks at it.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from typing import Any, Protocol

from ftsdk.jobs.html import job_card, progress_words
from ftsdk.types.events import MetricPoint
from ftsdk.types.job import JobSnapshot

_SHORTEST_BAR, _LONGEST_BAR = 8, 40


class View(Protocol):
    """Shows a job again and again."""

    def show(self, job: JobSnapshot, points: Sequence[MetricPoint]) -> None:
        """Show the job as it is now, in place of what was shown before."""
        ...

    def close(self) -> None:
        """Leave the last state on the screen."""
        ...


def view_for(progress: bool | None) -> View | None:
    """Return what to show progress with; None where nothing is to be shown.

    `None` shows it where a person works with Python: in a notebook and at an interactive prompt.
    True shows it in a script on a terminal too. Into a pipe or a file nothing is written.
    """
    if progress is False:
        return None
    found = _ipython()
    if hasattr(found, "kernel"):
        return NotebookCard()
    interactive = found is not None or hasattr(sys, "ps1") or bool(sys.flags.interactive)
    if not (progress or interactive) or not sys.stderr.isatty():
        return None
    return TerminalBar(sys.stderr)


def _ipython() -> Any | None:
    """Return the IPython shell that runs this code, if any; one of a notebook has a `kernel`."""
    module = sys.modules.get("IPython")
    return None if module is None else module.get_ipython()


class NotebookCard:
    """A card that is replaced in place, in the cell that waits. Needs no widgets."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._last = ""

    def show(self, job: JobSnapshot, points: Sequence[MetricPoint]) -> None:
        """Show or replace the card; an unchanged one is not sent again."""
        from IPython.display import HTML, display

        html = job_card(job, points)
        if html == self._last:
            return
        self._last = html
        if self._handle is None:
            self._handle = display(HTML(html), display_id=True)
        else:
            self._handle.update(HTML(html))

    def close(self) -> None:
        """Leave the card as it is."""


class TerminalBar:
    """One line of a terminal, rewritten in place: status, bar, step, loss, time left."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._width = 0

    def show(self, job: JobSnapshot, points: Sequence[MetricPoint]) -> None:
        """Rewrite the line, at most as wide as the terminal."""
        columns = shutil.get_terminal_size().columns - 1
        text = bar_line(job, points, columns)
        self._stream.write(f"\r{text.ljust(self._width)}")
        self._width = len(text)
        self._stream.flush()

    def close(self) -> None:
        """End the line."""
        if self._width:
            self._stream.write("\n")
            self._stream.flush()


def bar_line(job: JobSnapshot, points: Sequence[MetricPoint], width: int) -> str:
    """Return `running  ━━━━╸───  64 % · step 57 of 90 · loss 1.02 · 0:46 left`, cut at `width`."""
    words = list(progress_words(job))
    losses = [p.train_loss for p in points if p.train_loss is not None]
    if losses:
        words.insert(min(2, len(words)), f"loss {losses[-1]:.2f}")
    head, tail = f"{job.status.value.replace('_', ' ')}  ", " · ".join(words)
    room = min(_LONGEST_BAR, width - len(head) - len(tail) - 2)
    fraction = None if job.progress is None else job.progress.fraction
    if fraction is not None and room >= _SHORTEST_BAR:
        halves = round(max(0.0, min(1.0, fraction)) * room * 2)
        done, half = divmod(halves, 2)
        head += "━" * done + "╸" * half + "─" * (room - done - half) + "  "
    return (head + (tail or _safe(job.message))).rstrip()[:width]


def _safe(text: str | None) -> str:
    """Return a provider's text without control characters, which a terminal might execute."""
    return "".join(c for c in " ".join((text or "").split()) if c.isprintable())
