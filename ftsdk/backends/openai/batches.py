"""Batches of chats: submitted once, found again by their tag, and read when they have ended."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ftsdk.backends.base import Context
from ftsdk.backends.hosted import checked_id, nothing_sent, scrub, temporary_folder
from ftsdk.backends.hosted.coerce import as_count, as_instant, as_text
from ftsdk.backends.openai.batch_outcomes import outcomes_of
from ftsdk.backends.openai.batch_requests import ENDPOINT, write_requests
from ftsdk.backends.openai.files import Files
from ftsdk.backends.openai.transport import Transport
from ftsdk.errors import BackendError, NotReady, UnexpectedResponse
from ftsdk.types.chat import Batch, BatchState, ChatOutcome, ChatRequest

BATCH_TAG = "ftsdk_tag"
"""The key of a batch's tag in its `metadata`."""

STATES: Mapping[str, BatchState] = {
    "validating": BatchState.VALIDATING,
    "failed": BatchState.FAILED,
    "in_progress": BatchState.RUNNING,
    "finalizing": BatchState.RUNNING,
    "completed": BatchState.COMPLETED,
    "expired": BatchState.EXPIRED,
    "cancelling": BatchState.RUNNING,
    "cancelled": BatchState.CANCELLED,
}
"""Every status of the published schema (openai 3.57.0, `types/batch.py`). Any other is not final."""

_BATCHES = "/batches"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{2,127}")


class Batches:
    """The batches of one account."""

    def __init__(self, transport: Transport, context: Context, files: Files) -> None:
        self._transport = transport
        self._context = context
        self._files = files

    @property
    def _title(self) -> str:
        return self._transport.profile.title

    # --- submitting ---

    def submit(self, model: str, requests: Iterable[ChatRequest], tag: str) -> Batch:
        """Upload the requests and create the batch, in one attempt; see `Backend.batch`."""
        with nothing_sent():
            file_id = self._uploaded(model, requests)
        action = f"POST {_BATCHES}"
        reply = self._transport.create(
            action,
            lambda client: client.batches.with_raw_response.create(
                completion_window="24h",
                endpoint=ENDPOINT,
                input_file_id=file_id,
                metadata={BATCH_TAG: tag},
            ),
        )
        try:
            made = self._batch(reply, action)
            if made.tag not in (None, tag):
                raise self._transport.unexpected(action, "it is about another batch")
        except UnexpectedResponse as error:
            error.submitted = "maybe"
            raise
        return made

    def _uploaded(self, model: str, requests: Iterable[ChatRequest]) -> str:
        """Upload the requests and return the file's id. It costs nothing, so it may be repeated."""
        with temporary_folder(self._context.home) as folder:
            written = write_requests(folder / "requests.jsonl", model, requests, self._title)
            name = f"ftsdk-batch-{written.sha256[:32]}.jsonl"
            return self._files.sent(written.path, name, "batch")

    # --- reading ---

    def find(self, tag: str) -> list[Batch]:
        """Return the batches with this tag, the oldest first."""
        action = f"GET {_BATCHES}"
        found = [
            self._batch(raw, action)
            for page in self._transport.pages(
                action, lambda client, query: client.batches.with_raw_response.list(**query)
            )
            for raw in page
            if _tag_of(raw) == tag
        ]
        return found[::-1]

    def get(self, batch_id: str) -> Batch:
        """Return the batch as it is now. Raises `NotFound`."""
        action = f"GET {_BATCHES}/ID"
        self._checked(batch_id)
        raw = self._transport.read(
            action, lambda client: client.batches.with_raw_response.retrieve(batch_id)
        )
        return self._batch(raw, action, asked_for=batch_id)

    def outcomes(self, batch_id: str) -> Iterator[ChatOutcome]:
        """Yield what became of the requests of a batch that has ended.

        Nothing is yielded for a batch that failed. Raises `NotReady` before its end.
        """
        batch = self.get(batch_id)
        if not batch.state.is_final:
            raise NotReady(
                f"The batch has not ended: it is {batch.raw.get('status')}",
                where=f"{self._title}, batch {batch_id}, {batch.done} of {batch.total} done",
                hint="wait for it; a batch takes up to 24 hours",
            )
        if batch.state is BatchState.FAILED:
            return iter(())
        return outcomes_of(batch, self._files, self._title)

    def cancel(self, batch_id: str) -> None:
        """Ask to end a batch; nothing happens to one that has ended. Raises `NotFound`."""
        self._checked(batch_id)
        try:
            self._transport.call_once(
                f"POST {_BATCHES}/ID/cancel",
                lambda client: client.batches.with_raw_response.cancel(batch_id),
            )
        except BackendError as error:
            if error.status_code not in (400, 409):
                raise
            # It may have ended, or be ending, in the meantime: then nothing is wrong.
            batch = self.get(batch_id)
            if not batch.state.is_final and batch.raw.get("status") != "cancelling":
                raise

    def _checked(self, batch_id: str) -> str:
        """Return the id, safe for a path."""
        return checked_id(batch_id, _ID, self._title, "batch", "a batch is found by its tag")

    def _batch(self, raw: Mapping[str, Any], action: str, *, asked_for: str | None = None) -> Batch:
        """Return a batch object as a `Batch`. Raises `UnexpectedResponse` for one without an id."""
        identity = raw.get("id")
        if not isinstance(identity, str) or not _ID.fullmatch(identity):
            raise self._transport.unexpected(action, "it has no batch id of the right shape")
        if asked_for not in (None, identity):
            raise self._transport.unexpected(action, "it is about another batch")
        given = raw.get("request_counts")
        counts: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
        return Batch(
            id=identity,
            state=STATES.get(str(raw.get("status")), BatchState.RUNNING),
            tag=_tag_of(raw),
            total=as_count(counts.get("total")) or 0,
            done=as_count(counts.get("completed")) or 0,
            failed=as_count(counts.get("failed")) or 0,
            errors=tuple(_errors_of(raw.get("errors"))),
            created_at=as_instant(raw.get("created_at")),
            expires_at=as_instant(raw.get("expires_at")),
            raw=dict(raw),
        )


def _tag_of(raw: Mapping[str, Any]) -> str | None:
    metadata = raw.get("metadata")
    return as_text(metadata.get(BATCH_TAG)) if isinstance(metadata, Mapping) else None


def _errors_of(given: Any) -> Iterator[str]:
    """Yield why the whole batch failed: `code: message`, with the line of the request if given."""
    listed = given.get("data") if isinstance(given, Mapping) else None
    for one in listed if isinstance(listed, list) else ():
        if isinstance(one, Mapping):
            line = as_count(one.get("line"))
            place = "" if line is None else f" (line {line})"
            yield f"{scrub(one.get('code') or 'error', 80)}: {scrub(one.get('message') or '')}{place}"
