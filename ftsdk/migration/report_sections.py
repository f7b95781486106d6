"""The sections of a migration's report beside those of an evaluation: the result, dates, what was lost."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from html import escape

from ftsdk.evaluation.report_page import points
from ftsdk.types.migration import CandidateResult, LostFeature, MigratedModel

_LOOKS = {"passed": "good", "failed": "bad"}
_TITLES = {
    "passed": "A replacement is found",
    "failed": "No replacement yet",
    "inconclusive": "Not decided yet",
    "not comparable": "Not comparable yet",
}
_WIDTH = 1000


def result_card(found: MigratedModel, today: dt.date) -> str:
    """Return the first card: what to do, the candidates, and how to call the one to switch to."""
    look = _LOOKS.get(found.result, "unsure")
    rows = "".join(_candidate(one, found.chosen) for one in found.candidates)
    heads = ("Candidate", "Verdict", "Points", "95 % interval", "Per 1,000 requests")
    head = "".join(f"<th{' class=number' if place > 1 else ''}>{text}</th>" for place, text in enumerate(heads))  # fmt: skip
    snippet = (
        f'<h2 class="next">Next<small>in place of the old model</small></h2><pre>{escape(found.snippet)}</pre>'
        if found.snippet
        else ""
    )
    return (
        f'<section class="card"><h1><span class="{look}">●</span>{_TITLES[found.result]}</h1>'
        f"<p>{_sentence(found, today)}</p><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody>"
        f"</table>{snippet}</section>"
    )


def _sentence(found: MigratedModel, today: dt.date) -> str:
    old = f"<b>{escape(found.model)}</b>"
    ends = ""
    if found.ends_on is not None:
        left = (found.ends_on - today).days
        when = f"{found.ends_on:%d %B %Y}"
        ends = f" It stops on {when}, in {left} days." if left > 0 else f" It stopped on {when}."
    if found.chosen is not None:
        return f"<b>{escape(found.chosen)}</b> can take the place of {old}: {escape(found.reason)}.{ends}"
    if found.result == "inconclusive":
        return f"Nothing shows yet what can take the place of {old}: {escape(found.reason)}.{ends}"
    return f"None of the candidates can take the place of {old}: {escape(found.reason)}.{ends}"


def _candidate(one: CandidateResult, chosen: str | None) -> str:
    name = escape(one.name)
    if not one.verdict or one.difference is None or one.low is None or one.high is None:
        why = escape(one.reason)
        return f'<tr><td>{name}</td><td colspan="4">not compared: {why}</td></tr>'
    look = _LOOKS.get(one.result, "unsure")
    interval = f"[{points(one.low)}, {points(one.high)}]"
    return (
        f"<tr{' class=all' if one.name == chosen else ''}><td>{name}</td>"
        f'<td class="{look}">{escape(one.verdict)}</td>'
        f'<td class="number" data-label="Points">{points(one.difference)}</td>'
        f'<td class="number" data-label="95 %">{interval}</td>'
        f'<td class="number" data-label="Per 1,000">{_per_1000(one.per_1000_usd)}</td></tr>'
    )


def _per_1000(ends: tuple[Decimal, Decimal] | None) -> str:
    if ends is None:
        return "–"
    low, high = (f"{end:,.2f}" if end >= 1 or not end else f"{end:.4f}" for end in ends)
    return f"${low}" if low == high else f"${low}–{high}"


# --- dates ---


def dates_card(dates: Sequence[tuple[dt.date, str]], today: dt.date) -> str:
    """Return the dates on one line of time, the first at the left, each with how far it is away."""
    ahead = sorted({*dates, (today, "today")})
    if len(ahead) < 2:
        return ""
    first, last = ahead[0][0], ahead[-1][0]
    span = max(1, (last - first).days)

    def x(day: dt.date) -> float:
        return round(20 + (day - first).days / span * (_WIDTH - 40), 1)

    dots = "".join(f'<circle class="dot {"good" if day == today else "unsure"}" cx="{x(day)}" cy="10" r="5"/>' for day, _ in ahead)  # fmt: skip
    rows = "".join(
        f'<tr><td class="number" data-label="Day">{day:%d %b %Y}</td><td>{escape(what)}</td>'
        f'<td class="number">{_away(day, today)}</td></tr>'
        for day, what in ahead
    )
    return (
        '<section class="card"><h2>Dates</h2>'
        f'<svg viewBox="0 0 {_WIDTH} 20" aria-hidden="true"><line class="axis" x1="20" y1="10" '
        f'x2="{_WIDTH - 20}" y2="10"/>{dots}</svg><table class="dates"><tbody>{rows}</tbody></table></section>'
    )


def _away(day: dt.date, today: dt.date) -> str:
    days = (day - today).days
    if days == 0:
        return "today"
    return f"in {days} days" if days > 0 else f"{-days} days ago"


# --- what was not carried over ---


def lost_card(lost: Sequence[LostFeature]) -> str:
    """Return the table of what the new model does not have."""
    if not lost:
        return ""
    heads = ("What", "Old", "New", "What it means for you")
    head = "".join(f"<th>{text}</th>" for text in heads)
    rows = "".join(
        f"<tr><td><b>{escape(one.what)}</b></td><td data-label=Old>{escape(one.old)}</td>"
        f"<td data-label=New>{escape(one.new)}</td><td>{escape(one.meaning)}</td></tr>"
        for one in lost
    )
    return (
        f'<section class="card"><h2>What was not carried over<small>{len(lost)} things</small></h2>'
        f'<table class="flips"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></section>'
    )
