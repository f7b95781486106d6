"""The mark of each status: a shape and a word say it, colour only helps."""

from __future__ import annotations

import math

from ftsdk.serve.page.html import Html, el, svg
from ftsdk.types.job import JobSnapshot
from ftsdk.types.status import JobStatus

_RING = '<circle cx="8" cy="8" r="6" fill="none" stroke-width="1.5"{}/>'
_DASHED = _RING.format(' stroke-dasharray="2.4 2.3"')
_SHAPES = {
    "waiting": _DASHED,
    "doubt": _DASHED
    + '<text x="8" y="11" text-anchor="middle" stroke="none" class="in-mark">?</text>',
    "decide": '<path d="M8 1 15 8 8 15 1 8Z" stroke="none"/><path d="M8 4.6v4.2M8 10.6v.8" class="hole"/>',
    "finalizing": _RING.format("") + '<circle cx="8" cy="8" r="3.4" stroke="none"/>',
    "paused": _RING.format("") + '<path d="M6.4 5.6v4.8M9.6 5.6v4.8" stroke-width="1.5"/>',
    "succeeded": '<circle cx="8" cy="8" r="6.8" stroke="none"/><path d="m5 8.2 2.1 2.1L11 6" class="hole"/>',
    "failed": '<circle cx="8" cy="8" r="6.8" stroke="none"/><path d="m5.7 5.7 4.6 4.6m0-4.6-4.6 4.6" class="hole"/>',
    "cancelled": _RING.format("") + '<path d="m4 12 8-8" stroke-width="1.5"/>',
}
_LOOKS = {
    JobStatus.CREATED: ("paused", "warn", "not sent"),
    JobStatus.SUBMITTING: ("waiting", "soft", "submitting"),
    JobStatus.IN_DOUBT: ("doubt", "warn", "in doubt"),
    JobStatus.VALIDATING: ("waiting", "soft", "validating"),
    JobStatus.QUEUED: ("waiting", "soft", "queued"),
    JobStatus.RUNNING: ("running", "learn", "running"),
    JobStatus.FINALIZING: ("finalizing", "learn", "finalizing"),
    JobStatus.PAUSED: ("paused", "warn", "paused"),
    JobStatus.CANCELLING: ("waiting", "soft", "cancelling"),
    JobStatus.SUCCEEDED: ("succeeded", "learn", "succeeded"),
    JobStatus.FAILED: ("failed", "bad", "failed"),
    JobStatus.CANCELLED: ("cancelled", "soft", "cancelled"),
    JobStatus.UNKNOWN: ("doubt", "warn", "unknown"),
}


def status_word(job: JobSnapshot, *, needs_decision: bool = False) -> str:
    """Return a job's status as the page writes it."""
    return "needs a decision" if needs_decision else _LOOKS[job.status][2]


def status_mark(job: JobSnapshot, *, needs_decision: bool = False) -> Html:
    """Return the mark and the word of a job's status; a running ring fills by its share."""
    shape, kind, word = _LOOKS[job.status]
    if needs_decision:
        shape, kind, word = "decide", "warn", "needs a decision"
    drawn = _running(job) if shape == "running" else _SHAPES[shape]
    return el("span", mark(drawn, kind), el("span", word), class_=f"status {kind}")


def mark(drawn: str, kind: str) -> Html:
    """Return a drawing of 16 × 16 in the colour of `kind`; a reader of screens has the word beside it."""
    return svg(
        f'<svg class="mark {kind}" width="16" height="16" viewBox="0 0 16 16" aria-hidden="true">{drawn}</svg>'
    )


def warning_mark() -> Html:
    """Return the triangle before what needs your attention."""
    return mark(
        '<path d="M8 2 15 14H1Z" fill="none" stroke-width="1.5" stroke-linejoin="round"/>'
        '<path d="M8 6.5v3.6M8 11.6v.7" stroke-width="1.5"/>',
        "warn",
    )


def failed_mark() -> Html:
    """Return the mark of what failed."""
    return mark(_SHAPES["failed"], "bad")


def _running(job: JobSnapshot) -> str:
    share = 0.0 if job.progress is None else job.progress.fraction or 0.0
    turn = min(0.999, max(0.06, share)) * 2 * math.pi
    x, y = 8 + 4.2 * math.sin(turn), 8 - 4.2 * math.cos(turn)
    wide = int(turn > math.pi)
    pie = f'<path d="M8 8V3.8A4.2 4.2 0 {wide} 1 {x:.2f} {y:.2f}Z" stroke="none"/>'
    return _RING.format("") + pie
