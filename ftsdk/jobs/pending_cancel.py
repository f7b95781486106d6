"""Cancellations requested for jobs that are not accepted yet, made once the job is found.

A request is journaled, so that any process that finds the job cancels it.
"""

from __future__ import annotations

import datetime as dt
import logging

from ftsdk.backends.base import Backend
from ftsdk.errors import FtsdkError
from ftsdk.jobs.remote_update import updated_fields
from ftsdk.store.acknowledgements import Acknowledgements
from ftsdk.store.journal import Journal
from ftsdk.types.job import JobSnapshot

_log = logging.getLogger("ftsdk")
_KIND = "cancel_when_found"


def request_cancel(journal: Journal, job_id: str, now: dt.datetime) -> None:
    """Journal that the job is to be cancelled once it is found."""
    Acknowledgements(journal).add(_KIND, job_id, now)


def withdraw_cancel(journal: Journal, job_id: str) -> None:
    """Remove the request, if there is one."""
    Acknowledgements(journal).remove(_KIND, job_id)


def is_cancel_requested(journal: Journal, job_id: str) -> bool:
    """Return True while a requested cancellation has not been made."""
    return job_id in requested_cancels(journal)


def requested_cancels(journal: Journal) -> frozenset[str]:
    """Return the ids of the jobs whose requested cancellation has not been made."""
    return Acknowledgements(journal).of_kind(_KIND)


def cancel_found(
    journal: Journal, backend: Backend, snapshot: JobSnapshot, now: dt.datetime
) -> JobSnapshot:
    """Cancel a job that was found, if that was requested; return it as it is then.

    If the provider cannot be asked, that is logged, and the request remains for the next time.
    """
    identity = snapshot.provider_job_id
    if identity is None or not is_cancel_requested(journal, snapshot.id):
        return snapshot
    try:
        if not snapshot.status.is_final:
            backend.cancel(identity)
            fields = updated_fields(snapshot, backend.get(identity))
            snapshot = journal.change(snapshot.id, now=now, why="cancel was requested", **fields)
    except FtsdkError as error:
        _log.warning("job %s was found and could not be cancelled: %s", snapshot.id, error.what)
        return snapshot
    withdraw_cancel(journal, snapshot.id)
    return snapshot
