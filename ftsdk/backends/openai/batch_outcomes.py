"""Read the files of a batch that has ended: a line for each request, an answer or an error."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ftsdk.backends.hosted import error_for_status, json_object, scrub, unexpected_response
from ftsdk.backends.hosted.chat_answer import answer_of
from ftsdk.backends.hosted.coerce import as_text
from ftsdk.backends.hosted.error_facts import http_facts
from ftsdk.backends.openai.files import Files
from ftsdk.errors import BackendError, FtsdkError, RateLimited, Unavailable, UnexpectedResponse
from ftsdk.types.chat import Batch, ChatOutcome

_ACTION = "a request of a batch"
_NOT_REACHED = frozenset({"batch_expired", "batch_cancelled", "batch_canceled"})
"""Codes of the lines for requests that were not run: they cost nothing."""
_MOST_NAMED = 10


def outcomes_of(batch: Batch, files: Files, title: str) -> Iterator[ChatOutcome]:
    """Yield the outcome of each request that was run, the answers first.

    Raises `UnexpectedResponse`, after everything that can be read, that names the lines that
    cannot be, or says how many requests are missing.
    """
    seen, wrong, not_reached = set[str](), list[str](), 0
    named = (as_text(batch.raw.get(f"{kind}_file_id")) for kind in ("output", "error"))
    for file_id in filter(None, named):
        for number, line in enumerate(lines_of(files.content(file_id)), 1):
            try:
                identity, outcome = _outcome(line, title)
            except UnexpectedResponse as error:
                wrong.append(f"line {number} of {file_id} ({error.what.partition(': ')[2]})")
                continue
            if outcome is None:
                not_reached += 1
            elif identity not in seen:
                seen.add(identity)
                yield outcome
    if wrong:
        more = f" and {len(wrong) - _MOST_NAMED} more" if len(wrong) > _MOST_NAMED else ""
        raise _unreadable(batch, title, ", ".join(wrong[:_MOST_NAMED]) + more)
    missing = batch.done + batch.failed - len(seen) - not_reached
    if missing > 0:
        raise _unreadable(batch, title, f"{missing} requests that were run have no line")


def _unreadable(batch: Batch, title: str, why: str) -> UnexpectedResponse:
    action = f"the files of batch {batch.id}"
    return unexpected_response(title, action, why, retryable=True)


def lines_of(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the records of a file that arrives in blocks: each ends at a line feed."""
    rest = b""
    for block in blocks:
        first, *others = block.split(b"\n")
        rest += first
        for other in others:
            if rest.strip():
                yield rest
            rest = other
    if rest.strip():
        yield rest


def _outcome(line: bytes, title: str) -> tuple[str, ChatOutcome | None]:
    """Return the id of a request and its outcome; None for one that was not run."""
    record = json_object(line, title, _ACTION)
    identity = as_text(record.get("custom_id"))
    if identity is None:
        raise unexpected_response(title, _ACTION, "it has no custom_id")
    error, response = record.get("error"), record.get("response")
    if isinstance(error, Mapping) and error:
        if error.get("code") in _NOT_REACHED:
            return identity, None
        return identity, ChatOutcome(identity, error=_own_error(error, title))
    if not isinstance(response, Mapping):
        raise unexpected_response(title, _ACTION, "it has neither a response nor an error")
    return identity, _of_response(identity, response, title)


def _of_response(identity: str, response: Mapping[str, Any], title: str) -> ChatOutcome:
    status, body = response.get("status_code"), response.get("body")
    if isinstance(status, int) and status != 200:
        headers = {"x-request-id": str(response.get("request_id") or "")}
        failed = error_for_status(http_facts(status, body, headers), title, _ACTION)
        return ChatOutcome(identity, error=failed)
    try:
        answer = answer_of(body if isinstance(body, Mapping) else {}, title, latency_s=None)
    except UnexpectedResponse as error:
        return ChatOutcome(identity, error=error)
    return ChatOutcome(identity, answer=answer)


def _own_error(error: Mapping[str, Any], title: str) -> FtsdkError:
    """Return the error of a request that the batch itself could not run."""
    code, said = scrub(error.get("code") or "", 80), scrub(error.get("message") or "")
    cls: type[BackendError] = RateLimited if "rate_limit" in code else Unavailable
    return cls(
        f"{title} did not answer this request of the batch" + (f": {said}" if said else ""),
        where=f"{title}, {_ACTION}" + (f", {code}" if code else ""),
        hint="send the request again",
        provider_code=code,
    )
