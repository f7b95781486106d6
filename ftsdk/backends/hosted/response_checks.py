"""Check replies and ids: anything without the expected shape is refused by name."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ftsdk.backends.hosted.error_facts import HTTPFacts
from ftsdk.backends.hosted.redact import mask_known
from ftsdk.errors import FtsdkError, NotFound, Rejected, UnexpectedResponse, Unsupported


@contextlib.contextmanager
def nothing_sent() -> Iterator[None]:
    """Set `submitted="no"` on every error of the block."""
    try:
        yield
    except FtsdkError as error:
        error.submitted = "no"
        raise


def refuse_stream(options: Mapping[str, Any], title: str) -> None:
    """Raise `Unsupported` for `stream`: `chat` returns a whole answer."""
    if options.get("stream"):
        raise Unsupported(
            "chat returns a whole answer and does not stream",
            where=f"stream=True, {title}, before anything was sent",
            hint="leave `stream` out, or stream from the provider's own SDK by the model's id",
            submitted="no",
        )


def unexpected_response(
    title: str, action: str, why: str, *, retryable: bool = False
) -> UnexpectedResponse:
    """Return the error for a reply without its documented shape."""
    return UnexpectedResponse(
        f"{title} sent a reply that does not have the documented shape: {why}",
        where=f"{title}, {action}",
        hint="check that the base URL is the service itself; if so, update ftsdk",
        retryable=retryable,
    )


def json_object(content: bytes, title: str, action: str) -> dict[str, Any]:
    """Return the JSON object of a reply, without secrets in use should the provider repeat one.

    Raises `UnexpectedResponse` for anything else; it is retryable, since it is often a proxy's
    page.
    """
    found, what = _parsed(mask_known(content), dict, "no JSON object")
    del content  # no frame of the error may keep it
    if found is None:
        raise unexpected_response(title, action, what, retryable=True)
    return found  # type: ignore[no-any-return]  # checked in _parsed


def json_value(content: bytes, title: str, action: str) -> Any:
    """Return the JSON object or list of a reply, as `json_object` does."""
    found, what = _parsed(mask_known(content), (dict, list), "no JSON")
    del content  # no frame of the error may keep it
    if found is None:
        raise unexpected_response(title, action, what, retryable=True)
    return found


def _parsed(content: bytes, kinds: Any, otherwise: str) -> tuple[Any, str]:
    """Return the value, or None and what the content is instead."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, kinds):
        return found, ""
    return None, "a page of HTML" if content.lstrip()[:1] == b"<" else otherwise


def checked_id(value: str, ids: re.Pattern[str], title: str, what: str, hint: str) -> str:
    """Return `value`, safe for a path. Raises `NotFound` when it cannot be an id of this service."""
    if ids.fullmatch(value):
        return value
    raise NotFound(
        f"{title} has no {what} with such an id", where=f"{what} id {value[:40]!r}", hint=hint
    )


def spend_limit_error(title: str, what: str, hint: str) -> Callable[[HTTPFacts], FtsdkError | None]:
    """Return a mapper that turns HTTP 402 into `Rejected`: the account's limit is reached."""

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
