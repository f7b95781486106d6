"""A chart of losses as SVG: axes with units, a label at each end, light and dark. No scripts.

Colours come from the card that it is in (`ftsdk.util.card`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Point = tuple[float, float]
"""A step and its loss."""

_WIDTH, _HEIGHT = 688, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 104, 12, 36


def loss_chart(train: Sequence[Point], validation: Sequence[Point] = ()) -> str:
    """Return losses by step; training is solid, validation dashed. Nothing below two points."""
    series = [
        ("training", "var(--learn)", "", _finite(train)),
        ("validation", "var(--second)", "6 4", _finite(validation)),
    ]
    everything = [point for *_, points in series for point in points]
    if len(everything) < 2:
        return ""
    steps, losses = [x for x, _ in everything], [y for _, y in everything]
    ys = ticks(min(losses), max(losses), 4)
    area = _Area(min(steps), max(steps), min(ys[0], *losses), max(ys[-1], *losses))
    drawn = [_series(area, *one) for one in series if one[-1]]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{_WIDTH}" height="{_HEIGHT}" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}"><title>{summary(train, validation)}</title>'
        + "".join([_grid(area, ys), *drawn, _labels(area, series)])
        + "</svg>"
    )


def summary(train: Sequence[Point], validation: Sequence[Point] = ()) -> str:
    """Return `training loss 2.41 → 0.61, validation loss 1.38 → 0.83`."""
    both = (("training", _finite(train)), ("validation", _finite(validation)))
    parts = [f"{name} loss {one[0][1]:.2f} → {one[-1][1]:.2f}" for name, one in both if one]
    return ", ".join(parts)


def ticks(low: float, high: float, about: int) -> list[float]:
    """Return round numbers from at or below `low` to at or above `high`, about so many."""
    spread = (high - low) or abs(high) or 1.0
    power = 10 ** math.floor(math.log10(spread / about))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= spread / about)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(number * step, 10) for number in range(first, max(last, first + 1) + 1)]


class _Area:
    """Places steps and losses in the drawing."""

    def __init__(self, x0: float, x1: float, y0: float, y1: float) -> None:
        self.x0, self.x1, self.y0, self.y1 = x0, x1, y0, y1

    def x(self, step: float) -> float:
        share = (step - self.x0) / ((self.x1 - self.x0) or 1)
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def y(self, loss: float) -> float:
        share = (loss - self.y0) / ((self.y1 - self.y0) or 1)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)


def _finite(points: Sequence[Point]) -> list[Point]:
    return sorted((x, y) for x, y in points if math.isfinite(x) and math.isfinite(y))


def _grid(area: _Area, ys: Sequence[float]) -> str:
    """Return horizontal lines with their losses, the axis of steps, and the names of both."""
    right = _WIDTH - _RIGHT
    parts = [
        f'<line x1="{_LEFT}" x2="{right}" y1="{area.y(y):.1f}" y2="{area.y(y):.1f}" '
        'stroke="var(--line)"/>'
        f'<text x="{_LEFT - 8}" y="{area.y(y) + 4:.1f}" text-anchor="end" fill="var(--faint)">'
        f"{y:g}</text>"
        for y in ys
    ]
    base = _HEIGHT - _BOTTOM
    parts.append(f'<line x1="{_LEFT}" x2="{right}" y1="{base}" y2="{base}" stroke="var(--edge)"/>')
    parts += [
        f'<line x1="{area.x(step):.1f}" x2="{area.x(step):.1f}" y1="{base}" y2="{base + 4}" '
        'stroke="var(--edge)"/>'
        f'<text x="{area.x(step):.1f}" y="{base + 18}" text-anchor="middle" '
        f'fill="var(--faint)">{step:g}</text>'
        for step in _steps(area)
    ]
    parts.append(f'<text x="{right + 24}" y="{base + 18}" fill="var(--faint)">step</text>')
    return "".join(parts)


def _steps(area: _Area) -> list[float]:
    """Return whole steps for the axis, from the first to the last."""
    inside = [s for s in ticks(area.x0, area.x1, 5) if area.x0 <= s <= area.x1 and s == int(s)]
    return inside or [area.x0]


def _series(area: _Area, name: str, colour: str, dash: str, points: Sequence[Point]) -> str:
    path = " ".join(f"{area.x(x):.1f},{area.y(y):.1f}" for x, y in points)
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    line = (
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.75" '
        f'stroke-linejoin="round"{dashed}><title>{name}</title></polyline>'
    )
    if len(points) > 12:
        return line
    return line + "".join(
        f'<circle cx="{area.x(x):.1f}" cy="{area.y(y):.1f}" r="3" fill="{colour}"/>'
        for x, y in points
    )


def _labels(area: _Area, series: Sequence[tuple[str, str, str, Sequence[Point]]]) -> str:
    """Return each series' name and last loss beside its end, 14 px apart at least."""
    ends = sorted(
        (area.y(points[-1][1]), name, colour, points[-1]) for name, colour, _, points in series if points
    )  # fmt: skip
    parts, above = [], -math.inf
    for y, name, colour, (step, loss) in ends:
        above = max(y + 4, above + 14)
        parts.append(
            f'<text x="{area.x(step) + 8:.1f}" y="{above:.1f}" fill="{colour}">{name} {loss:.2f}</text>'
        )
    return "".join(parts)


def spark(train: Sequence[Point], validation: Sequence[Point] = ()) -> str:
    """Return a small curve of 80 × 28 without axes; validation losses are dots. Nothing below two points."""
    line, dots = thinned(_finite(train), 60), thinned(_finite(validation), 12)
    both = [*line, *dots]
    if len(both) < 2:
        return ""
    xs, ys = [x for x, _ in both], [y for _, y in both]

    def place(point: Point) -> tuple[float, float]:
        x = 2 + (point[0] - min(xs)) / ((max(xs) - min(xs)) or 1) * 76
        return x, 25 - (point[1] - min(ys)) / ((max(ys) - min(ys)) or 1) * 22

    path = " ".join("{:.1f},{:.1f}".format(*place(point)) for point in line)
    marks = "".join(
        '<circle cx="{:.1f}" cy="{:.1f}" r="1.8" fill="var(--second)"/>'.format(*place(point))
        for point in dots
    )
    return (
        f'<svg width="80" height="28" viewBox="0 0 80 28" role="img"><title>{summary(train, validation)}</title>'
        f'<polyline points="{path}" fill="none" stroke="var(--learn)" stroke-width="1.5"/>{marks}</svg>'
    )


def thinned(points: Sequence[Point], most: int) -> list[Point]:
    """Return at most `most` points of a curve: of each stretch its lowest and its highest, and both ends."""
    if len(points) <= most:
        return list(points)
    stretches = max(1, (most - 2) // 2)
    inside, kept = points[1:-1], [points[0]]
    for number in range(stretches):
        part = inside[number * len(inside) // stretches : (number + 1) * len(inside) // stretches]
        if part:
            low = min(part, key=lambda point: point[1])
            high = max(part, key=lambda point: point[1])
            kept += sorted({low, high})
    return [*kept, points[-1]]
