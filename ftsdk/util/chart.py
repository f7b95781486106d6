"""Charts of losses as SVG: axes with units, a label at each end, light and dark. No scripts.

Colours come from the card that it is in (`ftsdk.util.card`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

Point = tuple[float, float]
"""A step and its loss."""

_TOP, _BOTTOM, _LEFT = 12, 36, 48
_MOST_POINTS = 300


@dataclass(frozen=True)
class Series:
    """One line of a chart: its name, a colour, a pattern of dashes (none: solid), and its points."""

    name: str
    colour: str
    dash: str
    points: Sequence[Point]


@dataclass(frozen=True)
class Mark:
    """A checkpoint: a small shield on the axis at a step; `best` fills it."""

    step: float
    best: bool = False


@dataclass(frozen=True)
class Size:
    """The size of a chart in pixels; `right` is the room for the labels at the ends of lines."""

    width: int = 688
    height: int = 220
    right: int = 104


def train_and_validation(
    train: Sequence[Point], validation: Sequence[Point] = (), *, short: bool = False
) -> list[Series]:
    """Return the two lines of a job: training teal and solid, validation blue and dashed."""
    names = ("train", "val") if short else ("training", "validation")
    return [
        Series(names[0], "var(--learn)", "", finite(train)),
        Series(names[1], "var(--second)", "6 4", finite(validation)),
    ]


def loss_chart(train: Sequence[Point], validation: Sequence[Point] = ()) -> str:
    """Return losses by step; training is solid, validation dashed. Nothing below two points."""
    return line_chart(train_and_validation(train, validation), title=summary(train, validation))


def line_chart(
    series: Sequence[Series],
    *,
    title: str,
    size: Size = Size(),
    marks: Sequence[Mark] = (),
    look: str = "",
) -> str:
    """Return lines over steps, drawn for their width. Nothing below two points.

    A long noisy line is smoothed, with its raw values faint behind it. `look` is the class of the drawing;
    its attribute `data-area` has the pixels of the plot: left, right, top, bottom.
    """
    found = range_of(series)
    if found is None:
        return ""
    (x0, x1), (low, high) = found
    ys = ticks(low, high, 4)
    area = _Area(x0, x1, min(ys[0], low), max(ys[-1], high), size)
    shown = [one for one in series if one.points]
    drawn = [_series(area, one) for one in shown]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{size.width}" height="{size.height}" '
        f'viewBox="0 0 {size.width} {size.height}"{_attribute("class", look)} '
        f'data-area="{_LEFT},{size.width - size.right},{_TOP},{size.height - _BOTTOM}">'
        f"<title>{escape(title)}</title>"
        + "".join([_grid(area, ys), *drawn, _marks(area, marks), _labels(area, shown)])
        + "</svg>"
    )


def range_of(series: Sequence[Series]) -> tuple[Point, Point] | None:
    """Return the first and last step and the lowest and highest loss; None below two points."""
    everything = [point for one in series for point in one.points]
    if len(everything) < 2:
        return None
    steps, losses = [x for x, _ in everything], [y for _, y in everything]
    return (min(steps), max(steps)), (min(losses), max(losses))


def _attribute(name: str, value: str) -> str:
    return f' {name}="{escape(value)}"' if value else ""


def summary(train: Sequence[Point], validation: Sequence[Point] = ()) -> str:
    """Return `training loss 2.41 → 0.61, validation loss 1.38 → 0.83`."""
    both = (("training", finite(train)), ("validation", finite(validation)))
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

    def __init__(self, x0: float, x1: float, y0: float, y1: float, size: Size) -> None:
        self.x0, self.x1, self.y0, self.y1, self.size = x0, x1, y0, y1, size
        self.right, self.base = size.width - size.right, size.height - _BOTTOM

    def x(self, step: float) -> float:
        share = (step - self.x0) / ((self.x1 - self.x0) or 1)
        return _LEFT + share * (self.right - _LEFT)

    def y(self, loss: float) -> float:
        share = (loss - self.y0) / ((self.y1 - self.y0) or 1)
        return self.base - share * (self.base - _TOP)


def finite(points: Sequence[Point]) -> list[Point]:
    """Return the points whose loss is a number, by step."""
    return sorted((x, y) for x, y in points if math.isfinite(x) and math.isfinite(y))


def _grid(area: _Area, ys: Sequence[float]) -> str:
    """Return horizontal lines with their losses, the axis of steps, and the names of both."""
    right, base = area.right, area.base
    parts = [
        f'<line x1="{_LEFT}" x2="{right}" y1="{area.y(y):.1f}" y2="{area.y(y):.1f}" '
        'stroke="var(--line)"/>'
        f'<text x="{_LEFT - 8}" y="{area.y(y) + 4:.1f}" text-anchor="end" fill="var(--faint)">'
        f"{y:g}</text>"
        for y in ys
    ]
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
    inside = [
        s
        for s in ticks(area.x0, area.x1, 5 if area.size.width > 400 else 3)
        if area.x0 <= s <= area.x1 and s == int(s)
    ]
    return inside or [area.x0]


def _series(area: _Area, one: Series) -> str:
    points = thinned(one.points, _MOST_POINTS)
    dashed = f' stroke-dasharray="{one.dash}"' if one.dash else ""
    name = f"<title>{escape(one.name)}</title>"
    if len(points) > 60:
        faint = _polyline(area, points, one.colour, 'stroke-width="1" stroke-opacity="0.28"', "")
        return faint + _polyline(
            area, _smoothed(points), one.colour, f'stroke-width="1.75"{dashed}', name
        )
    line = _polyline(area, points, one.colour, f'stroke-width="1.75"{dashed}', name)
    if len(points) > 12:
        return line
    return line + "".join(
        f'<circle cx="{area.x(x):.1f}" cy="{area.y(y):.1f}" r="3" fill="{one.colour}"/>'
        for x, y in points
    )


def _polyline(
    area: _Area, points: Sequence[Point], colour: str, attributes: str, inside: str
) -> str:
    path = " ".join(f"{area.x(x):.1f},{area.y(y):.1f}" for x, y in points)
    return (
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-linejoin="round" '
        f"{attributes}>{inside}</polyline>"
    )


def _smoothed(points: Sequence[Point]) -> list[Point]:
    """Return the points with each loss averaged over its neighbours, a twentieth of the line on each side."""
    reach = max(1, len(points) // 20)
    found = []
    for index, (step, _) in enumerate(points):
        near = points[max(0, index - reach) : index + reach + 1]
        found.append((step, sum(loss for _, loss in near) / len(near)))
    return found


def _marks(area: _Area, marks: Sequence[Mark]) -> str:
    parts = []
    for mark in marks:
        if not area.x0 <= mark.step <= area.x1:
            continue
        x, fill = area.x(mark.step), "var(--learn)" if mark.best else "var(--card)"
        parts.append(
            f'<path d="M{x - 4:.1f} {area.base - 4}h8v6l-4 4-4-4Z" fill="{fill}" stroke="var(--edge)">'
            f"<title>checkpoint at step {mark.step:g}</title></path>"
        )
    return "".join(parts)


def _labels(area: _Area, series: Sequence[Series]) -> str:
    """Return each series' name and last loss beside its end, 14 px apart at least."""
    ordered = sorted(series, key=lambda one: -one.points[-1][1])
    places, above = [], -math.inf
    for one in ordered:
        above = max(area.y(one.points[-1][1]) + 4, above + 14)
        places.append(above)
    too_low = max(0.0, places[-1] - (area.base - 2)) if places else 0.0  # the steps are below
    parts = []
    for one, place in zip(ordered, places, strict=True):
        step, loss = one.points[-1]
        parts.append(
            f'<text x="{area.x(step) + 8:.1f}" y="{place - too_low:.1f}" fill="{one.colour}">'
            f"{escape(one.name)} {loss:.2f}</text>"
        )
    return "".join(parts)


def spark(train: Sequence[Point], validation: Sequence[Point] = ()) -> str:
    """Return a small curve of 80 × 28 without axes; validation losses are dots. Nothing below two points."""
    line, dots = thinned(finite(train), 60), thinned(finite(validation), 12)
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
