"""Follow a job until it ends, polling at the backend's interval."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from ftsdk.errors import (
    BackendError,
    ConfigError,
    FtsdkError,
    NeedsDecision,
    StoreError,
    WaitTimeout,
)
from ftsdk.jobs.actions import refresh, refresh_many
from ftsdk.session import Session
from ftsdk.types.events import Event
from ftsdk.types.job import JobSnapshot
from ftsdk.types.status import JobStatus
from ftsdk.util.clock import Clock
from ftsdk.util.patience import Patience

LOCAL_TROUBLE = (StoreError, ConfigError)
"""Errors of this machine, such as a full disk or a broken `prices.toml`, which do not end waiting."""


def poll_once(
    session: Session,
    snapshots: Sequence[JobSnapshot],
    errors: dict[str, FtsdkError] | None = None,
) -> list[JobSnapshot]:
    """Return these jobs as they are now, with one list call per provider where that is possible.

    The errors of single jobs are put into `errors` by job id; without it, the first is raised at the
    end. Raises a `BackendError` when a provider cannot be reached.
    """
    return refresh_many(session, snapshots, errors)


def follow(
    session: Session,
    snapshot: JobSnapshot,
    *,
    timeout: float | None = None,
    events: bool = True,
    on_snapshot: Callable[[JobSnapshot], None] | None = None,
    between_polls: Callable[[int], Iterable[Event]] | None = None,
) -> Iterator[Event]:
    """Yield the job's events until it ends, needs a decision, or is paused.

    `on_snapshot` is called with each new snapshot. `between_polls` is called after each poll with
    the `seq` of the newest event; its events are yielded too. Raises `WaitTimeout` after `timeout`
    seconds. An unreachable provider is retried for five minutes, and one that does not know the job
    any more for two, then its error is raised. The job itself continues. Trouble on this machine, such
    as a full disk or a price file that is broken meanwhile, is logged and gives a warning event;
    waiting goes on.
    """
    backend, clock = session.backend_for(snapshot), session.clock
    capabilities, started, seen = backend.capabilities, clock.monotonic(), 0
    patience, was_read = Patience(clock), False
    trouble: str | None = None
    while True:
        fresh: list[Event] = []
        try:
            snapshot = refresh(session, snapshot)
            if events and capabilities.has_events and snapshot.first_provider_id:
                fresh = backend.events(snapshot.first_provider_id, after=seen)
            patience.read()
            was_read, trouble = True, None
        except LOCAL_TROUBLE as error:
            if not was_read:
                raise
            fresh = [] if error.what == trouble else [_local_trouble(session, error, seen)]
            trouble = error.what
        except BackendError as error:
            if not patience.bears(error):
                error.job_id = error.job_id or snapshot.id
                raise
        if on_snapshot is not None:
            on_snapshot(snapshot)
        for event in fresh:
            seen = max(seen, event.seq)
            yield event
        if between_polls is not None:
            yield from between_polls(seen)
        if has_stopped(session, snapshot):
            return
        _pause(clock, capabilities.poll_s, started, timeout, snapshot)


def _local_trouble(session: Session, error: FtsdkError, seq: int) -> Event:
    """Return the warning that the job could not be read because of something on this machine."""
    text = f"the job cannot be read now, and waiting goes on: {error.what}"
    session.warn_once(f"{text} ({error.where})" if error.where else text)
    now = session.clock.now()
    return Event(id=f"local-{now:%H%M%S}", seq=seq, time=now, kind="warning", message=text)


def decision_error(snapshot: JobSnapshot) -> NeedsDecision:
    """Return the error for a job that is paused or was never sent; its hint says how to go on."""
    if snapshot.status is JobStatus.PAUSED:
        return NeedsDecision(
            f"The job cannot continue by itself: {snapshot.message or snapshot.raw_status}",
            where=f"provider {snapshot.provider}",
            hint=f"ftsdk resume {snapshot.id}, or ftsdk cancel {snapshot.id}",
            job_id=snapshot.id,
        )
    return NeedsDecision(
        "The job was journaled but never sent",
        where=f"provider {snapshot.provider}",
        hint=f"ftsdk resolve {snapshot.id} --send-again, or --give-up",
        job_id=snapshot.id,
        submitted="no",
    )


def has_stopped(session: Session, snapshot: JobSnapshot) -> bool:
    """Return whether a job does not go on by itself: it has ended, is paused, or nobody sends it."""
    if snapshot.status is JobStatus.CREATED:
        return not session.journal.is_being_sent(snapshot.id)
    return snapshot.status.is_final or snapshot.status is JobStatus.PAUSED


def _pause(
    clock: Clock, poll_s: float, started: float, timeout: float | None, snapshot: JobSnapshot
) -> None:
    if timeout is None:
        clock.sleep(poll_s)
        return
    left = timeout - (clock.monotonic() - started)
    if left <= 0:
        raise WaitTimeout(
            f"The job is still {snapshot.status} after {timeout:g} s; it continues",
            where=f"provider {snapshot.provider}",
            hint=f"ftsdk watch {snapshot.id}, or job.wait() again",
            job_id=snapshot.id,
        )
    clock.sleep(min(poll_s, left))
