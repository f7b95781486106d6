"""Find or decide jobs whose create call got no answer."""

from __future__ import annotations

from ftsdk.errors import FtsdkError, NotFound
from ftsdk.jobs.submit import submitter_for
from ftsdk.session import Session
from ftsdk.spending.budget import budget_of
from ftsdk.spending.reserve import reserve_unsent
from ftsdk.types.job import JobSnapshot
from ftsdk.types.status import JobStatus


def reconcile(session: Session, job_id: str | None = None) -> list[JobSnapshot]:
    """Look for one job, or for all that were sent without an answer; return them as they are now.

    No job is created, unless sending again with the same token is safe. Where the account of a job
    cannot be asked, the others are looked for first; then the first such error is raised.
    """
    if job_id is not None:
        targets = [session.journal.get(job_id)]
    else:
        undecided = frozenset({JobStatus.SUBMITTING, JobStatus.IN_DOUBT})
        targets = session.journal.list(status=undecided)
    submitter, found, errors = submitter_for(session), list[JobSnapshot](), list[FtsdkError]()
    for job in targets:
        try:
            found.append(submitter.continue_submission(job.id))
        except FtsdkError as error:
            errors.append(error)
    if errors:
        raise errors[0]
    return found


def resolve(
    session: Session,
    job_id: str,
    *,
    adopt: str | None = None,
    send_again: bool = False,
    give_up: bool = False,
) -> JobSnapshot:
    """Decide a job in doubt: adopt the provider's id, send again, or give up.

    A job that its provider no longer has can be given up, too.
    Raises `UsageError` unless exactly one decision is given and the job is undecided, and
    `BudgetError` when sending again would exceed a limit of the month.
    """
    known = session.journal.get(job_id)
    full_id = known.id
    if give_up and adopt is None and not send_again and _is_gone(session, known):
        return session.journal.change(
            full_id,
            now=session.clock.now(),
            why="given up by decision",
            status=JobStatus.FAILED,
            message="given up; its provider does not have it",
            finished_at=session.clock.now(),
        )
    if send_again:
        limits = budget_of(session.config).limits
        reserve_unsent(session.journal, full_id, session.clock.now(), limits, known.profile)
    return submitter_for(session).resolve(
        full_id, adopt=adopt, send_again=send_again, give_up=give_up
    )


def _is_gone(session: Session, snapshot: JobSnapshot) -> bool:
    """Ask the provider whether an accepted job that has not ended is missing there."""
    if snapshot.status.is_final or not snapshot.is_accepted or snapshot.provider_job_id is None:
        return False
    try:
        session.backend_for(snapshot).get(snapshot.provider_job_id)
    except NotFound:
        return True
    return False
