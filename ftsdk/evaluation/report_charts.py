"""The charts of an evaluation's page, as SVG: intervals, and the bar of answers that changed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

from ftsdk.types.evaluation import Comparison

_WIDTH, _HEIGHT = 440, 118
_LEFT, _RIGHT, _BASE = 8, 8, 74
_STEPS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
_MINUS = "\N{MINUS SIGN}"


def span_of(comparisons: Iterable[Comparison]) -> tuple[float, float]:
    """Return the range of differences that holds all intervals, zero and the margin."""
    values = [0.0]
    for one in comparisons:
        values += [value for value in (one.low, one.high) if value is not None]
        values += [] if one.margin is None else [-one.margin]
    low, high = min(values), max(values)
    room = max(0.01, (high - low) * 0.12)
    return low - room, high + room


def _ticks(low: float, high: float) -> Iterator[float]:
    step = next((one for one in _STEPS if (high - low) / one <= 8), 1.0)
    for number in range(math.ceil(low / step), math.floor(high / step) + 1):
        yield number * step


def _label(share: float) -> str:
    value = round(share * 100, 1)
    text = f"{abs(value):g}"
    return "0" if value == 0 else f"{'+' if value > 0 else _MINUS}{text}"


def interval_chart(one: Comparison, look: str) -> str:
    """Return the difference with its interval, zero, and the limit that was allowed."""
    if one.delta is None or one.low is None or one.high is None:
        return ""
    low, high = span_of([one])

    def x(value: float) -> float:
        return round(_LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT), 1)

    marks = "".join(
        f'<text x="{x(tick)}" y="{_BASE + 18}" text-anchor="middle">{_label(tick)}</text>'
        for tick in _ticks(low, high)
    )
    limit = ""
    if one.margin is not None:
        edge = x(-one.margin)
        limit = (
            f'<rect class="beyond" x="{_LEFT}" y="8" width="{max(0, edge - _LEFT)}" height="{_BASE - 8}"/>'
            f'<line class="limit" x1="{edge}" y1="8" x2="{edge}" y2="{_BASE}"/>'
            f'<text class="limit-text" x="{edge}" y="{_BASE + 36}" text-anchor="middle">worse than you allow</text>'
        )
    named = f"difference {_label(one.delta)} points, 95 % interval {_label(one.low)} to {_label(one.high)}"
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{named}">{limit}'
        f'<line class="zero" x1="{x(0)}" y1="8" x2="{x(0)}" y2="{_BASE}"/>'
        f'<line class="axis" x1="{_LEFT}" y1="{_BASE}" x2="{_WIDTH - _RIGHT}" y2="{_BASE}"/>{marks}'
        f'<line class="range {look}" x1="{x(one.low)}" y1="44" x2="{x(one.high)}" y2="44"/>'
        f'<circle class="dot {look}" cx="{x(one.delta)}" cy="44" r="6"/>'
        f'<text class="value" x="{x(one.delta)}" y="28" text-anchor="middle">{_label(one.delta)}</text>'
        "</svg>"
    )


def slice_chart(one: Comparison, span: tuple[float, float], look: str) -> str:
    """Return one row's interval on the scale that all rows share."""
    if one.delta is None or one.low is None or one.high is None:
        return ""
    low, high = span

    def x(value: float) -> float:
        return round((value - low) / (high - low) * 200, 1)

    limit = ""
    if one.margin is not None:
        edge = x(-one.margin)
        limit = f'<rect class="beyond" x="0" y="0" width="{max(0, edge)}" height="20"/>'
    return (
        f'<svg viewBox="0 0 200 20" aria-hidden="true">{limit}'
        f'<line class="zero" x1="{x(0)}" y1="0" x2="{x(0)}" y2="20"/>'
        f'<line class="thin range {look}" x1="{x(one.low)}" y1="10" x2="{x(one.high)}" y2="10"/>'
        f'<circle class="dot {look}" cx="{x(one.delta)}" cy="10" r="4"/></svg>'
    )


def changed_bar(counts: Mapping[str, int]) -> str:
    """Return a bar with a part for each kind of row, by their numbers."""
    total = sum(counts.values()) or 1
    parts, start = [], 0.0
    for kind, count in counts.items():
        width = count / total * 1000
        if count:
            parts.append(
                f'<rect class="{kind}" x="{start:.1f}" y="0" width="{max(width - 2, 1):.1f}" height="12"/>'
            )
        start += width
    return (
        '<svg viewBox="0 0 1000 12" preserveAspectRatio="none" height="12" aria-hidden="true">'
        f"{''.join(parts)}</svg>"
    )
