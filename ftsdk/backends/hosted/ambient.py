"""Keep what an SDK reads from the process's environment away from hosts it was not set for.

The official SDKs read more than the key: an organisation, a project, and custom headers, one of
which may replace the key itself. They read them for any base URL. A client made here sends only the
headers that the service's own variables name, and those only where `Service.companions_for` says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ftsdk.backends.hosted.api_keys import BoundKey, origin_of
from ftsdk.backends.hosted.redact import remember

_USUAL = frozenset(
    {
        "accept",
        "accept-encoding",
        "authorization",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "idempotency-key",
        "transfer-encoding",
        "user-agent",
    }
)
_SDK_PREFIX = "x-stainless-"
_NOT_OURS_TO_REPLACE = _USUAL - {"user-agent"}
_LONG = 12
"""Parts of a custom header's value from this length on are masked in messages and logs."""


def custom_headers(lines: str | None) -> dict[str, str]:
    """Return the headers of a variable such as `OPENAI_CUSTOM_HEADERS`: `name: value` on each line.

    Left out are the key's header and those that frame a message.
    """
    headers = {}
    for line in (lines or "").split("\n"):
        name, colon, value = line.partition(":")
        if colon and name.strip().lower() not in _NOT_OURS_TO_REPLACE:
            headers[name.strip()] = value.strip()
            for part in value.split():
                if len(part) >= _LONG:
                    remember(part)
    return headers


def without_ambient(client: Any, headers: Mapping[str, str]) -> None:
    """Replace the custom headers that an SDK's new client took from the process's environment."""
    client._custom_headers = dict(headers)  # its constructor adds to them and cannot leave any out


def header_guard(key: BoundKey, base_url: str, allowed: Mapping[str, str]) -> Callable[[Any], None]:
    """Return a hook that runs before each request of an httpx client.

    To the origin of `base_url` the key is the bound one, and a header that is neither usual nor
    `allowed` is removed.
    """
    names = {name.lower() for name in allowed} | _USUAL
    origin = origin_of(base_url)

    def guard(request: Any) -> None:
        if origin_of(str(request.url)) != origin or "Authorization" not in request.headers:
            return  # a signed address of a storage, for instance, gets no key
        for name in list(request.headers):
            if name.lower() not in names and not name.lower().startswith(_SDK_PREFIX):
                del request.headers[name]
        request.headers["Authorization"] = f"Bearer {key.reveal(base_url)}"

    return guard
