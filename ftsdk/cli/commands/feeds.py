"""What a job reports: `logs`, `metrics`, `events`, `checkpoints`."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer

from ftsdk.cli.context import newest, open_client, refreshed
from ftsdk.cli.errors import INTERRUPTED
from ftsdk.cli.options import Json, MaybeJob, Profile
from ftsdk.cli.view.formatting import clean, clean_line, count, number, redact, size
from ftsdk.cli.view.loss_curve import draw
from ftsdk.cli.view.output import columns, console, emit, say
from ftsdk.errors import BackendError, UsageError
from ftsdk.jobs.job import FineTuneJob
from ftsdk.types.events import Event, MetricPoint
from ftsdk.util.patience import Patience

Follow = Annotated[bool, typer.Option("--follow", "-f", help="Continue until the job ends.")]
_COLUMNS = (
    ("epoch", "epoch"),
    ("train_loss", "train loss"),
    ("validation_loss", "validation loss"),
    ("train_accuracy", "train acc"),
    ("validation_accuracy", "validation acc"),
    ("learning_rate", "lr"),
    ("grad_norm", "grad norm"),
    ("tokens_per_s", "tok/s"),
    ("rewards/margins", "margin"),
    ("validation_rewards/margins", "validation margin"),
)
"""The columns of a curve; those of single methods are in `MetricPoint.raw`."""


def logs(
    job: MaybeJob = None,
    tail: Annotated[
        int | None,
        typer.Option("-n", "--tail", metavar="N", min=0, help="Print only the last N lines."),
    ] = None,
    follow: Follow = False,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """Print a job's log."""
    _not_both(follow, as_json)
    client = open_client(profile)
    target = newest(client, job)
    if follow:
        _follow_logs(target, tail)
        return
    lines = target.logs(tail=tail)
    if as_json:
        emit({"job_id": target.id, "lines": redact(lines)})
    else:
        _print_lines(lines)


def _follow_logs(job: FineTuneJob, tail: int | None) -> None:
    session = job.session
    interval_s = session.backend_for(job.snapshot).capabilities.poll_s
    seen = job.logs()
    _print_lines(seen if tail is None else seen[max(0, len(seen) - tail) :])
    patience = Patience(session.clock)
    while True:
        ended = refreshed(session, [job])[0][0].is_final
        try:
            lines = job.logs()
            patience.read()
        except BackendError as error:
            if not patience.bears(error):
                raise
            lines, ended = seen, False  # read again, also where the job has ended
        fresh = lines_after(seen, lines)
        _print_lines(fresh)
        seen = lines if fresh else seen
        if ended:
            return
        try:
            session.clock.sleep(interval_s)
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None


def lines_after(seen: Sequence[str], lines: Sequence[str]) -> Sequence[str]:
    """Return the lines that follow `seen`.

    A provider may keep only the end of a log: then the lines that both have are found, the longest
    run of them first. A log that shares nothing with `seen` started over, and is returned whole.
    """
    both = min(len(seen), len(lines))
    if lines[:both] == seen[:both]:  # it grew, or a poll saw less of it
        return lines[both:]
    for shared in range(both, 0, -1):
        if seen[-shared] == lines[0] and seen[-shared:] == lines[:shared]:
            return lines[shared:]
    return lines


def _print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        sys.stdout.write(clean_line(redact(line)).rstrip() + "\n")
    sys.stdout.flush()


def _not_both(follow: bool, as_json: bool) -> None:
    if follow and as_json:
        raise UsageError(
            "--follow prints line by line, and --json prints one document",
            where="the command line",
            hint="leave one out; `ftsdk wait --json` waits for the end",
        )


def events(
    job: MaybeJob = None,
    after: Annotated[
        int, typer.Option(metavar="SEQ", min=0, help="Only events after this sequence number.")
    ] = 0,
    kind: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND", help="Only events of this kind; may be repeated."),
    ] = None,
    follow: Follow = False,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """Print a job's events, oldest first."""
    _not_both(follow, as_json)
    client = open_client(profile)
    target = newest(client, job)
    if follow:
        try:
            for event in target.stream():
                if event.seq > after and _matches(event, kind):
                    _print_event(event)
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        return
    found = [event for event in target.events(after=after) if _matches(event, kind)]
    if as_json:
        emit({"job_id": target.id, "events": redact([e.model_dump(mode="json") for e in found])})
        return
    for event in found:
        _print_event(event)


def _matches(event: Event, kinds: Sequence[str] | None) -> bool:
    return not kinds or event.kind in kinds


def _print_event(event: Event) -> None:
    style = {"error": "red", "warning": "yellow", "status": "cyan"}.get(event.kind, "dim")
    say(
        (f"{event.time.astimezone():%H:%M:%S}  ", "dim"), (f"{event.kind:<10}  ", style),
        clean(redact(event.message)),
    )  # fmt: skip
    sys.stdout.flush()


def metrics(
    job: MaybeJob = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print all points as CSV.")] = False,
    every: Annotated[
        bool, typer.Option("--all", help="Show every row of the table instead of 20.")
    ] = False,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """Show a job's training curve.

    A plot and a table; --csv and --json print every point.
    """
    if as_csv and as_json:
        raise UsageError(
            "--csv and --json exclude each other", where="the command line", hint="choose one"
        )
    client = open_client(profile)
    target = newest(client, job)
    points = target.metrics()
    if as_json:
        emit({"job_id": target.id, "metrics": points})
    elif as_csv:
        _print_csv(points)
    elif not points:
        say("No points yet.", ("   ftsdk watch ", "dim"), target.id)
    else:
        _print_curve(points)
        _print_table(points, limit=None if every else 20)


def _print_csv(points: Sequence[MetricPoint]) -> None:
    own = [name for name, _ in _COLUMNS if name in MetricPoint.model_fields]
    found = {k for point in points for k, value in point.raw.items() if _is_number(value)}
    others = sorted(found - set(MetricPoint.model_fields))
    names = ["step", *own, "time", *others]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    for point in points:
        row = {**point.raw, **point.model_dump(mode="json", exclude={"raw"})}
        writer.writerow(["" if row.get(name) is None else row[name] for name in names])


def _value(point: MetricPoint, name: str) -> float | None:
    """A metric of one point, or None."""
    found = getattr(point, name) if name in MetricPoint.model_fields else point.raw.get(name)
    return found if _is_number(found) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _print_curve(points: Sequence[MetricPoint]) -> None:
    screen = console()
    width = max(16, min(72, screen.width - 12)) if screen.is_terminal else 64
    train = [(float(p.step), p.train_loss) for p in points if p.train_loss is not None]
    check = [(float(p.step), p.validation_loss) for p in points if p.validation_loss is not None]
    lines = draw(train, check, width=width)
    for line in lines:
        say(line)
    if lines:
        legend: list[Any] = [("         ⠤ train", "cyan")]
        if check:
            legend.append(("   ● validation", "yellow"))
        say(*legend)
        say()


def _print_table(points: Sequence[MetricPoint], limit: int | None) -> None:
    shown = list(points)
    if limit is not None and len(shown) > limit:
        picks = {round(i * (len(shown) - 1) / (limit - 1)) for i in range(limit)}
        picks |= {i for i, p in enumerate(shown) if p.validation_loss is not None and limit > 10}
        shown = [point for i, point in enumerate(shown) if i in picks]
    used = [(n, label) for n, label in _COLUMNS if any(_value(p, n) is not None for p in shown)]
    rows: list[list[Any]] = [[("step", "dim"), *((label, "dim") for _, label in used)]]
    rows += [[str(p.step), *(_cell(n, _value(p, n)) for n, _ in used)] for p in shown]
    columns(rows, right=range(len(used) + 1))
    if len(shown) < len(points):
        say((f"  {len(shown)} of {len(points)} points; --all, --csv and --json have all", "dim"))


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return ""
    if name in ("train_loss", "validation_loss", "train_accuracy", "validation_accuracy"):
        return f"{value:.4f}"
    if name == "tokens_per_s":
        return count(value)
    return f"{value:.2f}" if name == "epoch" else number(float(f"{value:.3g}"))


def checkpoints(job: MaybeJob = None, profile: Profile = None, as_json: Json = False) -> None:
    """List a job's checkpoints."""
    client = open_client(profile)
    target = newest(client, job)
    found = target.checkpoints()
    if as_json:
        emit({"job_id": target.id, "checkpoints": found})
        return
    if not found:
        say("No checkpoints.")
        return
    rows = []
    for checkpoint in found:
        place = checkpoint.path or checkpoint.model_id or ""
        loss = (
            checkpoint.validation_loss
            if checkpoint.validation_loss is not None
            else checkpoint.train_loss
        )
        bytes_ = checkpoint.raw.get("size_bytes")
        made = f"{checkpoint.created_at.astimezone():%H:%M:%S}" if checkpoint.created_at else ""
        rows.append([
            str(checkpoint.step), "" if loss is None else f"{loss:.3f}",
            size(bytes_) if isinstance(bytes_, int | float) else "", (made, "dim"),
            clean(checkpoint.id), (clean(place), "dim"),
        ])  # fmt: skip
    columns(rows, head=("step", "loss", "size", "saved", "id", "place"))
