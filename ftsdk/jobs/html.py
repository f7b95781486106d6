"""A job as HTML for notebooks: a card, and its loss curve as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ftsdk.types.events import MetricPoint
from ftsdk.types.job import JobSnapshot

_BARS = "▁▂▃▄▅▆▇█"
_COLOURS = {"succeeded": "#2e9e5b", "failed": "#d64545", "cancelled": "#8a8f98"}


def sparkline(values: Sequence[float], width: int = 24) -> str:
    """Return the values as a line of at most `width` block characters, low to high."""
    if not values:
        return ""
    count = min(width, len(values))
    groups = [
        values[i * len(values) // count : (i + 1) * len(values) // count] for i in range(count)
    ]
    means = [sum(group) / len(group) for group in groups]
    low, high = min(means), max(means)
    spread = (high - low) or 1.0
    return "".join(_BARS[round((m - low) / spread * (len(_BARS) - 1))] for m in means)


def _points(xs: Sequence[float], ys: Sequence[float], box: tuple[float, ...]) -> str:
    x0, x1, y0, y1, width, height = box
    return " ".join(
        f"{8 + (x - x0) / ((x1 - x0) or 1) * (width - 16):.1f},"
        f"{8 + (y1 - y) / ((y1 - y0) or 1) * (height - 16):.1f}"
        for x, y in zip(xs, ys, strict=True)
    )


def curve_svg(points: Sequence[MetricPoint], *, width: int = 360, height: int = 110) -> str:
    """Return an inline SVG with training loss as a line and validation loss as dots."""
    train = [(p.step, p.train_loss) for p in points if p.train_loss is not None]
    validation = [(p.step, p.validation_loss) for p in points if p.validation_loss is not None]
    if not train and not validation:
        return ""
    steps = [s for s, _ in train + validation]
    losses = [v for _, v in train + validation]
    box = (min(steps), max(steps), min(losses), max(losses), width, height)
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}"><title>loss by step</title>'
        )
    ]
    if train:
        line = _points([s for s, _ in train], [v for _, v in train], box)
        parts.append(
            f'<polyline points="{line}" fill="none" stroke="#3b7dd8" stroke-width="1.8" '
            'stroke-linejoin="round"/>'
        )
    for step, loss in validation:
        x, y = _points([step], [loss], box).split(",")
        parts.append(f'<circle cx="{x}" cy="{y}" r="3" fill="#e08a2e"/>')
    return "".join([*parts, "</svg>"])


def job_card(snapshot: JobSnapshot, points: Sequence[MetricPoint]) -> str:
    """Return a small HTML card of a job: name, status, details and loss curve."""
    colour = _COLOURS.get(snapshot.status.value, "#3b7dd8")
    losses = [p.train_loss for p in points if p.train_loss is not None]
    details = [f"{snapshot.provider} · {snapshot.model}", f"cost {snapshot.cost}"]
    if losses:
        details.append(f"loss {losses[0]:.2f} → {losses[-1]:.2f}")
    if snapshot.progress and snapshot.progress.fraction is not None:
        details.append(f"{snapshot.progress.fraction:.0%}")
    if snapshot.message:
        details.append(snapshot.message)
    return (
        '<div style="font:13px system-ui,sans-serif;border:1px solid #8884;border-radius:8px;'
        'padding:10px 14px;display:inline-block;max-width:420px">'
        f"<div><b>{escape(snapshot.name or snapshot.id)}</b> "
        f'<span style="color:{colour}">{escape(snapshot.status.value.replace("_", " "))}</span></div>'
        f'<div style="opacity:.75">{escape(" · ".join(details))}</div>'
        f"{curve_svg(points)}"
        f'<div style="opacity:.55;font-family:monospace;font-size:11px">{escape(snapshot.id)}</div>'
        "</div>"
    )
