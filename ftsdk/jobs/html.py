"""Jobs as HTML for notebooks: a card with the loss curve, a list of jobs, and metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from ftsdk.types.events import MetricPoint
from ftsdk.types.job import JobSnapshot
from ftsdk.util import card, chart
from ftsdk.util.durations import clock, percent
from ftsdk.util.names import plural

_BARS = "▁▂▃▄▅▆▇█"
_MARKS = {"succeeded": "✓", "failed": "✗", "cancelled": "–", "paused": "‖", "in_doubt": "?"}
_KINDS = {"failed": "bad", "cancelled": "soft", "paused": "warn", "in_doubt": "warn"}
_MOST_ROWS = 50


class _HasSnapshot(Protocol):
    @property
    def snapshot(self) -> JobSnapshot: ...


_JobT = TypeVar("_JobT", bound=_HasSnapshot)


class JobList(list[_JobT]):
    """A list of jobs, which a notebook shows as a table. Asks nobody."""

    def _repr_html_(self) -> str:
        return job_table([job.snapshot for job in self])


class MetricList(list[MetricPoint]):
    """A list of metrics, which a notebook shows as a chart."""

    def _repr_html_(self) -> str:
        drawn = chart.loss_chart(*losses_of(self))
        latest = [plural(len(self), "point")] if self else ["no metrics yet"]
        return card.card(card.head("Metrics"), card.line(latest), drawn)


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


def losses_of(points: Iterable[MetricPoint]) -> tuple[list[chart.Point], list[chart.Point]]:
    """Return training and validation losses, each with its step."""
    found = list(points)
    train = [(float(p.step), p.train_loss) for p in found if p.train_loss is not None]
    return train, [(float(p.step), p.validation_loss) for p in found if p.validation_loss is not None]  # fmt: skip


def job_card(job: JobSnapshot, points: Sequence[MetricPoint]) -> str:
    """Return a card of a job: name, status, progress, facts and loss curve."""
    train, validation = losses_of(points)
    return card.card(
        card.head(job.name or job.model, _status(job), _KINDS.get(job.status.value, "state")),
        card.line([job.provider, job.model if job.name else "", f"cost {job.cost}"]),
        card.line([chart.summary(train, validation)]),
        _progress(job),
        chart.loss_chart(train, validation),
        card.line([job.message if not job.status.is_final or not points else ""], "soft"),
        card.line([job.id], "id"),
    )


def job_table(jobs: Sequence[JobSnapshot]) -> str:
    """Return jobs as a table, one row each."""
    if not jobs:
        return card.card(card.line(["No jobs"]))
    rows = [
        (j.id, j.name or "", j.provider, j.model, _unbroken(_status(j)), str(j.cost),
         f"{j.created_at:%Y-%m-%d %H:%M}")
        for j in jobs[:_MOST_ROWS]
    ]  # fmt: skip
    names = ("id", "name", "provider", "model", "status", "cost", "created, UTC")
    more = len(jobs) - _MOST_ROWS
    return card.card(
        card.head(plural(len(jobs), "job")),
        card.table(names, rows, numbers=(5,)),
        card.line([f"and {more:,} more" if more > 0 else ""]),
    )


def _unbroken(text: str) -> str:
    """Return a text that stays on one line in a narrow column."""
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def _status(job: JobSnapshot) -> str:
    word = job.status.value
    return f"{_MARKS.get(word, '●')} {word.replace('_', ' ')}"


def _progress(job: JobSnapshot) -> str:
    now = job.progress
    if now is None or now.fraction is None or job.status.is_final:
        return ""
    return card.meter(now.fraction, " · ".join(progress_words(job)))


def progress_words(job: JobSnapshot) -> Iterator[str]:
    """Yield share, step, speed and time left of a running job, as far as they are known."""
    now: Any = job.progress
    if now is None or now.fraction is None:
        return
    yield percent(now.fraction)
    if now.step is not None:
        yield f"step {now.step:,}" + (f" of {now.total_steps:,}" if now.total_steps else "")
    if now.tokens_per_s and not job.status.is_final:
        yield f"{now.tokens_per_s:,.0f} tok/s"
    if now.eta_s is not None and not job.status.is_final:
        yield f"{clock(now.eta_s)} left"
