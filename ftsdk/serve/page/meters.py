"""Meters drawn in SVG, since the page's policy forbids style attributes."""

from __future__ import annotations

from decimal import Decimal

from ftsdk.serve.page.html import Html, svg
from ftsdk.types.cost import Cost


def progress_bar(fraction: float) -> Html:
    """Return a bar that is filled by a share; the words beside it say it."""
    share = max(0.0, min(1.0, fraction)) * 100
    return _bar(f'<rect width="{share:.1f}" height="5" rx="1" fill="var(--learn)"/>')


def money_bar(cost: Cost, limit: Decimal | None) -> Html | None:
    """Return a bar of a cost against its limit: solid to the low end, hatched to the high one."""
    if limit is None or not limit or cost.high is None:
        return None
    full = max(limit, cost.high)
    low, high = (float((one or Decimal(0)) / full) * 100 for one in (cost.low, cost.high))
    colour = "var(--bad)" if cost.high > limit else "var(--soft)"
    drawn = f'<rect width="{low:.1f}" height="5" fill="{colour}"/>'
    steps = int((high - low) / 3)
    for step in range(steps):
        drawn += f'<rect x="{low + 3 * step + 1:.1f}" width="1.6" height="5" fill="{colour}"/>'
    if full > limit:
        drawn += (
            f'<rect x="{float(limit / full) * 100:.1f}" width="1" height="5" fill="var(--ink)"/>'
        )
    return _bar(drawn)


def _bar(drawn: str) -> Html:
    return svg(
        '<svg class="bar" viewBox="0 0 100 5" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect width="100" height="5" fill="var(--ctx)"/>{drawn}</svg>'
    )
