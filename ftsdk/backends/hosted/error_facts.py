"""What an error reply says: the status, the provider's message, how long to wait."""

from __future__ import annotations

import datetime as dt
import email.utils
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ftsdk.backends.hosted.exception_table import status_of
from ftsdk.backends.hosted.redact import scrub


@dataclass(frozen=True)
class HTTPFacts:
    """A reply with an error status. `code`, `kind` and `message` are the provider's."""

    status: int
    message: str = ""
    code: str = ""
    kind: str = ""
    param: str = ""
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    whole: Mapping[str, Any] | None = None
    """The JSON object of the reply, as the provider sent it; None where it has none, or where the
    reply may have been cut."""

    @property
    def request_id(self) -> str | None:
        """The provider's id of the request, to quote to its support."""
        for name in ("x-request-id", "request-id", "apim-request-id", "x-ms-request-id", "cf-ray"):
            if self.headers.get(name):
                return scrub(self.headers[name], 80)
        return None

    @property
    def should_retry(self) -> bool | None:
        """What the server says about retrying; None when it says nothing."""
        return {"true": True, "false": False}.get(self.headers.get("x-should-retry", "").lower())


def facts_of(error: BaseException) -> HTTPFacts:
    """Return the reply that an exception of an SDK or of httpx carries."""
    response = getattr(error, "response", None)
    headers = {str(k).lower(): str(v) for k, v in dict(getattr(response, "headers", {})).items()}
    body = getattr(error, "body", None)
    if body is None and hasattr(error, "detail"):
        body = {"detail": error.detail or getattr(error, "title", None)}
    if body is None and response is not None:
        body = _body_of(response)
    return replace(http_facts(status_of(error), body, headers), whole=_whole(response, headers))


def _whole(response: Any, headers: Mapping[str, str]) -> Mapping[str, Any] | None:
    """Return the JSON object of a reply that arrived as long as it says that it is."""
    found = None if response is None else _body_of(response)
    if not isinstance(found, dict):
        return None
    declared = headers.get("content-length")
    received = getattr(response, "num_bytes_downloaded", 0) or len(response.content)
    return None if declared is not None and declared.strip() != str(received) else found


def _body_of(response: Any) -> Any:
    try:
        return json.loads(response.content)
    except (ValueError, RuntimeError):  # no JSON, or a stream that was not read
        return None


def http_facts(status: int, body: Any, headers: Mapping[str, str]) -> HTTPFacts:
    """Read a provider's error body, whatever its shape."""
    inner = body
    if isinstance(body, Mapping) and isinstance(body.get("error"), Mapping | str):
        inner = body["error"]
    if isinstance(inner, Mapping):
        message = inner.get("message") or inner.get("detail") or inner.get("title") or ""
        if not isinstance(message, str):
            message = json.dumps(message, default=str)
        return HTTPFacts(
            status=status,
            message=scrub(message),
            code=scrub(inner.get("code") or "", 80),
            kind=scrub(inner.get("type") or "", 80),
            param=scrub(inner.get("param") or "", 80),
            body=body,
            headers=headers,
        )
    text = inner if isinstance(inner, str) else ""
    shown = "" if text.lstrip()[:1] == "<" else scrub(text)
    return HTTPFacts(status=status, message=shown, body=body, headers=headers)


def retry_after_s(headers: Mapping[str, str], now: dt.datetime | None = None) -> float | None:
    """Return the seconds that a reply asks to wait: `retry-after-ms`, or `Retry-After` in either
    form.

    None when it asks for nothing, or for nothing sensible (negative, NaN, infinite).
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after")
    if text is None:
        return None
    seconds = _number(text)
    if seconds is not None:
        return seconds
    try:
        when = email.utils.parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    when = when.replace(tzinfo=dt.UTC) if when.tzinfo is None else when
    left = (when - (now or dt.datetime.now(dt.UTC))).total_seconds()
    return left if left >= 0 else None


def _number(text: str | None) -> float | None:
    if text is None or not text.isascii():
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None
