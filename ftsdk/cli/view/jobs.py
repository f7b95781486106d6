"""How a job is named and printed: its short id, its status, its JSON document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ftsdk.cli.view.formatting import redact, status_text

if TYPE_CHECKING:
    from ftsdk.store.journal import Journal
    from ftsdk.types.job import JobSnapshot

_SHORTEST_ID = 14  # `ftj_` and the ten characters of a ULID that hold its time
_FIRST = ("id", "provider", "provider_job_id", "status", "raw_status", "model", "name", "cost")


def short_ids(journal: Journal) -> dict[str, str]:
    """Return for each job id its shortest start that is unique and likely to remain so."""
    ids = sorted(journal.ids())
    # In this order, the ids that share the longest start with one are beside it.
    return {one: _short(one, ids[max(0, k - 1) : k + 2]) for k, one in enumerate(ids)}


def short_id(journal: Journal, job_id: str) -> str:
    """Return the start of one job id that is enough to name it."""
    return _short(job_id, journal.ids())


def _short(job_id: str, ids: Sequence[str]) -> str:
    for length in range(_SHORTEST_ID, len(job_id)):
        if sum(other.startswith(job_id[:length]) for other in ids) <= 1:
            return job_id[:length]
    return job_id


def status_label(job: JobSnapshot, *, needs_decision: bool) -> str:
    """Return a job's status as people write it, or `needs a decision`."""
    return "needs a decision" if needs_decision else status_text(job.status)


def job_document(job: JobSnapshot, **more: Any) -> dict[str, Any]:
    """Return a job as `--json` prints it: the stable fields first, then all others."""
    fields = job.model_dump(mode="json", exclude={"client_token"})
    document: dict[str, Any] = redact({**{name: fields.pop(name) for name in _FIRST}, **fields})
    return {**document, **more}
