"""What is done to a job that exists: asked for, stopped, continued, deleted, taken in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ftsdk.backends.base import Backend
from ftsdk.errors import JournalLocked, Unsupported, UsageError
from ftsdk.jobs.submitter import applied
from ftsdk.spending.budget import require_spending
from ftsdk.types.job import JobSnapshot, RemoteJob
from ftsdk.types.status import JobStatus
from ftsdk.util.ids import client_token, new_job_id, submission_tag

if TYPE_CHECKING:
    from ftsdk.client import Client

__all__ = ["adopt", "cancel", "delete", "pause", "refresh", "refresh_many", "resume"]

# --- asking ------------------------------------------------------------------------------------------


def refresh(client: Client, snapshot: JobSnapshot) -> JobSnapshot:
    """The newest of one job: see `refresh_many`."""
    return refresh_many(client, [snapshot])[0]


def refresh_many(client: Client, snapshots: Sequence[JobSnapshot]) -> list[JobSnapshot]:
    """The newest of each: asked where that can tell something new, else read from the journal."""
    now: dict[str, JobSnapshot] = {s.id: client.journal.get(s.id) for s in snapshots}
    by_backend: dict[Backend, list[JobSnapshot]] = {}
    for current in now.values():
        if current.status.is_final:
            continue
        if not current.status.is_remote:
            now[current.id] = _carry_on(client, current)
        elif current.provider_job_id is not None:
            by_backend.setdefault(client._backend_for(current), []).append(current)
    for backend, group in by_backend.items():
        known = {str(s.provider_job_id): s for s in group}
        for remote in backend.get_many(list(known)):
            asked = (remote.provider_job_id, *remote.earlier_ids)
            old = next(known[one] for one in asked if one in known)
            now[old.id] = _keep(client, old, _followed(client, old, remote))
    return [now[s.id] for s in snapshots]


def _followed(client: Client, old: JobSnapshot, remote: RemoteJob) -> dict[str, Any]:
    """What the answer changes; the id of a restarted job, unless another job here has it."""
    fields = applied(old, remote)
    if remote.provider_job_id != old.provider_job_id:
        other = client.journal.find_provider_job(old.provider, remote.provider_job_id)
        if other is not None and other.id != old.id:
            del fields["provider_job_id"], fields["earlier_ids"]
    return fields


def _carry_on(client: Client, snapshot: JobSnapshot) -> JobSnapshot:
    """Look once for a job in doubt; one that was never sent stays as it is."""
    submitter = client._submitter()
    current = submitter.carry_on(snapshot.id)
    if current.status is JobStatus.IN_DOUBT and submitter.is_past_horizon(current):
        raise submitter.needs_decision(current)
    return current


def _keep(client: Client, old: JobSnapshot, fields: dict[str, Any]) -> JobSnapshot:
    """Write what changed; a mere step forward needs no durable write, and a busy journal no error."""
    new = old.model_copy(update=fields)
    quiet = {"progress", "updated_at", "trained_tokens", "message"}
    if new.model_dump(exclude=quiet) == old.model_dump(exclude=quiet):
        return new
    try:
        return client.journal.change(old.id, now=client.clock.now(), why="refreshed", **fields)
    except JournalLocked:
        return new  # only a copy of what the provider knows; the next refresh writes it


# --- acting ------------------------------------------------------------------------------------------


def cancel(client: Client, snapshot: JobSnapshot) -> JobSnapshot:
    """Ask the job to stop. One that was never sent is cancelled at once; an ended one stays so."""
    current = client.journal.get(snapshot.id)
    if current.status is JobStatus.CREATED:
        return client.journal.change(
            current.id,
            now=client.clock.now(),
            why="cancelled before it was sent",
            only_from=frozenset({JobStatus.CREATED}),
            status=JobStatus.CANCELLED,
            message="cancelled before it was sent",
            finished_at=client.clock.now(),
        )
    if not current.status.is_remote:
        current = _carry_on(client, current)
    if current.status.is_final or current.provider_job_id is None:
        return current
    backend = client._backend_for(current)
    if not backend.capabilities.can_cancel:
        raise backend.cannot("cancel a job")
    backend.cancel(current.provider_job_id)
    return refresh(client, current)


def pause(client: Client, snapshot: JobSnapshot) -> JobSnapshot:
    """Ask the job to stop where it can go on; one that ended stays as it is."""
    current = refresh(client, snapshot)
    backend = client._backend_for(current)
    if not backend.capabilities.can_pause:
        raise backend.cannot("pause a job")
    if current.status.is_final or current.provider_job_id is None:
        return current
    backend.pause(current.provider_job_id)
    return refresh(client, current)


def delete(client: Client, snapshot: JobSnapshot) -> JobSnapshot:
    """Remove what an ended job left at its provider; the journal keeps the job."""
    current = refresh(client, snapshot)
    backend = client._backend_for(current)
    if not backend.capabilities.can_delete:
        raise backend.cannot("delete a result")
    if not current.status.is_final or current.provider_job_id is None:
        raise UsageError(
            f"The job is {current.status}; there is no result to delete",
            where=f"job {current.id}",
            hint=f"ftsdk cancel {current.id} ends it first",
        )
    backend.delete(current.provider_job_id)
    return current


def resume(client: Client, snapshot: JobSnapshot) -> JobSnapshot:
    """Let a paused, failed or cancelled job go on. Raises `BudgetError` where it may not spend."""
    current = refresh(client, snapshot)
    backend = client._backend_for(current)
    if not backend.capabilities.can_resume or current.provider_job_id is None:
        raise backend.cannot("resume a job")
    free = backend.capabilities.price == "free"
    require_spending("resuming a job", current.provider, free=free, env=client.env)
    if current.status not in (JobStatus.PAUSED, JobStatus.FAILED, JobStatus.CANCELLED):
        raise UsageError(
            f"The job is {current.status}; there is nothing to resume",
            where=f"job {current.id}",
            hint=f"ftsdk show {current.id}",
        )
    if current.status.is_final and not backend.capabilities.resumes_ended:
        raise Unsupported(
            f"{current.provider} resumes a paused job alone; this one is {current.status}",
            where=f"job {current.id}",
            hint="create it again; ftsdk create takes the same data and settings",
        )
    if current.status.is_final and not free:
        from ftsdk.spending.reserve import hold_again

        hold_again(client, current.id)
    remote = backend.resume(current.provider_job_id)
    fields = {**applied(current, remote), "finished_at": None}
    client.journal.change(
        current.id,
        now=client.clock.now(),
        why="resumed",
        **{**fields, "status": JobStatus.QUEUED},
    )
    return client.journal.change(current.id, now=client.clock.now(), why="resumed", **fields)


# --- taking in ---------------------------------------------------------------------------------------


def adopt(client: Client, provider: str, provider_job_id: str) -> JobSnapshot:
    """Take a job that was made elsewhere into the journal; the same job is taken once.

    Raises `NotFound` when the provider does not know it.
    """
    from ftsdk.spending.reserve import taken_in

    known = client.journal.find_provider_job(provider, provider_job_id)
    if known is not None:
        return known
    remote = client.backend(provider).get(provider_job_id)
    known = client.journal.find_provider_job(provider, remote.provider_job_id)
    if known is not None:
        return known  # an earlier id of a job that was restarted
    ours = client.journal.find_tag(remote.tag) if remote.tag else None
    if ours is not None and not ours.status.is_remote:
        # It is the one whose answer was lost: it carries our mark.
        return client._submitter().resolve(
            ours.id, adopt=remote.provider_job_id, send_again=False, give_up=False
        )
    if ours is not None:
        current = refresh(client, ours)
        if current.provider_job_id == remote.provider_job_id:
            return current  # restarted under this id since anybody looked
    snapshot = _stranger(client, provider, remote, tag=None if ours is not None else remote.tag)
    client.journal.add(snapshot, taken_in(client, snapshot))
    return snapshot


def _stranger(client: Client, provider: str, remote: RemoteJob, tag: str | None) -> JobSnapshot:
    """The record of a job that somebody else made; `tag` is its mark, unless a job here has that."""
    now = client.clock.now()
    job_id = new_job_id(now)
    snapshot = JobSnapshot(
        id=job_id,
        provider=provider,
        status=remote.status,
        raw_status=remote.raw_status,
        model=remote.model or "unknown",
        tag=tag or submission_tag(job_id),
        client_token=client_token(),
        fingerprint="adopted",
        profile=client.config.profile,
        dataset=client._address(provider),
        created_at=remote.created_at or now,
        updated_at=now,
    )
    return snapshot.model_copy(update=applied(snapshot, remote))
