"""Read jobs at Together: the list, events, and jobs that continue under another id.

After a fault of its own the platform restarts a job under another id. It is followed: by the id
that the `job_restarted` event names, else to the next job with the same suffix.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ftsdk.backends.hosted.coerce import as_text
from ftsdk.backends.together import job_mapping
from ftsdk.backends.together.events import failure_message, successor_in, was_restarted
from ftsdk.backends.together.transport import Transport, known_id
from ftsdk.errors import UnexpectedResponse
from ftsdk.types.job import RemoteJob
from ftsdk.types.status import JobStatus

_MAX_RESTARTS = 8
_ENDED_BADLY = frozenset({JobStatus.FAILED, JobStatus.CANCELLED})


class Jobs:
    """The jobs of one account. Only reads."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._successors: dict[str, str] = {}

    def rows(self) -> list[Mapping[str, Any]]:
        """Return every job of the account: Together's list has no filter and no pages."""
        data = self._transport.get("/v1/fine-tunes").get("data")
        if not isinstance(data, list):
            raise UnexpectedResponse(
                "Together's list of jobs has no data in it",
                where="Together, GET /v1/fine-tunes",
                hint="check that the base URL is Together itself",
            )
        unique = {row.get("id"): row for row in data if isinstance(row, Mapping) and row.get("id")}
        return [*unique.values()]

    def base_model_of(self, checkpoint: str) -> str | None:
        """Return the base model of a checkpoint: `ft-…` or an output name, with or without `:step`.

        None where this account has no such job.
        """
        name = checkpoint.strip().partition(":")[0]
        for row in self.rows():
            if name in (row.get("id"), row.get("model_output_name"), row.get("output_name")):
                model = as_text(row.get("model"))
                if model is None and as_text(row.get("from_checkpoint")) not in (None, checkpoint):
                    return self.base_model_of(str(row["from_checkpoint"]))
                return model
        return None

    def event_rows(self, identity: str) -> list[Any]:
        data = self._transport.get(f"/v1/fine-tunes/{identity}/events").get("data")
        return data if isinstance(data, list) else []

    def followed(self, identity: str, hops: int = 0) -> tuple[str, Mapping[str, Any], RemoteJob]:
        """Return the job that `identity` continues as: its id, its raw reply, and ours."""
        known = self._successors.get(identity)
        if known is not None and hops < _MAX_RESTARTS:
            return self.followed(known, hops + 1)
        data = self._transport.get(f"/v1/fine-tunes/{identity}")
        if data.get("id") != identity:
            raise UnexpectedResponse(
                "Together sent another job than was asked for",
                where=f"Together, GET /v1/fine-tunes/{identity}",
                hint="try again; if it stays so, check the base URL",
            )
        job = job_mapping.remote_job(data)
        if job.status not in _ENDED_BADLY:
            return identity, data, job
        events = self.event_rows(identity)
        after = self._successor(identity, data, events)
        if after is not None and hops < _MAX_RESTARTS:
            self._successors[identity] = after
            return self.followed(after, hops + 1)
        if job.status is JobStatus.FAILED:
            job = job_mapping.remote_job(data, message=failure_message(events))
        return identity, data, job

    def _successor(
        self, identity: str, data: Mapping[str, Any], events: Iterable[Any]
    ) -> str | None:
        """Return the job that took over: as the event names it, else the next with the same suffix."""
        rows = [*events]
        if not was_restarted(rows):
            return None
        named = successor_in(rows, identity)
        if named is not None:
            return named
        suffix, born = data.get("suffix"), job_mapping.remote_job(data).created_at
        if not suffix or born is None:
            return None
        later = [
            job
            for row in self.rows()
            if row.get("suffix") == suffix and row.get("id") != identity
            for job in (job_mapping.remote_job(row),)
            if job.created_at is not None and job.created_at > born
        ]
        return min(later, key=age_of).provider_job_id if later else None

    def chain(self, identity: str) -> list[str]:
        """Return the ids of the job, oldest first."""
        self.followed(known_id(identity))
        return self.known_chain(identity)

    def known_chain(self, identity: str) -> list[str]:
        """Return the same, as far as it was followed before; makes no request."""
        chain = [identity]
        while chain[-1] in self._successors and len(chain) <= _MAX_RESTARTS:
            chain.append(self._successors[chain[-1]])
        return chain


def age_of(job: RemoteJob) -> tuple[float, str]:
    """Return a sort key that puts jobs oldest first."""
    return (job.created_at.timestamp() if job.created_at else 0.0, job.provider_job_id)
