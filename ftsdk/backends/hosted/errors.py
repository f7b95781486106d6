"""Map exceptions of SDKs, httpx and sockets to `ftsdk.errors`.

`attempt` runs one call. For a create call (`sends=True`) the error's `submitted` is

- `"no"` for a definite refusal (a 4xx other than 408, 409, 425, 429), for a refusal for pace that is
  documented to come before acceptance (`PaceRefusal`), and for a failure that is provably before
  sending: name resolution, refused connection, TLS handshake;
- `"maybe"` for everything else.

The SDK's exception is not kept as the cause: it holds the request with its key, and so do its
frames. A `ProviderFault` with the same text, secrets masked, replaces it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from ftsdk.backends.capabilities import PaceRefusal
from ftsdk.backends.hosted.error_facts import HTTPFacts, facts_of, retry_after_s
from ftsdk.backends.hosted.exception_table import Rule, rule_of
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

_T = TypeVar("_T")

AMBIGUOUS_4XX = frozenset({408, 409, 425, 429})
"""Refusals after which the request may still have been accepted (a proxy's timeout, a race)."""


class ProviderFault(Exception):
    """What the SDK raised, as one line without secrets; the cause of our error."""


ErrorMapper = Callable[[HTTPFacts], FtsdkError | None]
"""A backend's own mapping of an error reply; None leaves it to `error_for_status`."""


def attempt(
    ask: Callable[[], _T],
    *,
    provider: str,
    action: str,
    sends: bool = False,
    submitted: Submitted | None = None,
    map_error: ErrorMapper | None = None,
    now: dt.datetime | None = None,
    pace: PaceRefusal | None = None,
) -> _T:
    """Run `ask` once and return its value; exceptions become errors of `ftsdk.errors`.

    `action` is shown to the user, for instance `POST /fine_tuning/jobs`. `sends` says that this is
    the create call, and `pace` how the provider refuses it for pace; `submitted` is set on any error
    instead (`"no"` for calls before the create).
    Exceptions that no table knows are bugs and pass through.
    """
    try:
        return ask()
    except FtsdkError as error:
        failure = error
        cause = None
    except Exception as error:
        found = _translate(error, provider, action, sends, map_error, now, pace)
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
    map_error: ErrorMapper | None,
    now: dt.datetime | None,
    pace: PaceRefusal | None,
) -> tuple[FtsdkError, ProviderFault] | None:
    rule, source = rule_of(error)
    if rule is None:
        return None
    cause = ProviderFault(
        f"{type(error).__module__.split('.')[0]}.{type(error).__name__}: {scrub(error)}"
        + ("" if source is error else f" ({type(source).__name__}: {scrub(source)})")
    )
    if rule == "status":
        facts = facts_of(error)
        mapped = (map_error and map_error(facts)) or (
            _pace_error(facts, provider, action, now, pace)
            if sends and pace is not None and pace.describes(facts.status, facts.whole)
            else error_for_status(facts, provider, action, now)
        )
        if sends and mapped.submitted is None:
            mapped.submitted = _submitted(facts.status)
        return mapped, cause
    made = _without_status(rule, provider, action, source)
    if sends:
        made.submitted = "no" if rule in ("before", "unsendable") else "maybe"
    return made, cause


def _submitted(status: int) -> Submitted:
    return "no" if 400 <= status < 500 and status not in AMBIGUOUS_4XX else "maybe"


def _pace_error(
    facts: HTTPFacts, provider: str, action: str, now: dt.datetime | None, pace: PaceRefusal
) -> BackendError:
    """Return the error of a create call that was refused for pace, so that no job was made."""
    error = error_for_status(replace(facts, status=429), provider, action, now)
    error.status_code, error.submitted = facts.status, "no"
    if pace.is_out_of_credit(facts.whole):
        error.retryable = False
        error.hint = f"add credit to the account at {provider}, or raise its limit, and try again"
    return error


def error_for_status(
    facts: HTTPFacts, provider: str, action: str, now: dt.datetime | None = None
) -> BackendError:
    """Return the error for a reply with this status; the caller sets `submitted`."""
    status, said = facts.status, f": {facts.message}" if facts.message else ""
    where = f"{provider}, {action}, HTTP {status}"
    if facts.code:
        where += f" {facts.code}"
    if facts.request_id:
        where += f", request {facts.request_id}"
    wait = retry_after_s(facts.headers, now)
    cls, what, hint, retryable = _reading(status, provider, said, wait)
    if facts.should_retry is False:
        retryable = False
    return cls(
        what,
        where=where,
        hint=hint,
        retryable=retryable,
        status_code=status,
        request_id=facts.request_id,
        retry_after_s=wait,
        provider_code=facts.code,
    )


def _reading(
    status: int, provider: str, said: str, wait: float | None
) -> tuple[type[BackendError], str, str, bool]:
    """Return class, first line, hint and `retryable` for a status."""
    if status == 401:
        hint = f"check the key for {provider}; `ftsdk doctor` shows where it is read from"
        return AuthError, f"{provider} does not accept the key{said}", hint, False
    if status == 403:
        hint = "use a key with the right to do this, or ask the owner of the account"
        return AuthError, f"{provider} does not allow this{said}", hint, False
    if status == 404:
        hint = "check the id, and that the key belongs to the account that has it"
        return NotFound, f"{provider} does not know this{said}", hint, False
    if status == 429:
        call_retried = f"wait {wait:g} s and try again" if wait else "wait a little and try again"
        return (
            RateLimited,
            f"{provider} refuses for now: too many requests{said}",
            call_retried,
            True,
        )
    if status in AMBIGUOUS_4XX:
        return Unavailable, f"{provider} could not take it just now{said}", "try again", True
    if 400 <= status < 500:
        hint = "correct what the message names"
        return Rejected, f"{provider} refused{said}", hint, False
    if 300 <= status < 400:
        hint = "set base_url to the service itself; redirects are not followed, keys would go along"
        return UnexpectedResponse, f"{provider} answered with a redirect", hint, False
    if status == 501:
        hint = "the service does not offer this (any more)"
        return Unavailable, f"{provider} does not offer this{said}", hint, False
    return Unavailable, f"{provider} has a fault of its own{said}", "try again later", True


def _without_status(rule: Rule, provider: str, action: str, source: BaseException) -> BackendError:
    where = f"{provider}, {action}"
    if rule == "before":
        return Unavailable(
            f"{provider} could not be reached: {scrub(source, 120) or type(source).__name__}",
            where=where,
            hint="check the network, the proxy and the base URL, then try again",
            reached=False,
        )
    if rule == "unsendable":
        return Rejected(
            f"The request to {provider} could not be made: {scrub(source, 120)}",
            where=where,
            hint="check the base URL and the options",
        )
    if rule == "shape":
        return UnexpectedResponse(
            f"{provider} sent a reply that does not have the documented shape",
            where=where,
            hint="check that the base URL is the service itself; if so, update ftsdk",
            retryable=True,  # often a proxy's page: the next reply may be the service's own
        )
    return Unavailable(
        f"{provider} sent no complete reply: {scrub(source, 120) or type(source).__name__}",
        where=where,
        hint="try again",
    )
