"""Find or decide jobs whose create call got no answer."""

from __future__ import annotations

from ftsdk.jobs.submit import submitter_for
from ftsdk.session import Session
from ftsdk.spending.budget import budget_of
from ftsdk.spending.reserve import reserve_unsent
from ftsdk.types.job import JobSnapshot
from ftsdk.types.status import JobStatus


def reconcile(session: Session, job_id: str | None = None) -> list[JobSnapshot]:
    """Look for one job, or for all that were sent without an answer; return them as they are now.

    No job is created, unless sending again with the same token is safe.
    """
    if job_id is not None:
        targets = [session.journal.get(job_id)]
    else:
        undecided = frozenset({JobStatus.SUBMITTING, JobStatus.IN_DOUBT})
        targets = session.journal.list(status=undecided)
    submitter = submitter_for(session)
    return [submitter.continue_submission(job.id) for job in targets]


def resolve(
    session: Session,
    job_id: str,
    *,
    adopt: str | None = None,
    send_again: bool = False,
    give_up: bool = False,
) -> JobSnapshot:
    """Decide a job in doubt: adopt the provider's id, send again, or give up.

    Raises `UsageError` unless exactly one decision is given and the job is undecided, and
    `BudgetError` when sending again would exceed a limit of the month.
    """
    full_id = session.journal.get(job_id).id
    if send_again:
        limits = budget_of(session.config).limits
        reserve_unsent(session.journal, full_id, session.clock.now(), limits)
    return submitter_for(session).resolve(
        full_id, adopt=adopt, send_again=send_again, give_up=give_up
    )
