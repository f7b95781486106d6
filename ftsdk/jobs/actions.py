"""Actions on an existing job: refresh, cancel, pause, resume, delete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ftsdk.backends.base import Backend
from ftsdk.errors import (
    BackendError,
    FtsdkError,
    JournalDamaged,
    JournalLocked,
    JournalTooNew,
    NeedsDecision,
    NotFound,
    StoreError,
    Unsupported,
    UsageError,
    WrongAccount,
)
from ftsdk.jobs.account_check import account_after, require_account
from ftsdk.jobs.pending_cancel import is_cancel_requested, request_cancel, withdraw_cancel
from ftsdk.jobs.remote_update import updated_fields
from ftsdk.jobs.submit import submitter_for
from ftsdk.session import Session
from ftsdk.spending.budget import budget_of
from ftsdk.spending.switch import require_spending
from ftsdk.store.reservations import Reservations
from ftsdk.types.job import JobSnapshot, RemoteJob
from ftsdk.types.status import JobStatus
from ftsdk.util.cancellation import pass_point_of_no_return


def refresh(session: Session, snapshot: JobSnapshot) -> JobSnapshot:
    """Return the job as its provider reports it now. See `refresh_many`."""
    return refresh_many(session, [snapshot])[0]


def refresh_many(
    session: Session,
    snapshots: Sequence[JobSnapshot],
    errors: dict[str, FtsdkError] | None = None,
) -> list[JobSnapshot]:
    """Return the jobs as their providers report them now; ended jobs are read from the journal.

    A job that its provider does not have, or that is in doubt and was not found in time, does not
    keep the others from being refreshed. Its `NotFound` or `NeedsDecision` is put into `errors`, by
    job id, and is raised at the end without them; so is the error of one of several accounts. Raises
    another `BackendError` when a provider cannot be reached.
    """
    now: dict[str, JobSnapshot] = {s.id: _known(session, s) for s in snapshots}
    own: dict[str, FtsdkError] = {} if errors is None else errors
    by_backend: dict[Backend, list[JobSnapshot]] = {}
    backends: dict[tuple[object, ...], Backend] = {}
    for current in now.values():
        if current.status.is_final:
            continue
        if not current.status.is_remote:
            try:
                now[current.id] = _find_submission(session, current)
            except (NeedsDecision, WrongAccount, BackendError) as error:
                own[current.id] = error
        elif current.provider_job_id is not None:
            place = (current.provider, current.account, current.dataset.get("base_url"))
            if place not in backends:
                backends[place] = session.backend_for(current)
            by_backend.setdefault(backends[place], []).append(current)
    for backend, group in by_backend.items():
        try:
            now.update(_read(session, backend, group, own))
        except FtsdkError as error:
            # An account whose key is missing or refused does not keep the others from being asked.
            if errors is None or len(by_backend) == 1:
                raise
            own.update({s.id: error for s in group})
    if errors is None and own:
        raise next(iter(own.values()))
    return [now[s.id] for s in snapshots]


def _read(
    session: Session,
    backend: Backend,
    group: Sequence[JobSnapshot],
    errors: dict[str, FtsdkError],
) -> dict[str, JobSnapshot]:
    """Return the jobs that were read, by id, and put the error of each missing one into `errors`.

    A list call does not say which job is missing, so the unread ones are halved until it is known.
    """
    known = {str(s.provider_job_id): s for s in group}
    read: dict[str, JobSnapshot] = {}
    try:
        for remote in backend.get_many(list(known)):
            ids = (remote.provider_job_id, *remote.earlier_ids)
            old = next(known[provider_id] for provider_id in ids if provider_id in known)
            read[old.id] = _write(session, old, _changes(session, backend, old, remote))
    except NotFound as error:
        left = [s for s in group if s.id not in read]
        if len(left) == 1:
            errors[left[0].id] = _gone(error, left[0])
        elif left:
            middle = len(left) // 2
            for half in (left[:middle], left[middle:]):
                read |= _read(session, backend, half, errors)
    return read


def _gone(error: NotFound, snapshot: JobSnapshot) -> NotFound:
    """Return the error of a job that its provider does not have, with a hint how to forget it."""
    error.job_id = snapshot.id
    error.hint = (
        f"check that the key and the address are those of the account that created it; "
        f"ftsdk resolve {snapshot.id} --give-up forgets it"
    )
    return error


def _changes(
    session: Session, backend: Backend, old: JobSnapshot, remote: RemoteJob
) -> dict[str, Any]:
    """Return the changed fields; a restarted job's new id only if no other job here has it."""
    fields = updated_fields(old, remote)
    if remote.provider_job_id != old.provider_job_id:
        other = session.journal.find_provider_job(old.provider, remote.provider_job_id)
        if other is not None and other.id != old.id:
            del fields["provider_job_id"], fields["earlier_ids"]
    return {**fields, "account": account_after(backend, old)}


def _known(session: Session, snapshot: JobSnapshot) -> JobSnapshot:
    """Return the job as the journal has it, or as the caller has it while that cannot be read."""
    try:
        return session.journal.get(snapshot.id)
    except (JournalDamaged, JournalTooNew):
        raise
    except StoreError as error:
        if not snapshot.status.is_remote:
            raise  # its submission needs the journal
        session.warn_once(f"the journal cannot be read now: {error.what}")
        return snapshot


def _find_submission(session: Session, snapshot: JobSnapshot) -> JobSnapshot:
    """Look once for a job in doubt; a job that was never sent is returned unchanged."""
    submitter = submitter_for(session)
    current = submitter.continue_submission(snapshot.id)
    if current.status is JobStatus.IN_DOUBT and submitter.is_past_horizon(current):
        raise submitter.needs_decision(current)
    return current


def _write(session: Session, old: JobSnapshot, fields: dict[str, Any]) -> JobSnapshot:
    """Journal the changes, unless only the progress changed.

    A journal that cannot be written now is not an error: the next refresh writes the changes.
    """
    new = old.model_copy(update=fields)
    not_journaled = {"progress", "updated_at", "trained_tokens", "message"}
    if new.model_dump(exclude=not_journaled) == old.model_dump(exclude=not_journaled):
        return new
    try:
        return session.journal.change(old.id, now=session.clock.now(), why="refreshed", **fields)
    except JournalLocked:
        return new  # the next refresh writes it
    except JournalDamaged:
        raise
    except StoreError as error:  # a full disk, or a home that is read-only now
        session.warn_once(f"a change of a job cannot be journaled now: {error.what}")
        return new


def cancel(session: Session, snapshot: JobSnapshot) -> JobSnapshot:
    """Request cancellation. A job that was never sent is cancelled at once; an ended one is unchanged.

    Raises `NeedsDecision` for a job that is in doubt and not found now; it is cancelled when it is.
    """
    current = session.journal.get(snapshot.id)
    if current.status is JobStatus.CREATED:
        return session.journal.change(
            current.id,
            now=session.clock.now(),
            why="cancelled before it was sent",
            only_from=frozenset({JobStatus.CREATED}),
            status=JobStatus.CANCELLED,
            message="cancelled before it was sent",
            finished_at=session.clock.now(),
        )
    if current.status.is_final:
        return current
    backend = session.backend_for(current)
    if not backend.capabilities.can_cancel:
        raise backend.cannot("cancel a job")
    try:
        require_account(session.journal, backend, current)
    except WrongAccount as error:
        error.job_id = current.id
        raise
    if not current.status.is_remote:
        current = _cancel_once_found(session, current)
        if not is_cancel_requested(session.journal, current.id):
            return current
    if current.status.is_final or current.provider_job_id is None:
        return current
    try:
        backend.cancel(current.provider_job_id)
    except NotFound as error:
        raise _gone(error, current) from error
    withdraw_cancel(session.journal, current.id)
    return refresh(session, current)


def _cancel_once_found(session: Session, snapshot: JobSnapshot) -> JobSnapshot:
    """Request the cancellation of a job in doubt and look for it; raise `NeedsDecision` if it is not found."""
    request_cancel(session.journal, snapshot.id, session.clock.now())
    reason: FtsdkError | None = None
    try:
        current = _find_submission(session, snapshot)
    except (BackendError, NeedsDecision) as error:
        current, reason = session.journal.get(snapshot.id), error
    if current.status.is_remote:
        return current
    raise NeedsDecision(
        f"The job is {current.status.replace('_', ' ')}, so nobody could be asked to cancel it; "
        "it is cancelled once it is found",
        where=f"provider {current.provider}" + (f"; {reason.what}" if reason else ""),
        hint=f"ftsdk reconcile {current.id} looks again; ftsdk resolve {current.id} decides it",
        job_id=current.id,
        tag=current.tag,
        submitted="maybe",
    )


def pause(session: Session, snapshot: JobSnapshot) -> JobSnapshot:
    """Request a pause. A job that has ended is unchanged."""
    current = refresh(session, snapshot)
    backend = session.backend_for(current)
    if not backend.capabilities.can_pause:
        raise backend.cannot("pause a job")
    if not current.status.is_remote:
        raise UsageError(
            f"The job is {current.status.replace('_', ' ')}; no provider could be asked to pause it",
            where=f"job {current.id}",
            hint=f"ftsdk show {current.id}",
        )
    if current.status.is_final or current.provider_job_id is None:
        return current
    backend.pause(current.provider_job_id)
    return refresh(session, current)


def delete(session: Session, snapshot: JobSnapshot) -> JobSnapshot:
    """Delete an ended job's result at its provider. The job stays in the journal."""
    current = refresh(session, snapshot)
    backend = session.backend_for(current)
    if not backend.capabilities.can_delete:
        raise backend.cannot("delete a result")
    if not current.status.is_final or current.provider_job_id is None:
        raise UsageError(
            f"The job is {current.status}; there is no result to delete",
            where=f"job {current.id}",
            hint=f"cancel it first: ftsdk cancel {current.id}",
        )
    backend.delete(current.provider_job_id)
    return current


def resume(session: Session, snapshot: JobSnapshot) -> JobSnapshot:
    """Resume a paused, failed or cancelled job. Raises `BudgetError` where the budget forbids it."""
    current = refresh(session, snapshot)
    backend = session.backend_for(current)
    if not backend.capabilities.can_resume or current.provider_job_id is None:
        raise backend.cannot("resume a job")
    free = backend.capabilities.price == "free"
    require_spending("resuming a job", current.provider, free=free, env=session.env)
    if current.status not in (JobStatus.PAUSED, JobStatus.FAILED, JobStatus.CANCELLED):
        raise UsageError(
            f"The job is {current.status}; there is nothing to resume",
            where=f"job {current.id}",
            hint=f"ftsdk show {current.id}",
        )
    if current.status.is_final and not backend.capabilities.resumes_ended:
        raise Unsupported(
            f"{current.provider} only resumes paused jobs; this one is {current.status}",
            where=f"job {current.id}",
            hint="create it again with ftsdk create and the same data and settings",
        )
    pass_point_of_no_return(current.id)
    if current.status.is_final and not free:
        limits = budget_of(session.config).limits
        Reservations(session.journal).reopen(current.id, session.clock.now(), limits)
    remote = backend.resume(current.provider_job_id)
    fields = {**updated_fields(current, remote), "finished_at": None}
    session.journal.change(
        current.id,
        now=session.clock.now(),
        why="resumed",
        **{**fields, "status": JobStatus.QUEUED},
    )
    return session.journal.change(current.id, now=session.clock.now(), why="resumed", **fields)
