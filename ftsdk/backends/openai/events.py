"""Read events, checkpoints and metrics of a run."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from typing import Any

from ftsdk.backends.openai import metrics
from ftsdk.backends.openai.transport import Transport
from ftsdk.errors import NotFound
from ftsdk.types.events import Checkpoint, Event, MetricPoint

_JOB = "GET /fine_tuning/jobs/ID"


class RunEvents:
    """Events, checkpoints and result files of a service's jobs. Only GETs."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._events: dict[str, list[dict[str, Any]]] = {}
        self._lock = threading.Lock()

    def raw_events(self, provider_job_id: str) -> list[dict[str, Any]]:
        """Return all events, oldest first. Pages are read back to the newest known event."""
        with self._lock:
            known = self._events.get(provider_job_id, [])
        ids = {one["id"] for one in known}
        fresh: list[dict[str, Any]] = []

        def ask(client: Any, query: Mapping[str, Any]) -> Any:
            return client.fine_tuning.jobs.with_raw_response.list_events(provider_job_id, **query)

        for page in self._transport.pages(f"{_JOB}/events", ask):
            new = [one for one in page if one["id"] not in ids]
            fresh += new
            if len(new) < len(page):
                break
        fresh.reverse()
        fresh.sort(key=_time_of)
        with self._lock:
            everything = self._events[provider_job_id] = [*known, *fresh]
        return everything

    def events(self, provider_job_id: str, *, after: int = 0) -> list[Event]:
        """Return the events with `seq` above `after`, oldest first."""
        raws = self.raw_events(provider_job_id)
        return [metrics.event(raw, seq) for seq, raw in enumerate(raws, 1) if seq > after]

    def _raw_checkpoints(self, provider_job_id: str) -> list[dict[str, Any]]:
        def ask(client: Any, query: Mapping[str, Any]) -> Any:
            return client.fine_tuning.jobs.checkpoints.with_raw_response.list(
                provider_job_id, **query
            )

        pages = self._transport.pages(f"{_JOB}/checkpoints", ask)
        return [raw for page in pages for raw in page]

    def checkpoints(self, provider_job_id: str) -> list[Checkpoint]:
        """Return the checkpoints that are kept, by step."""
        found = [metrics.checkpoint(raw) for raw in self._raw_checkpoints(provider_job_id)]
        return sorted((one for one in found if one is not None), key=lambda one: one.step)

    def metrics(self, provider_job_id: str, job: Mapping[str, Any]) -> list[MetricPoint]:
        """Return the curve, from checkpoints, events, and the result files that the job names."""
        files = job.get("result_files")
        return metrics.merged(
            metrics.points_from_checkpoints(self._raw_checkpoints(provider_job_id)),
            metrics.points_from_events(self.events(provider_job_id)),
            *(
                self._result_file(file_id)
                for file_id in (files if isinstance(files, list) else [])
                if isinstance(file_id, str) and re.fullmatch(r"[\w.-]{3,200}", file_id)
            ),
        )

    def _result_file(self, file_id: str) -> list[MetricPoint]:
        try:
            content = self._transport.read_bytes(
                "GET /files/ID/content",
                lambda client: client.files.with_raw_response.content(file_id),
            )
        except NotFound:
            return []  # result files can be deleted; the other sources remain
        return metrics.points_from_csv(content)


def _time_of(raw: Mapping[str, Any]) -> float:
    """Return an event's time, for sorting; anything but a number sorts first."""
    return metrics.number(raw.get("created_at")) or 0.0
