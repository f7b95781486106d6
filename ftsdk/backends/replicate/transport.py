"""Call Replicate's API over httpx: one origin, no redirects, raw JSON.

The SDK is not used: version 1.0.7 refuses the status `aborted`, drops `metrics`, and repeats reads
ten times with an unlimited `Retry-After`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from ftsdk.backends.base import Context
from ftsdk.backends.capabilities import PaceRefusal
from ftsdk.backends.hosted import (
    Address,
    BoundKey,
    HostedTransport,
    Service,
    checked_id,
    spend_limit_error,
)
from ftsdk.backends.upload_progress import CountedFile, current_listener
from ftsdk.util.tls import tls_context

if TYPE_CHECKING:
    import httpx

SERVICE = Service(
    name="replicate",
    title="Replicate",
    keys=("REPLICATE_API_TOKEN",),
    url_variables=("REPLICATE_BASE_URL",),
    hosts=("api.replicate.com",),
    url="https://api.replicate.com",
    extra="replicate",
)
PACE_REFUSAL = PaceRefusal(
    statuses=frozenset({429}),
    text_at=("detail",),
    named_at=(("detail",),),
    pattern=r"^Request was throttled\.",
    source="replicate.com/docs/topics/predictions/rate-limits (2026-11): a request over the limit is "
    "answered with 429 and this text",
)
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{2,127}")
_MOST_PAGES = 500


def known_id(value: str, what: str = "training") -> str:
    """Return `value`, safe for a path. Raises `NotFound` when it cannot be an id of Replicate's."""
    hint = "ids are letters and digits; `ftsdk list` shows those of this machine"
    return checked_id(value, _ID, SERVICE.title, what, hint)


class Transport(HostedTransport["httpx.Client"]):
    """Replicate's calls."""

    map_error = staticmethod(
        spend_limit_error(
            SERVICE.title,
            "Replicate requires credit first",
            "add credit or a payment method at Replicate, then try again",
        )
    )

    def __init__(self, context: Context) -> None:
        super().__init__(context, SERVICE)

    def _adjusted(self, place: Address) -> Address:
        return Address(place.url.removesuffix("/v1"), place.from_file)

    @property
    def pace_refusal(self) -> PaceRefusal | None:
        return PACE_REFUSAL

    def _new_client(self, key: BoundKey, timeout_s: float, connect_s: float) -> httpx.Client:
        import httpx

        return httpx.Client(
            verify=tls_context(),
            base_url=self.base_url,
            headers={"Authorization": f"Bearer {key.reveal(self.base_url)}"},
            timeout=httpx.Timeout(timeout_s, connect=connect_s),
            follow_redirects=False,
        )

    # --- calls ---

    def _json_call(
        self, action: str, ask: Callable[[httpx.Client], httpx.Response]
    ) -> Callable[[], dict[str, Any]]:
        def call() -> dict[str, Any]:
            response = ask(self.client())
            response.raise_for_status()
            return self.json_of(response, action)

        return call

    def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Make a GET, with retries. Returns the JSON object."""
        action, params = f"GET {path}", dict(query or {})
        return self.call_retried(
            action, self._json_call(action, lambda c: c.get(path, params=params))
        )

    def _get(self, path: str, query: Mapping[str, str]) -> bytes:
        response = self.client().get(path, params=dict(query))
        response.raise_for_status()
        return response.content

    def post(
        self, path: str, body: Mapping[str, Any] | None = None, *, creates: bool = False
    ) -> dict[str, Any]:
        """Make a call that changes something, in one attempt. Returns the JSON object."""
        action, sent = f"POST {path}", dict(body or {})
        return self.call(
            action, self._json_call(action, lambda c: c.post(path, json=sent)), sends=creates
        )

    def upload(self, path: Path, filename: str, metadata: Mapping[str, str]) -> dict[str, Any]:
        """Upload a file. A second upload makes another file and costs nothing."""

        def ask(client: httpx.Client) -> httpx.Response:
            with CountedFile(path, current_listener()) as content:
                return client.post(
                    "/v1/files",
                    files={"content": (filename, content, "application/jsonl")},
                    data={"metadata": json.dumps(dict(metadata))},
                )

        action = "POST /v1/files"
        return self.call_retried(action, self._json_call(action, ask))

    def pages(self, path: str) -> Iterator[Mapping[str, Any]]:
        """Yield the rows of a paged list, newest first; a repeated cursor ends it."""
        query: dict[str, str] = {}
        seen: set[str] = set()
        for _ in range(_MOST_PAGES):
            page = self.get(path, query)
            rows = page.get("results")
            if not isinstance(rows, list):
                raise self.unexpected(f"GET {path}", "the list has no `results`")
            yield from (row for row in rows if isinstance(row, Mapping))
            # Only the cursor of `next` is used: its host must not get the key.
            following = page.get("next")
            asked = urlsplit(following).query if isinstance(following, str) else ""
            cursor = parse_qs(asked).get("cursor")
            if not cursor or cursor[0] in seen:
                return
            seen.add(cursor[0])
            query = {"cursor": cursor[0]}
