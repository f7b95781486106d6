"""The errors of a submission, which say what is known and what to do next."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ftsdk.errors import (
    FtsdkError,
    NeedsDecision,
    StoreError,
    Submitted,
    UnexpectedResponse,
)
from ftsdk.store.journal import Journal
from ftsdk.types.job import JobSnapshot
from ftsdk.types.status import JobStatus


def never_accepted_error(snapshot: JobSnapshot) -> NeedsDecision:
    """Return the error for a job that ended by a decision of the user, not at the provider."""
    sent = snapshot.submitted_at is not None
    what = "was given up" if snapshot.status is JobStatus.FAILED else "was cancelled"
    look = "look for it at the provider first; " if sent else ""
    how = "create it with another key" if snapshot.key else "create it again"
    return NeedsDecision(
        f"The job {what}; no provider has accepted it",
        where=f"job {snapshot.id}: {snapshot.message}",
        hint=look + how,
        job_id=snapshot.id,
        tag=snapshot.tag,
        submitted="maybe" if sent else "no",
    )


def no_usable_id_error(snapshot: JobSnapshot) -> UnexpectedResponse:
    """Return the error for an acceptance without an id that can be ours."""
    return UnexpectedResponse(
        "The provider answered without a usable job id",
        where=f"provider {snapshot.provider}",
        hint=f"ftsdk reconcile {snapshot.id}",
        submitted="maybe",
        job_id=snapshot.id,
    )


def undecided_error(snapshot: JobSnapshot, *, past_horizon: bool) -> NeedsDecision:
    """Return the error for a job in doubt; its hint lists the possible decisions."""
    remark = "it should have appeared by now" if past_horizon else "it may still appear"
    if snapshot.account is None and snapshot.dataset.get("base_url") is not None:
        remark += "; its account was not recorded: is the key in use the one that it was sent with?"
    return NeedsDecision(
        f"The create call got no answer, and no job with our tag {snapshot.tag} was found",
        where=f"provider {snapshot.provider}; {remark}",
        hint=f"ftsdk resolve {snapshot.id} --adopt ID, or --send-again (it may exist twice), "
        "or --give-up",
        job_id=snapshot.id,
        submitted="maybe",
    )


@contextlib.contextmanager
def job_context(journal: Journal, job_id: str) -> Iterator[None]:
    """Add the job id, the tag and whether it may have been sent to any error raised inside."""
    try:
        yield
    except FtsdkError as error:
        tag, submitted = _submission_state(journal, job_id)
        error.job_id, error.tag = error.job_id or job_id, error.tag or tag
        error.submitted = error.submitted or submitted
        if error.submitted != "no":
            error.hint = _hint_to_look(error, job_id)
        raise
    except BaseException as error:
        tag, submitted = _submission_state(journal, job_id)
        state = "nothing was sent" if submitted == "no" else "it may have been sent"
        error.add_note(f"job {job_id}, tag {tag}; {state}: `ftsdk reconcile {job_id}` looks for it")
        raise


def _submission_state(journal: Journal, job_id: str) -> tuple[str | None, Submitted]:
    """Return the tag of a job, and whether it was sent according to the journal."""
    try:
        snapshot = journal.get(job_id)
    except StoreError:
        return None, "maybe"  # the journal cannot be read, so nothing can be ruled out
    if snapshot.status.is_remote and snapshot.provider_job_id is not None:
        return snapshot.tag, "yes"
    never = snapshot.status is JobStatus.CREATED or snapshot.submitted_at is None
    return snapshot.tag, "no" if never else "maybe"


def _hint_to_look(error: FtsdkError, job_id: str) -> str:
    """Return the hint of an error after which the provider may have the job: look, do not create."""
    if job_id in error.hint:
        return error.hint
    look = f"`ftsdk reconcile {job_id}` looks for the job; do not create it again"
    return f"{error.hint}; then {look}" if error.hint else look
