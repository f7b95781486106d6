"""What an answer must be, and what an id must be: everything else is refused by name."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from ftsdk.backends.hosted.error_facts import HTTPFacts
from ftsdk.backends.hosted.redact import mask_known
from ftsdk.errors import FtsdkError, NotFound, Rejected, UnexpectedResponse


@contextlib.contextmanager
def nothing_sent() -> Iterator[None]:
    """Mark every error of the block: the job itself was not submitted."""
    try:
        yield
    except FtsdkError as error:
        error.submitted = "no"
        raise


def unexpected_response(
    title: str, action: str, why: str, *, retryable: bool = False
) -> UnexpectedResponse:
    """The error for an answer without its documented shape."""
    return UnexpectedResponse(
        f"{title} gave an answer that is not of the documented shape: {why}",
        where=f"{title}, {action}",
        hint="check that the base URL is the service itself; if so, update ftsdk",
        retryable=retryable,
    )


def json_object(content: bytes, title: str, action: str) -> dict[str, Any]:
    """The JSON object of an answer, without our secrets should the provider repeat one.

    Raises `UnexpectedResponse` for anything else. It may be asked again: what stands there is a
    proxy's page, most often, and the next answer may be the service's own.
    """
    content = mask_known(content)
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict):
        return found
    what = "a page of HTML" if content.lstrip()[:1] == b"<" else "no JSON object"
    del content, found  # whatever stands in it, no frame of the error keeps it
    raise unexpected_response(title, action, what, retryable=True)


def checked_id(value: str, ids: re.Pattern[str], title: str, what: str, hint: str) -> str:
    """`value`, fit for a path. Raises `NotFound` for what can be no id of this service."""
    if ids.fullmatch(value):
        return value
    raise NotFound(
        f"{title} has no {what} with such an id", where=f"{what} id {value[:40]!r}", hint=hint
    )


def spend_limit_error(title: str, what: str, hint: str) -> Callable[[HTTPFacts], FtsdkError | None]:
    """A judge that reads HTTP 402 as a limit of the account, which no other attempt mends."""

    def map_error(facts: HTTPFacts) -> FtsdkError | None:
        if facts.status != 402:
            return None
        return Rejected(
            f"{what}: {facts.message}" if facts.message else what,
            where=f"{title}, HTTP 402",
            hint=hint,
            status_code=402,
            request_id=facts.request_id,
        )

    return map_error
