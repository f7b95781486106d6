"""Follow jobs until they end: one loop polls any number of them, at each provider's own pace."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from ftsdk.errors import BackendError, WaitTimeout
from ftsdk.jobs.actions import refresh, refresh_many
from ftsdk.types.events import Event
from ftsdk.types.job import JobSnapshot
from ftsdk.types.status import JobStatus
from ftsdk.util.clock import Clock

if TYPE_CHECKING:
    from ftsdk.client import Client
    from ftsdk.jobs.spending_guard import Notice

__all__ = ["follow", "poll_once"]

_PATIENCE_S = 300.0
"""How long a provider may be unreachable before waiting gives up; a job itself does not mind."""


def poll_once(client: Client, snapshots: Sequence[JobSnapshot]) -> list[JobSnapshot]:
    """Ask for all of these jobs, with one list call per provider where the backend has one.

    Raises what the backend raises when it could not ask.
    """
    return refresh_many(client, snapshots)


def follow(
    client: Client,
    snapshot: JobSnapshot,
    *,
    timeout: float | None = None,
    events: bool = True,
    on_snapshot: Callable[[JobSnapshot], None] | None = None,
) -> Iterator[Event]:
    """Yield the job's events until it ends (or needs a decision, or is paused).

    Raises `WaitTimeout` after `timeout` seconds; the job goes on. A provider that cannot be
    reached is asked again for five minutes, then its error is raised; the job goes on then, too.
    """
    from ftsdk.jobs.spending_guard import Attendant

    backend, clock = client._backend_for(snapshot), client.clock
    able, started, seen = backend.capabilities, clock.monotonic(), 0
    lost_since: float | None = None
    attendant = Attendant(client, [snapshot.id])
    while True:
        try:
            snapshot = refresh(client, snapshot)
            fresh = (
                backend.events(snapshot.first_provider_id, after=seen)
                if events and able.has_events and snapshot.first_provider_id
                else []
            )
            lost_since = None
        except BackendError as error:
            lost_since = clock.monotonic() if lost_since is None else lost_since
            if not error.retryable or clock.monotonic() - lost_since > _PATIENCE_S:
                error.job_id = error.job_id or snapshot.id
                raise
            fresh = []
        if on_snapshot is not None:
            on_snapshot(snapshot)
        for event in fresh:
            seen = max(seen, event.seq)
            yield event
        for notice in attendant.look():
            yield _warning(notice, seen, clock)
        if _stands_still(snapshot):
            return
        _pause(clock, able.poll_s, started, timeout, snapshot)


def _warning(notice: Notice, seq: int, clock: Clock) -> Event:
    """A word about money, among the job's events; it takes no number of its own."""
    now = clock.now()
    identity = f"{notice.kind}-{notice.lease_id or notice.job_id}-{now:%H%M%S}"
    return Event(id=identity, seq=seq, time=now, kind="warning", message=notice.text)


def _stands_still(snapshot: JobSnapshot) -> bool:
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
