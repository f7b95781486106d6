"""The statuses of a job, and which one may follow which."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

from ftsdk.errors import UsageError

__all__ = ["ALLOWED_MOVES", "JobStatus", "can_move", "statuses_of"]


class JobStatus(StrEnum):
    """Where a job stands. Only `succeeded`, `failed` and `cancelled` are final."""

    CREATED = "created"
    """Journaled here; nothing was sent."""
    SUBMITTING = "submitting"
    """The create call is under way."""
    IN_DOUBT = "in_doubt"
    """The create call was sent and no answer came."""
    VALIDATING = "validating"
    """The provider looks at the rows."""
    QUEUED = "queued"
    """Accepted, and waiting for its turn."""
    RUNNING = "running"
    """Training."""
    FINALIZING = "finalizing"
    """Trained; the result is not there yet."""
    PAUSED = "paused"
    """Stopped where it can go on; `resume` continues it."""
    CANCELLING = "cancelling"
    """Asked to stop, and not stopped yet."""
    SUCCEEDED = "succeeded"
    """Done, and the model handle is there."""
    FAILED = "failed"
    """Ended without a model; the snapshot's `error` says why."""
    CANCELLED = "cancelled"
    """Stopped because somebody asked."""
    UNKNOWN = "unknown"
    """The provider used a word we do not know: never final."""

    @property
    def is_final(self) -> bool:
        """True when the provider will not change it any more."""
        return self in _FINAL

    @property
    def is_remote(self) -> bool:
        """True when the provider has the job (as against `created`, `submitting`, `in_doubt`)."""
        return self not in _OURS


_FINAL = frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED})
_OURS = frozenset({JobStatus.CREATED, JobStatus.SUBMITTING, JobStatus.IN_DOUBT})
_REMOTE = frozenset(JobStatus) - _OURS


def statuses_of(value: JobStatus | str | Iterable[JobStatus | str]) -> frozenset[JobStatus]:
    """The statuses that somebody names: one or several, `in doubt` as well as `in_doubt`.

    Raises `UsageError` for a word that is none.
    """
    words: Iterable[JobStatus | str] = [value] if isinstance(value, str) else value
    found = set()
    for word in words:
        try:
            found.add(JobStatus(str(word).replace(" ", "_")))
        except ValueError as error:
            raise UsageError(
                f"{str(word)!r} is not a status",
                where="the argument status=",
                hint=f"one of {', '.join(JobStatus)}",
            ) from error
    return frozenset(found)


ALLOWED_MOVES: Mapping[JobStatus, frozenset[JobStatus]] = {
    JobStatus.CREATED: frozenset({JobStatus.SUBMITTING, JobStatus.FAILED, JobStatus.CANCELLED}),
    JobStatus.SUBMITTING: _REMOTE | {JobStatus.CREATED, JobStatus.IN_DOUBT},
    JobStatus.IN_DOUBT: _REMOTE | {JobStatus.SUBMITTING},  # never back to "nothing was sent"
    **dict.fromkeys(_REMOTE - _FINAL, _REMOTE),
    JobStatus.SUCCEEDED: frozenset(),
    # A local job that failed or was cancelled may be taken up again, by `resume` alone.
    JobStatus.FAILED: frozenset({JobStatus.QUEUED}),
    JobStatus.CANCELLED: frozenset({JobStatus.QUEUED}),
}
"""Which status may follow which. Providers do go back (a restart makes running queued again), so
all moves among their non-final states are allowed; leaving a final one needs `resume`."""


def can_move(old: JobStatus, new: JobStatus) -> bool:
    """True when `new` may follow `old` (staying is always allowed)."""
    return old is new or new in ALLOWED_MOVES[old]
