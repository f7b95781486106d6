"""Follow jobs until they end: the loop, the live view on a terminal, and the plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import typer

from ftsdk.cli.context import refreshed
from ftsdk.cli.errors import INTERRUPTED
from ftsdk.cli.view.formatting import clean, cost_text, duration, status_style, status_text
from ftsdk.cli.view.jobs import job_document, short_ids
from ftsdk.cli.view.next_steps import next_steps, steps
from ftsdk.cli.view.output import command, console, emit, note, say
from ftsdk.cli.view.progress_line import Row, live_line, plain_line
from ftsdk.client import Client
from ftsdk.errors import BackendError, FtsdkError, JobCancelled, JobError, JobFailed, WaitTimeout
from ftsdk.jobs.follow import LOCAL_TROUBLE, decision_error, has_stopped
from ftsdk.jobs.job import FineTuneJob
from ftsdk.jobs.spending_guard import SpendingGuard
from ftsdk.types.status import JobStatus
from ftsdk.util.patience import Patience

_PLAIN_EVERY_S = 10.0
_CURVES_PER_ROUND = 3
_MANY_JOBS = 100
"""A curve costs up to four requests. In each round at most three are read, and only one where there
are many jobs, so that watching a thousand stays within a provider's rate limits."""


def follow_jobs(
    client: Client,
    jobs: Sequence[FineTuneJob],
    *,
    timeout: float | None = None,
    quiet: bool = False,
    as_json: bool = False,
) -> None:
    """Show the jobs until each has ended, is paused or was never sent, then print how they ended.

    A job whose provider cannot be reached, or does not know it, for minutes is not followed any
    longer; the others are. Raises `JobFailed`, `JobCancelled`, `NeedsDecision`, `WaitTimeout`, or the
    provider's error at the end; exits with 130 on Ctrl-C and prints how to come back.
    """
    short = short_ids(client.journal) if sys.stdout.isatty() else {}
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
    """The loop: in each round, one request per provider."""

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
        self.interval_s = min(
            client.session.backend_for(job.snapshot).capabilities.poll_s for job in jobs
        )
        self.left_alone: dict[str, FtsdkError] = {}
        """The jobs that are not followed any longer, and why."""
        self._patience = Patience(client.clock)
        self._was_read: set[str] = set()
        self._round = 0
        self._read_in_round: dict[str, int] = {}
        self._complete: set[str] = set()

    def run(self, show: Callable[[list[Row]], None]) -> None:
        """Refresh and show the jobs, and wait, until none is active."""
        clock = self.client.clock
        guard = SpendingGuard(self.client.session, [job.id for job in self.jobs])
        started = clock.monotonic()
        while True:
            show(self.refresh())
            for notice in guard.check():
                note(("! ", "red"), (clean(notice.text), "bold"))
            active = self.active
            if not active:
                return
            left = None if self.timeout is None else self.timeout - (clock.monotonic() - started)
            if left is not None and left <= 0:
                raise _timed_out(active, self.timeout or 0.0)
            clock.sleep(self.interval_s if left is None else min(self.interval_s, left))

    @property
    def active(self) -> list[FineTuneJob]:
        """The jobs that are still followed."""
        session = self.client.session
        followed = (job for job in self.jobs if job.id not in self.left_alone)
        return [job for job in followed if not has_stopped(session, job.snapshot)]

    def refresh(self) -> list[Row]:
        """Read all jobs that are followed and return a row for each job."""
        followed = [job for job in self.jobs if job.id not in self.left_alone]
        read, failed = refreshed(self.client.session, followed)
        now = {job.id: job for job in read}
        self.jobs = [now.get(job.id, job) for job in self.jobs]
        to_read = self._jobs_to_read() if self.with_losses else frozenset()
        rows = []
        for job in self.jobs:
            trouble = self._trouble(job, failed.get(job.id))
            if job.id in to_read and not trouble:
                trouble = self._curve(job)
            short = self.short.get(job.id, job.id)
            rows.append(Row(short, job.snapshot, self.losses.get(job.id, ()), trouble))
        return rows

    def _trouble(self, job: FineTuneJob, error: FtsdkError | None) -> str:
        if job.id in self.left_alone:
            return f"not followed: {self.left_alone[job.id].what}"
        if error is None:
            self._patience.read(job.id)
            self._was_read.add(job.id)
            return ""
        if isinstance(error, LOCAL_TROUBLE) and job.id in self._was_read:
            return f"cannot be read on this machine now: {error.what}"
        if self._patience.bears(error, job.id):
            return f"not reachable now: {error.what}"
        error.job_id = error.job_id or job.id
        self.left_alone[job.id] = error
        return f"not followed: {error.what}"

    def _jobs_to_read(self) -> frozenset[str]:
        """The jobs whose curve is read in this round: those that have ended, then the longest unread."""
        self._round += 1
        due = [job for job in self.jobs if job.id not in self._complete and self._has_curve(job)]
        due.sort(key=lambda job: (not job.is_final, self._read_in_round.get(job.id, 0)))
        chosen = due[: 1 if len(self.jobs) > _MANY_JOBS else _CURVES_PER_ROUND]
        self._read_in_round |= {job.id: self._round for job in chosen}
        return frozenset(job.id for job in chosen)

    def _has_curve(self, job: FineTuneJob) -> bool:
        able = self.client.session.backend_for(job.snapshot).capabilities
        return able.has_metrics and job.provider_job_id is not None

    def _curve(self, job: FineTuneJob) -> str:
        try:
            points = job.metrics()
        except (BackendError, *LOCAL_TROUBLE) as error:
            return f"no metrics now: {error.what}"
        if job.is_final:
            self._complete.add(job.id)  # it no longer changes
        self.losses[job.id] = [p.train_loss for p in points if p.train_loss is not None]
        return ""


def _timed_out(jobs: Sequence[FineTuneJob], timeout: float) -> WaitTimeout:
    first = jobs[0]
    others = f" (and {len(jobs) - 1} more)" if len(jobs) > 1 else ""
    return WaitTimeout(
        f"The job is still {status_text(first.status)} after {timeout:g} s{others}; it goes on",
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
    """Print a line for each job when its status changes, and at least every ten seconds."""
    printed: dict[str, tuple[str, float]] = {}
    clock = follower.client.clock

    def show(rows: list[Row]) -> None:
        for row in rows:
            job_id, status = row.snapshot.id, f"{row.snapshot.status}{row.trouble}"
            before, since = printed.get(job_id, ("", 0.0))
            if status == before and clock.monotonic() - since < _PLAIN_EVERY_S:
                continue
            printed[job_id] = (status, clock.monotonic())
            say(plain_line(row))
        sys.stdout.flush()

    follower.run(show)


def _leave(follower: _Follower) -> None:
    active = follower.active or follower.jobs
    names = [follower.short.get(job.id, job.id) for job in active]
    one = len(names) == 1
    note(
        "The job goes on without you.   " if one else "The jobs go on without you.   ",
        command(f"ftsdk watch {' '.join(names)}"),
        (" · ", "dim"),
        command(f"ftsdk cancel {names[0] if one else 'ID'}"),
    )


def print_ending(job: FineTuneJob, short: str, losses: Sequence[float]) -> None:
    """Print how a job ended and what can be done next."""
    snapshot = job.snapshot
    parts = [f"{losses[0]:.2f} → {losses[-1]:.2f}"] if losses else []
    if snapshot.finished_at is not None:
        begun = snapshot.submitted_at or snapshot.created_at
        parts.append(duration((snapshot.finished_at - begun).total_seconds()))
    parts.append(cost_text(snapshot.cost))
    say(
        (short, "bold"), "  ", (status_text(job.status), status_style(job.status)), "   ",
        f"{'loss ' if losses else ''}{' · '.join(parts)}",
    )  # fmt: skip
    if job.status is JobStatus.SUCCEEDED:
        say(("next  ", "dim"), *steps([*next_steps(job)[:1], "show"], short))


def _finish(follower: _Follower, *, quiet: bool, as_json: bool) -> None:
    errors: list[FtsdkError] = []
    for job in follower.jobs:
        ended_with = follower.left_alone.get(job.id) or _error_of(job)
        if ended_with is not None:
            errors.append(ended_with)
    documents = [job_document(job.snapshot) for job in follower.jobs]
    if as_json and not errors:
        emit(documents[0] if len(documents) == 1 else {"jobs": documents})
    if not as_json and not quiet:
        for job in follower.jobs:
            if job.status is JobStatus.SUCCEEDED:
                print_ending(
                    job, follower.short.get(job.id, job.id), follower.losses.get(job.id, ())
                )
    if not errors:
        return
    if len(follower.jobs) == 1 or as_json:
        one = len(documents) == 1
        errors[0].beside = (  # type: ignore[attr-defined]  # printed beside the error
            {"job": documents[0]} if one else {"jobs": documents}
        )
        raise errors[0]
    for error in errors:
        note(("✗ ", "red"), clean(error.what), ("  " + (error.job_id or ""), "dim"))
        if error.job_id in follower.left_alone:
            note(("  hint  ", "dim"), clean(error.hint))
    raise typer.Exit(max(error.exit_code for error in errors))


def _error_of(job: FineTuneJob) -> JobError | None:
    if job.status is JobStatus.SUCCEEDED:
        return None
    if job.status in (JobStatus.FAILED, JobStatus.CANCELLED):
        try:
            job.result()
        except (JobFailed, JobCancelled) as error:
            return error
    return decision_error(job.snapshot)
