"""The plan, the progress and the result of a capture."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ftsdk.cli.view.formatting import clean, cost_text, count, date_text
from ftsdk.cli.view.output import command, console, labelled, note, say, text
from ftsdk.errors import FtsdkError
from ftsdk.types.capture import Capture, CapturePlan, CaptureProgress
from ftsdk.util.durations import clock, percent
from ftsdk.util.names import plural

if TYPE_CHECKING:
    from rich.text import Text

_KINDS = {"answered": "answered", "cut_off": "cut off", "refused": "refused", "error": "no answer"}


def plan(plan: CapturePlan) -> None:
    """Print what a capture would ask, and what it would cost."""
    say(("Plan  ", "bold"), (clean(plan.model), "bold"))
    times = f" × {plan.repeats}" if plan.repeats > 1 else ""
    base = "" if plan.base_model is None else f", and once its base {clean(plan.base_model)}"
    lines: list[tuple[str, Any]] = [("rows", f"{count(plan.rows)}{times}{base}")]
    if plan.traffic:
        lines.append(("traffic", f"{plural(plan.traffic, 'chat')} that the account stored, free"))
    if plan.stored:
        lines.append(("stored", f"{plural(plan.stored, 'answer')} from before, free"))
    how = "batch, half price; one is tried first" if plan.via == "batch" else "one by one"
    if plan.to_ask:
        lines += [
            ("ask", f"{plural(plan.to_ask, 'request')} · {how}"),
            ("cost", cost_text(plan.cost)),
        ]
    if plan.refused:
        lines.append(("left out", (_left_out(plan), "yellow")))
    if plan.ends_on is not None:
        lines.append(("ends", (date_text(plan.ends_on), "yellow")))
    lines += [("note", clean(one)) for one in plan.notes]
    labelled(lines)


def _left_out(plan: CapturePlan) -> str:
    """Return how many rows are left out, why, and the first of them."""
    alike = Counter(one.likeness for one in plan.refused)
    how = ", ".join(f"{many} {what}" for what, many in alike.most_common())
    shown = ", ".join(str(one.line) for one in plan.refused[:8])
    more = ", …" if len(plan.refused) > 8 else ""
    rows = plural(len(plan.refused), "row")
    return f"{rows} of its training file ({how}): lines {shown}{more}"


def captured(found: Capture) -> None:
    """Print what was captured, what is missing, and what is private in it."""
    say(("Sealed  ", "bold"), (clean(found.folder), "bold"))
    lines: list[tuple[str, Any]] = [
        (who, _counts(counts)) for who, counts in sorted(found.counts.items(), reverse=True)
    ]
    if found.traffic:
        lines.append(("traffic", plural(found.traffic, "stored chat")))
    if found.agreement is not None:
        lines.append(("agrees", f"with itself on {percent(found.agreement)} of its repeats"))
    spent = "unknown" if found.spent_usd is None else f"${found.spent_usd:.4f}"
    lines.append(("cost", f"{spent} for all answers in it"))
    lines.append(("use", "evaluation"))
    lines.append(("rights", _rights(found)))
    lines += [("note", clean(one)) for one in found.notes]
    labelled(lines)
    private = sum(found.findings.values())
    if private:
        note(("! ", "yellow"), f"{plural(private, 'finding')} of secrets or personal data in it")
    for why, many in found.errors.items():
        note(("! ", "red"), f"{plural(many, 'request')} without an answer: {clean(why)}")
    if found.errors:
        note("  run the same command again: only these are asked")
    note("next  ", command(f"ftsdk capture --verify {found.folder}"))


def _counts(counts: Mapping[str, int]) -> str:
    return " · ".join(
        f"{count(counts[kind])} {words}" for kind, words in _KINDS.items() if counts.get(kind)
    )


def _rights(found: Capture) -> Any:
    if found.rights.origin == "unknown":
        return ("unknown: give --rights, before anything is trained on these answers", "yellow")
    reason = f": {clean(found.rights.reason)}" if found.rights.reason else ""
    return f"{found.rights.origin}{reason}"


def failures(failed: Iterable[tuple[str, FtsdkError]]) -> None:
    """Print the models that cannot be captured, each with its reason and hint."""
    for model, error in failed:
        note(("! ", "red"), (clean(model), "bold"), f"  {clean(error.what)}")
        if error.hint:
            note(f"  {clean(error.hint)}")


class ProgressLine:
    """How many answers there are, what they cost, and how long the rest takes."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._started: tuple[float, int] | None = None

    def text(self, progress: CaptureProgress | None = None) -> Text:
        """Return the line for a terminal."""
        if progress is None or not progress.total:
            words = "reading" if progress is None else progress.text
            return text((clean(words, 70), "dim"))
        return text(
            f"{count(progress.done)} of {count(progress.total)}",
            f" · ${progress.spent_usd:.4f}",
            self._left(progress),
            (f" · {clean(progress.text, 60)}", "dim"),
        )

    def _left(self, progress: CaptureProgress) -> str:
        now = self._monotonic()
        if self._started is None:
            self._started = now, progress.done
        since, done = self._started
        answered = progress.done - done
        if answered < 5 or progress.done >= progress.total:
            return ""
        return f" · {clock((now - since) / answered * (progress.total - progress.done))} left"


@contextmanager
def progress(*, quiet: bool) -> Iterator[Callable[[CaptureProgress], None] | None]:
    """Show answers, money and the time left in one line of a terminal's standard error."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    line = ProgressLine()
    with console(stderr=True).status(line.text()) as status:

        def update(found: CaptureProgress) -> None:
            status.update(line.text(found))

        yield update
