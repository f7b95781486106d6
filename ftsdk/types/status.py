"""The statuses of a job, and the allowed transitions between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

from ftsdk.errors import UsageError

__all__ = ["ALLOWED_TRANSITIONS", "JobStatus", "can_transition", "statuses_of"]


class JobStatus(StrEnum):
    """The status of a job. Only `succeeded`, `failed` and `cancelled` are final."""

    CREATED = "created"
    """Journaled; nothing has been sent."""
    SUBMITTING = "submitting"
    """The create call is in progress."""
    IN_DOUBT = "in_doubt"
    """The create call was sent and got no answer."""
    VALIDATING = "validating"
    """The provider is validating the rows."""
    QUEUED = "queued"
    """Accepted and waiting to run."""
    RUNNING = "running"
    """Training."""
    FINALIZING = "finalizing"
    """Trained; the result is not available yet."""
    PAUSED = "paused"
    """Stopped, and can continue; `resume` continues it."""
    CANCELLING = "cancelling"
    """Asked to stop, but not stopped yet."""
    SUCCEEDED = "succeeded"
    """Done; the model is available."""
    FAILED = "failed"
    """Ended without a model; the snapshot's `error` has the reason."""
    CANCELLED = "cancelled"
    """Stopped on request."""
    UNKNOWN = "unknown"
    """The provider reports a status that ftsdk does not know; never final."""

    @property
    def is_final(self) -> bool:
        """True when the status can no longer change."""
        return self in _FINAL

    @property
    def is_remote(self) -> bool:
        """True when the provider has the job (not `created`, `submitting` or `in_doubt`)."""
        return self not in _LOCAL


_FINAL = frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED})
_LOCAL = frozenset({JobStatus.CREATED, JobStatus.SUBMITTING, JobStatus.IN_DOUBT})
_REMOTE = frozenset(JobStatus) - _LOCAL


def statuses_of(value: JobStatus | str | Iterable[JobStatus | str]) -> frozenset[JobStatus]:
    """Parse one status or several; `in doubt` is accepted as well as `in_doubt`.

    Raises `UsageError` for an unknown status.
    """
    if not isinstance(value, Iterable):
        raise UsageError(
            f"{value!r} is not a status"[:200],
            where="the argument status=",
            hint=f"one of {', '.join(JobStatus)}",
        )
    names: Iterable[JobStatus | str] = [value] if isinstance(value, str) else value
    found = set()
    for name in names:
        try:
            found.add(JobStatus(str(name).replace(" ", "_")))
        except ValueError as error:
            raise UsageError(
                f"{str(name)!r} is not a status",
                where="the argument status=",
                hint=f"one of {', '.join(JobStatus)}",
            ) from error
    return frozenset(found)


ALLOWED_TRANSITIONS: Mapping[JobStatus, frozenset[JobStatus]] = {
    JobStatus.CREATED: frozenset({JobStatus.SUBMITTING, JobStatus.FAILED, JobStatus.CANCELLED}),
    JobStatus.SUBMITTING: _REMOTE | {JobStatus.CREATED, JobStatus.IN_DOUBT},
    JobStatus.IN_DOUBT: _REMOTE
    | {JobStatus.SUBMITTING},  # never back to `created`: it may have been sent
    **dict.fromkeys(_REMOTE - _FINAL, _REMOTE),
    JobStatus.SUCCEEDED: frozenset(),
    # `resume` can continue a local job that failed or was cancelled.
    JobStatus.FAILED: frozenset({JobStatus.QUEUED}),
    JobStatus.CANCELLED: frozenset({JobStatus.QUEUED}),
}
"""The statuses that may follow each status. Providers also go back (a restart makes a running job
queued again), so all transitions among their non-final statuses are allowed. Only `resume` leaves a
final status."""


def can_transition(old: JobStatus, new: JobStatus) -> bool:
    """Return True when `new` may follow `old`; the same status always may."""
    return old is new or new in ALLOWED_TRANSITIONS[old]
