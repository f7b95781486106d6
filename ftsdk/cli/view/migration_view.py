"""The plan, the steps and the result of a migration."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Self

from ftsdk.cli.view.capture_view import ProgressLine
from ftsdk.cli.view.formatting import clean, cost_text, count, date_text
from ftsdk.cli.view.output import command, console, labelled, note, say, text
from ftsdk.types.capture import CaptureProgress
from ftsdk.types.migration import (
    CandidatePlan,
    CandidateResult,
    MigratedModel,
    Migration,
    MigrationPlan,
    ModelMigrationPlan,
)
from ftsdk.util.names import plural

_MINUS = "\N{MINUS SIGN}"
_COLOURS = {"passed": "green", "failed": "red"}
_WORDS = {
    "passed": "has a replacement",
    "failed": "has no replacement yet",
    "inconclusive": "is not decided",
    "not comparable": "cannot be compared yet",
}


class Steps:
    """What a migration does now: one line of a terminal that changes, or a line for each thing."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._status: Any = None
        self._line = ProgressLine()
        self._last = ""

    def __enter__(self) -> Self:
        if not self._quiet and sys.stderr.isatty():
            self._status = console(stderr=True).status(text(("reading the account", "dim")))
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.pause()

    def pause(self) -> None:
        """Leave the line free for what is printed; the next step shows it again."""
        if self._status is not None:
            self._status.stop()

    def step(self, name: str, words: str) -> None:
        """Show a step and what it does."""
        if self._quiet:
            return
        if self._status is not None:
            self._status.start()
            self._status.update(text((f"{name}  ", "bold"), (clean(words, 90), "dim")))
        elif name != self._last or name == "train":
            note(f"{name:<10}{clean(words)}")
        self._last = name

    def progress(self, found: CaptureProgress) -> None:
        """Show how many answers there are."""
        if self._status is not None:
            self._status.update(self._line.text(found))


# --- the plan ---


def plan(plan: MigrationPlan) -> None:
    """Print what would be done for each model, by which candidates, and what it costs."""
    for one in plan.models:
        _model(one, plan)
    for line in plan.bridges:
        note("bridge    ", clean(line))
    for line in plan.notes:
        note("note      ", clean(line))
    _cost(plan)


def _model(one: ModelMigrationPlan, plan: MigrationPlan) -> None:
    ends = ("", "") if one.ends_on is None else (f"  ends {date_text(one.ends_on)}", "yellow")
    say((clean(one.model), "bold"), ends)
    if one.failed:
        note(("  ! ", "red"), clean(one.failed))
        return
    if "alias" in one.done:
        labelled([("done", "its report is written; nothing is asked or trained again")])
        return
    lines: list[tuple[str, Any]] = [("trained", _trained(one)), ("capture", _capture(one))]
    if one.capture is not None and one.capture.refused:
        rows = plural(len(one.capture.refused), "row")
        lines.append(("left out", (f"{rows} of its training file", "yellow")))
    lines.append(("rights", _rights(one)))
    margin = "no margin: nothing is called parity" if plan.margin is None else f"a loss of {plan.margin * 100:g} points is accepted"  # fmt: skip
    lines.append(("compare", f"{plural(one.test_rows or 0, 'row')} · {margin}"))
    labelled(lines)
    traffic = f"at {count(plan.requests_per_month)} requests a month"
    say(f"  candidates, the cheapest month first, {traffic}")
    for number, candidate in enumerate(one.candidates, 1):
        _candidate(number, candidate)
    if one.lost:
        names = dict.fromkeys(lost.what[:1].lower() + lost.what[1:] for lost in one.lost)
        labelled([("lost", f"{clean(', '.join(names))}; the report says what each means")])


def _trained(one: ModelMigrationPlan) -> Any:
    rows = "its training file cannot be read" if one.training_rows is None else plural(one.training_rows, "row")  # fmt: skip
    return f"{rows} · base {clean(one.base_model or 'unknown')}"


def _capture(one: ModelMigrationPlan) -> Any:
    if one.capture is None:
        return "done: its answers are kept"
    if not one.capture.to_ask:
        return f"{plural(one.capture.stored, 'answer')} from before, free"
    how = "batch, half price" if one.capture.via == "batch" else "one by one"
    return f"{plural(one.capture.to_ask, 'request')} to it and its base · {how} · {cost_text(one.capture.cost)}"


def _rights(one: ModelMigrationPlan) -> Any:
    if one.rights.origin == "unknown":
        return ("unknown: nothing is trained until you give --rights", "yellow")
    reason = f": {clean(one.rights.reason)}" if one.rights.reason else ""
    return f"{one.rights.origin}{reason}"


def _candidate(number: int, one: CandidatePlan) -> None:
    say(f"  {number}  ", (clean(one.name), "bold"), f"  {_costs(one)}")
    lines: list[tuple[str, Any]] = []
    if one.refused:
        lines += [("refused", (clean(why), "red")) for why in one.refused]
    elif one.kind == "tuned":
        lines.append(("train", cost_text(one.training)))
        if one.lease is not None:
            lines.append(("deploy", _lease(one)))
        lines.append(("settings", _settings(one)))
    facts = [one.serving, one.quality, one.portability, one.cost_note]
    lines.append(("serve", clean("; ".join(fact for fact in facts if fact))))
    if one.break_even is not None:
        lines.append(("even", f"with the old model {_even(one.break_even)}"))
    if one.ends_on is not None:
        lines.append(("ends", (date_text(one.ends_on), "yellow")))
    lines += [("unsure", (f"UNCONFIRMED: {clean(line)}", "yellow")) for line in one.unconfirmed]
    lines += [("note", clean(line)) for line in one.notes]
    labelled(lines, indent=5)


def _costs(one: CandidatePlan) -> str:
    if one.monthly_usd is None:
        return "cost not known"
    parts = [f"{_range(one.monthly_usd)} a month"]
    if one.per_1000_usd is not None:
        parts.append(f"{_range(one.per_1000_usd)} per 1,000")
    return " · ".join(parts)


def _range(ends: tuple[Decimal, Decimal]) -> str:
    low, high = (usd(end) for end in ends)
    return low if low == high else f"{low}–{high.removeprefix('$')}"


def usd(amount: Decimal) -> str:
    """Return an amount: whole dollars from 100 on, four digits below one cent."""
    if amount >= 100:
        return f"${amount:,.0f}"
    return f"${amount:.2f}" if amount >= 1 or not amount else f"${amount:.4f}".rstrip("0")


def _even(ends: tuple[int, int]) -> str:
    low, high = ends
    if not high:
        return "at any traffic"
    many = f"{low:,}" if low == high else f"{low:,}–{high:,}"
    return f"from {many} requests a month"


def _lease(one: CandidatePlan) -> str:
    if one.lease is None or one.lease.usd is None:
        return "at a price that is not known, to be compared; ended at once"
    return f"up to {one.lease.hours:g} h to be compared, up to {usd(one.lease.usd)}; ended at once"


def _settings(one: CandidatePlan) -> str:
    shown = []
    for setting in one.settings:
        if setting.change == "same":
            shown.append(f"{setting.name} {setting.new}")
        else:
            why = f" ({setting.why})" if setting.why else ""
            shown.append(f"{setting.name} {setting.old} → {setting.new}{why}")
    return clean(" · ".join(shown))


def _cost(plan: MigrationPlan) -> None:
    if plan.low is None or plan.high is None:
        amount = "not known: a price is missing"
    else:
        amount = usd(plan.high) if plan.low == plan.high else f"{usd(plan.low)} – {usd(plan.high)}"
    of = "" if plan.budget is None else f" of ${plan.budget:.2f}"
    before = f", ${plan.spent_usd:.2f} spent before" if plan.spent_usd else ""
    say(("Cost  ", "bold"), f"{amount}{of}{before}")
    note(f"  receipts and reports go to {clean(plan.folder)}")


# --- the result ---


def migrated(found: Migration) -> None:
    """Print the verdict of each model, how to call its replacement, and where the report is."""
    for one in found.models:
        _result(one)
    for failed in found.failed:
        say(("! ", "red"), (clean(failed.model), "bold"), f"  {clean(failed.what)}")
        if failed.hint:
            note(f"  {clean(failed.hint)}")
    say(("Spent  ", "bold"), f"${found.spent_usd:.2f}")


def _result(one: MigratedModel) -> None:
    say((clean(one.model), "bold"), "  ", (_WORDS[one.result], _COLOURS.get(one.result, "yellow")))
    _table(one.candidates)
    say(f"  {clean(one.reason)}")
    if one.chosen is not None:
        say("  call it in place of the old one")
        for line in one.snippet.split("\n"):
            say(("    " + clean(line), "cyan"))
    if one.report is not None:
        note("  report  ", command(str(one.report)))


def _table(candidates: Sequence[CandidateResult]) -> None:
    width = max(len(clean(one.name)) for one in candidates)
    for one in candidates:
        colour = _COLOURS.get(one.result, "yellow")
        head = f"  {clean(one.name):<{width}}  "
        if one.verdict and one.difference is not None:
            say(head, (one.verdict, colour), f"  {_difference(one)}{_price(one)}")
        else:
            say(head, ("not compared", colour), f"  {clean(one.reason)}")


def _difference(one: CandidateResult) -> str:
    if one.difference is None or one.low is None or one.high is None:
        return ""
    ends = f"{_points(one.low)}, {_points(one.high)}"
    return f"{_points(one.difference)} points (95 %: {ends})"


def _points(share: float) -> str:
    shown = f"{abs(share) * 100:.1f}"
    if float(shown) == 0:
        return shown
    return f"{'+' if share > 0 else _MINUS}{shown}"


def _price(one: CandidateResult) -> str:
    return "" if one.per_1000_usd is None else f"  {_range(one.per_1000_usd)} per 1,000"
