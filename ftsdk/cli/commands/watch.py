"""`watch` and `wait`: follow jobs to their end; leaving does not end them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ftsdk.cli.context import find, job_document, newest, open_client, refreshed, short_ids
from ftsdk.cli.errors import INTERRUPTED
from ftsdk.cli.options import Json, MaybeJobs, Profile
from ftsdk.cli.view.formatting import clean, cost_words, duration, status_style, status_words
from ftsdk.cli.view.next_steps import next_steps, steps
from ftsdk.cli.view.output import command, console, emit, note, say
from ftsdk.cli.view.progress_line import Row, live_line, plain_line
from ftsdk.errors import BackendError, FtsdkError, JobCancelled, JobError, JobFailed, WaitTimeout

if TYPE_CHECKING:
    from ftsdk.client import Client
    from ftsdk.jobs.job import FineTuneJob

__all__ = ["ending", "follow_jobs", "wait", "watch"]

_PATIENCE_S = 300.0
"""How long a provider may be out of reach before watching gives up; the jobs do not mind."""
_PLAIN_EVERY_S = 10.0
_CURVES_A_ROUND = 3
_MANY = 100
"""A curve costs up to four requests. More jobs than these take turns, and of many one at a time, so
that watching a thousand stays within a provider's pace."""

Timeout = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", min=0, help="Leave after so long; the job goes on."),
]


def watch(
    jobs: MaybeJobs = None, profile: Profile = None, timeout: Timeout = None, as_json: Json = False
) -> None:
    """Follow one or several jobs until they end: bar, loss, tokens per second, time left.

    Ctrl-C leaves; the jobs go on. Exit code 5 when one failed or was cancelled.
    """
    client = open_client(profile)
    follow_jobs(client, _chosen(client, jobs), timeout=timeout, quiet=as_json, as_json=as_json)


def wait(
    jobs: MaybeJobs = None, profile: Profile = None, timeout: Timeout = None, as_json: Json = False
) -> None:
    """Wait in silence until the jobs end, for scripts. Exit code 5 when one failed or was cancelled."""
    client = open_client(profile)
    follow_jobs(client, _chosen(client, jobs), timeout=timeout, quiet=True, as_json=as_json)


def _chosen(client: Client, words: Sequence[str] | None) -> list[FineTuneJob]:
    if words:
        return list({job.id: job for job in (find(client, word) for word in words)}.values())
    running = [job for job in client.list_jobs() if not job.is_final]
    return running or [newest(client, None)]


def follow_jobs(
    client: Client,
    jobs: Sequence[FineTuneJob],
    *,
    timeout: float | None = None,
    quiet: bool = False,
    as_json: bool = False,
) -> None:
    """Show the jobs until all stand still, then say how they ended.

    Raises `JobFailed`, `JobCancelled`, `NeedsDecision`, `WaitTimeout`, or the provider's error when
    it cannot be reached for minutes; exits with 130 on Ctrl-C and says how to come back.
    """
    short = short_ids(client) if sys.stdout.isatty() else {}
    follower = _Follower(client, jobs, short, timeout, with_losses=not quiet)
    try:
        if quiet:
            follower.run(lambda _: None)
        elif sys.stdout.isatty():
            _live(follower)
        else:
            _plain(follower)
    except KeyboardInterrupt:
        if not as_json:
            _leave(follower)
            raise typer.Exit(INTERRUPTED) from None
        raise
    _finish(follower, quiet=quiet, as_json=as_json)


class _Follower:
    """The loop: one question per provider and round, at the pace of the most patient need."""

    def __init__(
        self,
        client: Client,
        jobs: Sequence[FineTuneJob],
        short: dict[str, str],
        timeout: float | None,
        *,
        with_losses: bool,
    ) -> None:
        self.client, self.jobs, self.timeout = client, list(jobs), timeout
        self.short = short
        self.losses: dict[str, list[float]] = {}
        self.with_losses = with_losses
        self.pace = min(client._backend_for(job.snapshot).capabilities.poll_s for job in jobs)
        self._lost: dict[str, float] = {}
        self._round = 0
        self._asked: dict[str, int] = {}
        self._complete: set[str] = set()

    def run(self, show: Callable[[list[Row]], None]) -> None:
        """Ask, show, pause, until every job stands still."""
        from ftsdk.jobs.spending_guard import Attendant

        clock = self.client.clock
        attendant = Attendant(self.client, [job.id for job in self.jobs])
        started = clock.monotonic()
        while True:
            show(self.ask())
            for notice in attendant.look():
                note(("! ", "red"), (clean(notice.text), "bold"))
            going = [job for job in self.jobs if not _stands_still(job)]
            if not going:
                return
            left = None if self.timeout is None else self.timeout - (clock.monotonic() - started)
            if left is not None and left <= 0:
                raise _too_long(going, self.timeout or 0.0)
            clock.sleep(self.pace if left is None else min(self.pace, left))

    def ask(self) -> list[Row]:
        """Every job as it stands now."""
        self.jobs, failed = refreshed(self.client, self.jobs)
        turn = self._turn() if self.with_losses else frozenset()
        rows = []
        for job in self.jobs:
            trouble = self._trouble(job, failed.get(job.id))
            if job.id in turn and not trouble:
                trouble = self._curve(job)
            short = self.short.get(job.id, job.id)
            rows.append(Row(short, job.snapshot, self.losses.get(job.id, ()), trouble))
        return rows

    def _trouble(self, job: FineTuneJob, error: FtsdkError | None) -> str:
        if error is None:
            self._lost.pop(job.id, None)
            return ""
        since = self._lost.setdefault(job.id, self.client.clock.monotonic())
        patient = self.client.clock.monotonic() - since <= _PATIENCE_S
        if not isinstance(error, BackendError) or not error.retryable or not patient:
            error.job_id = error.job_id or job.id
            raise error
        return f"cannot ask just now: {error.what}"

    def _turn(self) -> frozenset[str]:
        """Whose curve is asked for in this round: first what has just ended, then the oldest."""
        self._round += 1
        due = [job for job in self.jobs if job.id not in self._complete and self._has_curve(job)]
        due.sort(key=lambda job: (not job.is_final, self._asked.get(job.id, 0)))
        turn = due[: 1 if len(self.jobs) > _MANY else _CURVES_A_ROUND]
        self._asked |= {job.id: self._round for job in turn}
        return frozenset(job.id for job in turn)

    def _has_curve(self, job: FineTuneJob) -> bool:
        able = self.client._backend_for(job.snapshot).capabilities
        return able.has_metrics and job.provider_job_id is not None

    def _curve(self, job: FineTuneJob) -> str:
        try:
            points = job.metrics()
        except BackendError as error:
            return f"no curve just now: {error.what}"
        if job.is_final:
            self._complete.add(job.id)  # it will not change any more
        self.losses[job.id] = [p.train_loss for p in points if p.train_loss is not None]
        return ""


def _stands_still(job: FineTuneJob) -> bool:
    from ftsdk.types.status import JobStatus

    return job.is_final or job.status in (JobStatus.PAUSED, JobStatus.CREATED)


def _too_long(going: Sequence[FineTuneJob], timeout: float) -> WaitTimeout:
    first = going[0]
    others = f" (and {len(going) - 1} more)" if len(going) > 1 else ""
    return WaitTimeout(
        f"The job is still {status_words(first.status)} after {timeout:g} s{others}; it goes on",
        where=f"provider {first.provider}",
        hint=f"ftsdk watch {first.id}",
        job_id=first.id,
    )


def _live(follower: _Follower) -> None:
    from rich.console import Group
    from rich.live import Live

    screen = console()
    with Live(console=screen, refresh_per_second=8, transient=False) as live:

        def show(rows: list[Row]) -> None:
            widest = max(len(row.short) for row in rows)
            lines = [live_line(row, screen.width - 1, id_width=widest) for row in rows]
            live.update(Group(*lines), refresh=True)

        follower.run(show)


def _plain(follower: _Follower) -> None:
    """A line per job when its status changes, else every ten seconds."""
    told: dict[str, tuple[str, float]] = {}
    clock = follower.client.clock

    def show(rows: list[Row]) -> None:
        for row in rows:
            job_id, status = row.snapshot.id, f"{row.snapshot.status}{row.trouble}"
            before, since = told.get(job_id, ("", 0.0))
            if status == before and clock.monotonic() - since < _PLAIN_EVERY_S:
                continue
            told[job_id] = (status, clock.monotonic())
            say(plain_line(row))
        sys.stdout.flush()

    follower.run(show)


def _leave(follower: _Follower) -> None:
    going = [job for job in follower.jobs if not _stands_still(job)] or follower.jobs
    names = [follower.short.get(job.id, job.id) for job in going]
    one = len(names) == 1
    note(
        "The job goes on without you.   " if one else "The jobs go on without you.   ",
        command(f"ftsdk watch {' '.join(names)}"),
        (" · ", "dim"),
        command(f"ftsdk cancel {names[0] if one else 'ID'}"),
    )


def ending(job: FineTuneJob, short: str, losses: Sequence[float]) -> None:
    """Say how a job ended and what can be done next."""
    from ftsdk.types.status import JobStatus

    snapshot = job.snapshot
    parts = [f"{losses[0]:.2f} → {losses[-1]:.2f}"] if losses else []
    if snapshot.finished_at is not None:
        begun = snapshot.submitted_at or snapshot.created_at
        parts.append(duration((snapshot.finished_at - begun).total_seconds()))
    parts.append(cost_words(snapshot.cost))
    say(
        (short, "bold"), "  ", (status_words(job.status), status_style(job.status)), "   ",
        f"{'loss ' if losses else ''}{' · '.join(parts)}",
    )  # fmt: skip
    if job.status is JobStatus.SUCCEEDED:
        say(("next  ", "dim"), *steps([*next_steps(job)[:1], "show"], short))


def _finish(follower: _Follower, *, quiet: bool, as_json: bool) -> None:
    from ftsdk.types.status import JobStatus

    wrong = [error for job in follower.jobs if (error := _error_of(job)) is not None]
    documents = [job_document(job) for job in follower.jobs]
    if as_json and not wrong:
        emit(documents[0] if len(documents) == 1 else {"jobs": documents})
    if not as_json and not quiet:
        for job in follower.jobs:
            if job.status is JobStatus.SUCCEEDED:
                ending(job, follower.short.get(job.id, job.id), follower.losses.get(job.id, ()))
    if not wrong:
        return
    if len(follower.jobs) == 1 or as_json:
        one = len(documents) == 1
        wrong[0].beside = (  # type: ignore[attr-defined]  # printed beside the error
            {"job": documents[0]} if one else {"jobs": documents}
        )
        raise wrong[0]
    for error in wrong:
        note(("✗ ", "red"), clean(error.what), ("  " + (error.job_id or ""), "dim"))
    raise typer.Exit(max(error.exit_code for error in wrong))


def _error_of(job: FineTuneJob) -> JobError | None:
    from ftsdk.types.status import JobStatus

    if job.status is JobStatus.SUCCEEDED:
        return None
    if job.status in (JobStatus.FAILED, JobStatus.CANCELLED):
        try:
            job.result()
        except (JobFailed, JobCancelled) as error:
            return error
    return job._standing_still()
