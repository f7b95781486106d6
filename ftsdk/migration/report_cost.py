"""Costs in the report of a migration: the curve per 1,000 requests, and a table of all candidates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from html import escape

from ftsdk.catalogue.schema import Catalogue
from ftsdk.catalogue.serving_cost import SECONDS, ServingPrice, Traffic
from ftsdk.migration.migrate_options import PEAK
from ftsdk.planning.candidates import Candidate
from ftsdk.planning.serving import Serving
from ftsdk.planning.targets import RankedTarget

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 640, 250, 56, 206, 16
_POINTS = 160
_MOST_SHOWN = 4
Scale = Callable[[float], float]
"""Turns a value into a place in the chart."""


@dataclass(frozen=True)
class CostLine:
    """One model in the chart: what it is called, its price, and the tokens of its requests."""

    name: str
    price: ServingPrice
    traffic: Traffic
    look: str = "new"
    factor: float = PEAK
    """The busiest second against the mean one."""

    def per_1000(self, requests: int) -> float | None:
        """Return US dollars per 1,000 requests at this traffic, by the high end of the hourly price."""
        found = self.price.month(with_peak(self.traffic, requests, self.factor)).per_1000
        return None if found is None else float(found.high)


def with_peak(traffic: Traffic, requests: int, factor: float = PEAK) -> Traffic:
    """Return the same requests in another number, the busiest second `factor` times the mean one."""
    peak = factor * requests / SECONDS
    return Traffic(
        requests, traffic.input_tokens, traffic.output_tokens, traffic.cached_tokens, peak
    )


def cost_line(
    name: str,
    candidate: Candidate,
    traffic: Traffic,
    catalogue: Catalogue,
    look: str = "new",
    factor: float = PEAK,
) -> CostLine | None:
    """Return the line of a candidate; None where its price is not known."""
    price = Serving(candidate, traffic, catalogue).price
    return None if price is None else CostLine(name, price, traffic, look, factor)


def cost_card(
    old: CostLine | None,
    lines: Sequence[CostLine],
    ranked: Sequence[RankedTarget],
    requests: int,
    *,
    assumed: bool,
    peak: float | None = None,
) -> str:
    """Return the card: the curve of the old model and the first candidates, and the table of all."""
    if old is None and not lines:
        return ""
    shown = [*([old] if old is not None else []), *lines[:_MOST_SHOWN]]
    key = "".join(
        f'<span><svg class="swatch" viewBox="0 0 24 8" aria-hidden="true"><line class="curve {one.look}" '
        f'x1="0" y1="4" x2="24" y2="4"/></svg>{escape(one.name)}</span>'
        for one in shown
    )
    return (
        '<section class="card"><h2>Cost per 1,000 requests<small>by requests a month, in US dollars'
        f'</small></h2><div class="key">{key}</div>{_chart(shown, requests)}'
        f"{_table(old, ranked)}{_notes(ranked, requests, peak, assumed=assumed)}</section>"
    )


# --- the chart ---


def _chart(lines: Sequence[CostLine], requests: int) -> str:
    most = _widest(lines, requests)
    marks = [max(1, most * number // _POINTS) for number in range(1, _POINTS + 1)]
    top = _highest(lines, requests, marks)

    def x(value: float) -> float:
        return round(_LEFT + value / most * (_WIDTH - _LEFT - 8), 1)

    def y(value: float) -> float:
        return round(_BOTTOM - min(1.0, value / top) * (_BOTTOM - _TOP), 1)

    grid = "".join(
        f'<line class="zero" x1="{_LEFT}" y1="{y(top * n / 4)}" x2="{_WIDTH - 8}" y2="{y(top * n / 4)}"/>'
        f'<text x="{_LEFT - 8}" y="{y(top * n / 4) + 4}" text-anchor="end">{_usd(top * n / 4)}</text>'
        for n in range(5)
    )
    ticks = "".join(
        f'<text x="{x(most * n / 4)}" y="{_BOTTOM + 18}" text-anchor="middle">{_many(most * n // 4)}</text>'
        for n in range(5)
    )
    paths = "".join(_path(one, marks, top, x, y) for one in lines)
    you = (
        f'<line class="limit" x1="{x(requests)}" y1="{_TOP}" x2="{x(requests)}" y2="{_BOTTOM}"/>'
        f'<text class="value" x="{x(requests) + 6}" y="{_TOP + 4}">you: {_many(requests)}</text>'
    )
    said = "; ".join(
        f"{one.name} {_usd(cost)}" for one in lines if (cost := one.per_1000(requests)) is not None
    )
    return (
        f'<svg class="wide-chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="per 1,000 '
        f'requests at {requests:,} a month: {escape(said)}">{grid}{ticks}{you}{paths}'
        f'<text x="{_WIDTH - 8}" y="{_HEIGHT - 6}" text-anchor="end">requests a month</text></svg>'
    )


def _widest(lines: Sequence[CostLine], requests: int) -> int:
    """Return how far the chart goes: to twice the traffic, and to the first crossing if that is near."""
    most = max(2 * requests, 1_000)
    old = next((one for one in lines if one.look == "old"), None)
    if old is None:
        return most
    for factor in (2, 4, 8, 16):
        at = factor * requests
        costs = [(one.per_1000(at), old.per_1000(at)) for one in lines if one is not old]
        if any(
            mine is not None and theirs is not None and mine <= theirs for mine, theirs in costs
        ):
            return max(most, at)
    return most


def _highest(lines: Sequence[CostLine], requests: int, marks: Sequence[int]) -> float:
    """Return the top of the scale: room above every cost at the user's traffic, not at its start."""
    here = [cost for one in lines if (cost := one.per_1000(requests)) is not None]
    right = [cost for one in lines if (cost := one.per_1000(marks[-1])) is not None]
    return max([*here, *right, 0.0001]) * 1.6


def _path(one: CostLine, marks: Sequence[int], top: float, x: Scale, y: Scale) -> str:
    points = []
    for requests in marks:
        cost = one.per_1000(requests)
        if cost is not None and cost <= top:
            points.append(f"{x(requests)},{y(cost)}")
    return f'<polyline class="curve {one.look}" points="{" ".join(points)}"/>' if points else ""


# --- the table ---


def _table(old: CostLine | None, ranked: Sequence[RankedTarget]) -> str:
    heads = ("", "A month", "Per 1,000", "Fixed a month", "Replicas", "Idle", "Even with the old from", "Training")  # fmt: skip
    head = "".join(f"<th{' class=number' if place else ''}>{text}</th>" for place, text in enumerate(heads))  # fmt: skip
    rows = "".join(_row(one) for one in ranked)
    first = "" if old is None else _old_row(old, len(heads))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{first}{rows}</tbody></table>"


def _old_row(old: CostLine, width: int) -> str:
    month = old.price.month(old.traffic)
    per = month.per_1000
    cells = [
        ("A month", _usd(float(month.usd.high))),
        ("Per 1,000", "–" if per is None else _usd(float(per.high))),
    ]
    rest = [
        (label, "–") for label in ("Fixed", "Replicas", "Idle", "Even", "Training")[: width - 3]
    ]
    return f"<tr class=all><td>{escape(old.name)}</td>{''.join(_cell(*one) for one in [*cells, *rest])}</tr>"  # fmt: skip


def _row(one: RankedTarget) -> str:
    month = one.month
    if month is None:
        why = escape(f"not known: {one.missing}")
        return f'<tr><td>{escape(one.candidate.note)}</td><td colspan="7">{why}</td></tr>'
    per = month.per_1000
    least = "from " if month.is_least else ""
    cells = [
        ("A month", least + _span(month.usd.low, month.usd.high)),
        ("Per 1,000", "–" if per is None else least + _span(per.low, per.high)),
        ("Fixed a month", _span(month.fixed.low, month.fixed.high)),
        ("Replicas", "1 or more" if month.replicas is None else str(month.replicas or "–")),
        ("Idle", "–" if month.idle_share is None else f"{month.idle_share * 100:.0f} %"),
        ("Even from", _even(one.break_even)),
        ("Training", str(one.training)),
    ]
    return (
        f"<tr><td>{escape(one.candidate.note)}</td>{''.join(_cell(*each) for each in cells)}</tr>"
    )


def _cell(label: str, value: str) -> str:
    named = f' data-label="{label}"' if label else ""
    return f'<td class="number"{named}>{escape(value)}</td>'


def _even(ends: tuple[int, int] | None) -> str:
    if ends is None:
        return "never"
    low, high = ends
    if not high:
        return "any traffic"
    return _many(low) if low == high else f"{_many(low)}–{_many(high)}"


def _notes(
    ranked: Sequence[RankedTarget], requests: int, peak: float | None, *, assumed: bool
) -> str:
    lines = [f"At {requests:,} requests a month" + (", an assumption: --requests N/month gives yours." if assumed else ".")]  # fmt: skip
    if any(one.month is not None and one.month.fixed.high for one in ranked):
        second = (
            f"{PEAK:g} times the mean, an assumption: --peak N gives yours,"
            if peak is None
            else f"{peak:g} requests"
        )
        lines.append(
            f"Replicas are counted for a busiest second of {second} and for the requests per second "
            "that one replica answered in the comparison."
        )
    lines += list(_sources(ranked))
    return "".join(f'<p class="note">{escape(line)}</p>' for line in lines)


def _sources(ranked: Sequence[RankedTarget]) -> Iterator[str]:
    sources = dict.fromkeys(source for one in ranked for source in one.sources)
    if sources:
        yield f"Prices: {'; '.join(sources)}."
    for one in ranked:
        for line in one.unconfirmed:
            yield f"UNCONFIRMED, {one.candidate.note}: {line}."


def _usd(value: float) -> str:
    if value >= 100:
        return f"${value:,.0f}"
    if value >= 1 or value == 0:
        return f"${value:.2f}"
    return f"${value:.4f}".rstrip("0")


def _span(low: Decimal, high: Decimal) -> str:
    ends = _usd(float(low)), _usd(float(high))
    return ends[0] if ends[0] == ends[1] else f"{ends[0]}–{ends[1].removeprefix('$')}"


def _many(requests: int) -> str:
    for size, word in ((1_000_000, "M"), (1_000, "k")):
        if requests >= size:
            return f"{requests / size:.3g} {word}"
    return f"{requests:,}"
