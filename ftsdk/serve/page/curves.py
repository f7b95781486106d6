"""Curves on the page: drawn for three widths, with a hover line that the arrow keys move."""

from __future__ import annotations

import json
from collections.abc import Sequence

from ftsdk.jobs.html import losses_of
from ftsdk.serve.page.html import Html, el, svg
from ftsdk.serve.page.watch import Course
from ftsdk.util.chart import (
    Mark,
    Series,
    Size,
    line_chart,
    range_of,
    summary,
    thinned,
    train_and_validation,
)

_SIZES = (
    ("wide-only", Size(760, 280)),
    ("middle-only", Size(560, 250)),
    ("narrow-only", Size(320, 220, 82)),
)
_HOVERED = 300


def curve(
    series: Sequence[Series], *, title: str, marks: Sequence[Mark] = (), axis: str = "step"
) -> Html | None:
    """Return a chart of losses by step; None below two points. `title` says its result in words."""
    found = range_of(series)
    if found is None:
        return None
    (first, last), _ = found
    data = {
        "axis": axis,
        "range": [first, last],
        "series": [
            {"name": one.name, "points": thinned(one.points, _HOVERED)}
            for one in series
            if one.points
        ],
    }
    drawn = [
        svg(line_chart(_named(series, look), title=title, size=size, marks=marks, look=look))
        for look, size in _SIZES
    ]
    return el(
        "div", drawn, class_="chart", role="slider", tabindex=0, aria_label=f"{title}. Arrow keys move along it.",
        aria_valuemin=first, aria_valuemax=last, aria_valuenow=last, data_chart=json.dumps(data),
    )  # fmt: skip


def _named(series: Sequence[Series], look: str) -> list[Series]:
    """Return the lines with short names, where there is little room."""
    if look != "narrow-only":
        return list(series)
    return [
        Series(_SHORT.get(one.name, one.name[:8]), one.colour, one.dash, one.points)
        for one in series
    ]


_SHORT = {"training": "train", "validation": "val"}


def job_curve(course: Course) -> Html | None:
    """Return the curve of one job, with its checkpoints; the one of the lowest validation loss is filled."""
    train, validation = losses_of(course.points)
    best = min(validation, key=lambda point: point[1], default=None)
    steps = sorted({one.step for one in course.checkpoints})
    marks = [Mark(step, best is not None and step == best[0]) for step in steps]
    return curve(
        train_and_validation(train, validation), title=summary(train, validation), marks=marks
    )


def best_words(course: Course) -> str:
    """Return the lowest validation loss and its step, and whether it rose afterwards."""
    _, validation = losses_of(course.points)
    if not validation:
        return ""
    step, loss = min(validation, key=lambda point: point[1])
    last_step, last = validation[-1]
    if last_step > step and last > loss:
        return f"Validation rose after step {step:,.0f}, from {loss:.3f} to {last:.3f}."
    return f"Lowest validation loss: {loss:.3f} at step {step:,.0f}."
