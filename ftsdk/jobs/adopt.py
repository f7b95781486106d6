"""Add a job to the journal that was created outside of ftsdk."""

from __future__ import annotations

from ftsdk.jobs.account_check import is_of_account
from ftsdk.jobs.actions import refresh
from ftsdk.jobs.remote_update import updated_fields
from ftsdk.jobs.submit import submitter_for
from ftsdk.session import Session
from ftsdk.spending.reserve import reserve_adopted
from ftsdk.store.hooks import InsertHook
from ftsdk.types.job import JobSnapshot, RemoteJob
from ftsdk.util.ids import client_token, new_job_id, submission_tag


def adopt(session: Session, provider: str, provider_job_id: str) -> JobSnapshot:
    """Add a job that was created outside of ftsdk to the journal; the same job is added only once.

    Raises `NotFound` when the provider does not know it.
    """
    known = session.journal.find_provider_job(provider, provider_job_id)
    if known is not None:
        return known
    backend = session.backend(provider)
    account, remote = session.account_of(provider), backend.get(provider_job_id)
    known = session.journal.find_provider_job(provider, remote.provider_job_id)
    if known is not None:
        return known  # an earlier id of a job that was restarted
    ours = session.journal.find_tag(remote.tag) if remote.tag else None
    if ours is not None and not is_of_account(session.journal, ours, account):
        # The key in use sees the job with our tag, so it is a key of the job's account.
        ours = session.journal.change(
            ours.id, now=session.clock.now(), why="found by another key", account=account
        )
    if ours is not None and not ours.status.is_remote:
        # It has our tag: this is the job whose response was lost.
        return submitter_for(session).resolve(
            ours.id, adopt=remote.provider_job_id, send_again=False, give_up=False
        )
    if ours is not None:
        current = refresh(session, ours)
        if current.provider_job_id == remote.provider_job_id:
            return current  # restarted under this id since the last refresh
    tag = None if ours is not None else remote.tag
    snapshot = _snapshot_of(session, provider, remote, tag, account)
    session.journal.add(snapshot, _reservation(session, snapshot))
    return snapshot


def _snapshot_of(
    session: Session, provider: str, remote: RemoteJob, tag: str | None, account: str | None
) -> JobSnapshot:
    """Return the snapshot of an adopted job; it keeps its tag unless a job here has the same one."""
    now = session.clock.now()
    job_id = new_job_id(now)
    snapshot = JobSnapshot(
        id=job_id,
        provider=provider,
        account=account,
        status=remote.status,
        raw_status=remote.raw_status,
        model=remote.model or "unknown",
        tag=tag or submission_tag(job_id),
        client_token=client_token(),
        fingerprint="adopted",
        profile=session.config.profile,
        dataset=session.address_of(provider),
        created_at=remote.created_at or now,
        updated_at=now,
    )
    return snapshot.model_copy(update=updated_fields(snapshot, remote))


def _reservation(session: Session, snapshot: JobSnapshot) -> InsertHook:
    """Return the hook that reserves for an adopted job; it counts in its month and is never refused."""
    return reserve_adopted(
        snapshot,
        profile=session.config.profile,
        catalogue=session.catalogue,
        free=session.backend(snapshot.provider).capabilities.price == "free",
    )
