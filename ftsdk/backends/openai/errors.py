"""Recognise refusals which mean that fine-tuning is closed, for all or for this account."""

from __future__ import annotations

import re

from ftsdk.backends.hosted import HTTPFacts
from ftsdk.backends.hosted.errors import ErrorMapper
from ftsdk.errors import FtsdkError, ProviderClosed

_CODES = frozenset({"fine_tuning_not_available", "fine_tuning_disabled"})
_WORDS = re.compile(
    r"(?is)fine.?tun.{0,200}(winding down|not (?:accessible|available|authorized|allowed|supported"
    r" for (?:this|your))|no longer|deprecated|new users|discontinued)"
    r"|(not authorized|not allowed|no longer).{0,80}fine.?tun"
)


def closed_error(title: str, action: str) -> ErrorMapper:
    """Return a mapper for the create call that raises `ProviderClosed` for such refusals.

    The exact status and code of a closed account are not published.
    """

    def map_error(facts: HTTPFacts) -> FtsdkError | None:
        said = facts.status in (400, 403, 404, 410) and _WORDS.search(facts.message)
        if facts.code not in _CODES and not said:
            return None
        return ProviderClosed(
            f"{title} takes no new fine-tuning jobs from this account: {facts.message}",
            where=f"{title}, {action}, HTTP {facts.status}"
            + (f", request {facts.request_id}" if facts.request_id else ""),
            hint="choose another provider; jobs and models that are there stay readable",
            status_code=facts.status,
            request_id=facts.request_id,
        )

    return map_error
