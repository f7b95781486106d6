"""Other people's exceptions become ours, and one fact is kept straight: may it have arrived.

`attempt` runs one call and raises `ftsdk.errors`. For a create call (`sends=True`), `submitted` is

- `"no"` for a definite refusal (a 4xx other than 408, 409, 425, 429), and for a failure that is
  provably before sending: name resolution, refused connection, TLS handshake;
- `"maybe"` for everything else.

The SDK's exception is not kept as cause: it holds the request with its key, and its frames hold
more. In its place stands a `ProviderFault` that says the same in a scrubbed line.
"""

from __future__ import annotations

import datetime as dt
import email.utils
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from ftsdk.backends.hosted.redact import scrub
from ftsdk.errors import (
    AuthError,
    BackendError,
    FtsdkError,
    NotFound,
    RateLimited,
    Rejected,
    Submitted,
    Unavailable,
    UnexpectedResponse,
    UsageError,
)

__all__ = ["RULES", "HTTPFacts", "ProviderFault", "attempt", "error_for_status", "retry_after_s"]

_T = TypeVar("_T")
_Rule = Literal["status", "wrapped", "before", "unsendable", "lost", "shape"]

AMBIGUOUS_4XX = frozenset({408, 409, 425, 429})
"""Refusals after which the request may still have been taken (a proxy's timeout, a race, …)."""

RULES: Mapping[str, _Rule] = {
    # An answer with a status: judged by it.
    "APIStatusError": "status",
    "AuthenticationError": "status",
    "BadRequestError": "status",
    "ConflictError": "status",
    "HTTPStatusError": "status",
    "InternalServerError": "status",
    "NotFoundError": "status",
    "OAuthError": "status",
    "PermissionDeniedError": "status",
    "RateLimitError": "status",
    "ReplicateError": "status",
    "UnprocessableEntityError": "status",
    # The SDK's own wrapper: judged by what it wraps, lost when that is unknown.
    "APIConnectionError": "wrapped",
    "APIError": "wrapped",
    "APITimeoutError": "wrapped",
    "DownloadError": "wrapped",
    "OpenAIError": "wrapped",
    "ReplicateException": "wrapped",
    "SubjectTokenProviderError": "before",
    "TogetherError": "wrapped",
    # Provably before the request was sent.
    "ConnectError": "before",
    "ConnectTimeout": "before",
    "ConnectionRefusedError": "before",
    "PoolTimeout": "before",
    "ProxyError": "before",
    "SSLCertVerificationError": "before",
    "gaierror": "before",
    # Never a request: the call itself is wrong.
    "CookieConflict": "unsendable",
    "_AmbiguousModuleClientUsageError": "unsendable",  # of openai's module-level client
    "FileTypeError": "unsendable",
    "InvalidURL": "unsendable",
    "LocalProtocolError": "unsendable",
    "RequestNotRead": "unsendable",
    "UnsupportedProtocol": "unsendable",
    # Sent, or partly sent, and no whole answer.
    "BrokenPipeError": "lost",
    "CloseError": "lost",
    "ConnectionAbortedError": "lost",
    "ConnectionError": "lost",
    "ConnectionResetError": "lost",
    "EndOfStream": "lost",
    "HTTPError": "lost",
    "NetworkError": "lost",
    "ProtocolError": "lost",
    "ReadError": "lost",
    "ReadTimeout": "lost",
    "RemoteProtocolError": "lost",
    "RequestError": "lost",
    "SSLError": "lost",
    "StreamClosed": "lost",
    "StreamConsumed": "lost",
    "StreamError": "lost",
    "TimeoutError": "lost",
    "TimeoutException": "lost",
    "TransportError": "lost",
    "WriteError": "lost",
    "WriteTimeout": "lost",
    # An answer, but not one of the documented shape.
    "APIResponseValidationError": "shape",
    "ContentFilterFinishReasonError": "shape",
    "DecodingError": "shape",
    "InvalidWebhookSignatureError": "shape",
    "JSONDecodeError": "shape",
    "LengthFinishReasonError": "shape",
    "ModelError": "shape",
    "ResponseNotRead": "shape",
    "SSEError": "shape",
    "TooManyRedirects": "shape",
    "UnicodeDecodeError": "shape",
    "ValidationError": "shape",
    # Of doors we never open (WebSockets); here so that none is left out.
    "WebSocketConnectionClosedError": "lost",
    "WebSocketQueueFullError": "unsendable",
}
"""What each exception of the SDKs (`openai`, `together`, `replicate`), of httpx and httpx2, and of
the socket layer says about the request, by the class's own name. A test finds any that is missing."""


class ProviderFault(Exception):
    """What the SDK raised, as one scrubbed line; it stands as the cause of our error."""


@dataclass(frozen=True)
class HTTPFacts:
    """What an answer with an error status says. `code`, `kind` and `message` are the provider's."""

    status: int
    message: str = ""
    code: str = ""
    kind: str = ""
    param: str = ""
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def request_id(self) -> str | None:
        """The provider's name for the request, to quote to its support."""
        for name in ("x-request-id", "request-id", "apim-request-id", "x-ms-request-id", "cf-ray"):
            if self.headers.get(name):
                return scrub(self.headers[name], 80)
        return None

    @property
    def should_retry(self) -> bool | None:
        """What the server itself says about asking again; None when it says nothing."""
        return {"true": True, "false": False}.get(self.headers.get("x-should-retry", "").lower())


Judge = Callable[[HTTPFacts], FtsdkError | None]
"""A backend's own reading of an error answer; None leaves it to `error_for_status`."""


def attempt(
    ask: Callable[[], _T],
    *,
    provider: str,
    action: str,
    sends: bool = False,
    submitted: Submitted | None = None,
    judge: Judge | None = None,
    now: dt.datetime | None = None,
) -> _T:
    """Run `ask` once; what the SDK raises becomes an error of `ftsdk.errors`.

    `action` is what the user reads, for instance `POST /fine_tuning/jobs`. `sends` marks the
    create call; `submitted` is put on any error instead (`"no"` for calls before the create).
    Exceptions that are in no table are bugs and pass through.
    """
    try:
        return ask()
    except FtsdkError as error:
        failure = error
        cause = None
    except Exception as error:
        found = _translate(error, provider, action, sends, judge, now)
        if found is None:
            raise
        failure, cause = found
    if submitted is not None:
        failure.submitted = submitted
    elif sends and failure.submitted is None:
        failure.submitted = "no" if isinstance(failure, UsageError) else "maybe"
    raise failure from cause


def _translate(
    error: Exception,
    provider: str,
    action: str,
    sends: bool,
    judge: Judge | None,
    now: dt.datetime | None,
) -> tuple[FtsdkError, ProviderFault] | None:
    rule, source = _rule(error)
    if rule is None:
        return None
    cause = ProviderFault(
        f"{type(error).__module__.split('.')[0]}.{type(error).__name__}: {scrub(error)}"
        + ("" if source is error else f" ({type(source).__name__}: {scrub(source)})")
    )
    if rule == "status":
        facts = _facts(error)
        mapped = (judge and judge(facts)) or error_for_status(facts, provider, action, now)
        if sends and mapped.submitted is None:
            mapped.submitted = _submitted(facts.status)
        return mapped, cause
    made = _without_status(rule, provider, action, source)
    if sends:
        made.submitted = "no" if rule in ("before", "unsendable") else "maybe"
    return made, cause


def _rule(error: BaseException) -> tuple[_Rule | None, BaseException]:
    """The rule for an exception and the one (itself, or what it wraps) that the rule is about."""
    for cls in type(error).__mro__:
        rule = RULES.get(cls.__name__)
        if rule is None:
            continue
        if rule == "status" and not _status_of(error):
            rule = "wrapped"
        if rule != "wrapped":
            return rule, error
        inner = error.__cause__ or error.__context__
        if inner is not None:
            found, source = _rule(inner)
            if found is not None:
                return found, source
        return "lost", error
    return None, error


def _status_of(error: BaseException) -> int:
    response = getattr(error, "response", None)
    value = getattr(response, "status_code", None) or getattr(error, "status", None)
    return value if isinstance(value, int) else 0


def _facts(error: BaseException) -> HTTPFacts:
    response = getattr(error, "response", None)
    headers = {str(k).lower(): str(v) for k, v in dict(getattr(response, "headers", {})).items()}
    body = getattr(error, "body", None)
    if body is None and hasattr(error, "detail"):
        body = {"detail": error.detail or getattr(error, "title", None)}
    if body is None and response is not None:
        body = _body_of(response)
    return http_facts(_status_of(error), body, headers)


def _body_of(response: Any) -> Any:
    try:
        return json.loads(response.content)
    except (ValueError, RuntimeError):  # no JSON, or a stream that was not read
        return None


def http_facts(status: int, body: Any, headers: Mapping[str, str]) -> HTTPFacts:
    """Read a provider's error body, whatever its usual shape."""
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


def _submitted(status: int) -> Submitted:
    return "no" if 400 <= status < 500 and status not in AMBIGUOUS_4XX else "maybe"


def error_for_status(
    facts: HTTPFacts, provider: str, action: str, now: dt.datetime | None = None
) -> BackendError:
    """The error for an answer with this status; `submitted` is left to the caller."""
    status, said = facts.status, f": {facts.message}" if facts.message else ""
    where = f"{provider}, {action}, HTTP {status}"
    if facts.code:
        where += f" {facts.code}"
    if facts.request_id:
        where += f", request {facts.request_id}"
    wait = retry_after_s(facts.headers, now)
    cls, what, mend, retryable = _reading(status, provider, said, wait)
    if facts.should_retry is False:
        retryable = False
    return cls(
        what,
        where=where,
        mend=mend,
        retryable=retryable,
        status_code=status,
        request_id=facts.request_id,
        retry_after_s=wait,
        provider_code=facts.code,
    )


def _reading(
    status: int, provider: str, said: str, wait: float | None
) -> tuple[type[BackendError], str, str, bool]:
    """Class, first line, mend and `retryable` for a status."""
    if status == 401:
        mend = f"check the key for {provider}; `ftsdk doctor` tells where it is read from"
        return AuthError, f"{provider} does not accept the key{said}", mend, False
    if status == 403:
        mend = "use a key with the right to do this, or ask the owner of the account"
        return AuthError, f"{provider} does not allow this{said}", mend, False
    if status == 404:
        mend = "check the id, and that the key belongs to the account that has it"
        return NotFound, f"{provider} does not know this{said}", mend, False
    if status == 429:
        again = f"wait {wait:g} s and try again" if wait else "wait a little and try again"
        return RateLimited, f"{provider} refuses for now: too many requests{said}", again, True
    if status in AMBIGUOUS_4XX:
        return Unavailable, f"{provider} could not take it just now{said}", "try again", True
    if 400 <= status < 500:
        mend = "correct what the message names"
        return Rejected, f"{provider} refused{said}", mend, False
    if 300 <= status < 400:
        mend = "set base_url to the service itself; redirects are not followed, keys would go along"
        return UnexpectedResponse, f"{provider} answered with a redirect", mend, False
    if status == 501:
        mend = "the service does not offer this (any more)"
        return Unavailable, f"{provider} does not offer this{said}", mend, False
    return Unavailable, f"{provider} has a fault of its own{said}", "try again later", True


def _without_status(rule: _Rule, provider: str, action: str, source: BaseException) -> BackendError:
    where = f"{provider}, {action}"
    if rule == "before":
        return Unavailable(
            f"{provider} could not be reached: {scrub(source, 120) or type(source).__name__}",
            where=where,
            mend="check the network, the proxy and the base URL, then try again",
        )
    if rule == "unsendable":
        return Rejected(
            f"The request to {provider} could not be made: {scrub(source, 120)}",
            where=where,
            mend="check the base URL and the options",
        )
    if rule == "shape":
        return UnexpectedResponse(
            f"{provider} gave an answer that is not of the documented shape",
            where=where,
            mend="check that the base URL is the service itself; if so, update ftsdk",
            retryable=True,  # a proxy's page, most often: the next answer may be the service's own
        )
    return Unavailable(
        f"{provider} gave no whole answer: {scrub(source, 120) or type(source).__name__}",
        where=where,
        mend="try again",
    )


def retry_after_s(headers: Mapping[str, str], now: dt.datetime | None = None) -> float | None:
    """Seconds that the answer asks to wait: `retry-after-ms`, or `Retry-After` in either form.

    None when it asks nothing, or nothing that makes sense (negative, NaN, infinite, garbage).
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
