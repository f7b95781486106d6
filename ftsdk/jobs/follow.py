"""Follow a job until it ends, at its provider's own pace."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from ftsdk.errors import BackendError, NeedsDecision, WaitTimeout
from ftsdk.jobs.actions import refresh, refresh_many
from ftsdk.session import Session
from ftsdk.types.events import Event
from ftsdk.types.job import JobSnapshot
from ftsdk.types.status import JobStatus
from ftsdk.util.clock import Clock

_PATIENCE_S = 300.0
"""How long a provider may be unreachable before waiting gives up. The job itself goes on."""


def poll_once(session: Session, snapshots: Sequence[JobSnapshot]) -> list[JobSnapshot]:
    """All of these jobs as they are now, with one list call per provider where it has one.

    Raises what the backend raises when it could not be asked.
    """
    return refresh_many(session, snapshots)


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

    `on_snapshot` gets each new snapshot. `between_polls` is called after each poll with the number
    of the newest event; its events are yielded too. Raises `WaitTimeout` after `timeout` seconds;
    the job goes on. An unreachable provider is asked again for five minutes, then its error is
    raised; the job goes on then, too.
    """
    backend, clock = session.backend_for(snapshot), session.clock
    able, started, seen = backend.capabilities, clock.monotonic(), 0
    lost_since: float | None = None
    while True:
        fresh: list[Event] = []
        try:
            snapshot = refresh(session, snapshot)
            if events and able.has_events and snapshot.first_provider_id:
                fresh = backend.events(snapshot.first_provider_id, after=seen)
            lost_since = None
        except BackendError as error:
            lost_since = clock.monotonic() if lost_since is None else lost_since
            if not error.retryable or clock.monotonic() - lost_since > _PATIENCE_S:
                error.job_id = error.job_id or snapshot.id
                raise
        if on_snapshot is not None:
            on_snapshot(snapshot)
        for event in fresh:
            seen = max(seen, event.seq)
            yield event
        if between_polls is not None:
            yield from between_polls(seen)
        if _is_at_rest(snapshot):
            return
        _pause(clock, able.poll_s, started, timeout, snapshot)


def why_at_rest(snapshot: JobSnapshot) -> NeedsDecision:
    """The error for a job that is paused or was never sent: how to continue it, or end it."""
    if snapshot.status is JobStatus.PAUSED:
        return NeedsDecision(
            f"The job cannot go on by itself: {snapshot.message or snapshot.raw_status}",
            where=f"provider {snapshot.provider}",
            hint=f"ftsdk resume {snapshot.id} continues it; ftsdk cancel {snapshot.id} ends it",
            job_id=snapshot.id,
        )
    return NeedsDecision(
        "The job was journaled and never sent",
        where=f"provider {snapshot.provider}",
        hint=f"ftsdk resolve {snapshot.id} --send-again, or --give-up",
        job_id=snapshot.id,
        submitted="no",
    )


def _is_at_rest(snapshot: JobSnapshot) -> bool:
    return snapshot.status.is_final or snapshot.status in (JobStatus.PAUSED, JobStatus.CREATED)


def _pause(
    clock: Clock, poll_s: float, started: float, timeout: float | None, snapshot: JobSnapshot
) -> None:
    if timeout is None:
        clock.sleep(poll_s)
        return
    left = timeout - (clock.monotonic() - started)
    if left <= 0:
        raise WaitTimeout(
            f"The job is still {snapshot.status} after {timeout:g} s; it goes on",
            where=f"provider {snapshot.provider}",
            hint=f"ftsdk watch {snapshot.id}, or job.wait() again",
            job_id=snapshot.id,
        )
    clock.sleep(min(poll_s, left))
