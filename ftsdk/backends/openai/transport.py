"""Call the service through the official `openai` SDK: one origin, no retries of its own, raw JSON.

Replies are kept as the provider sent them: the SDK's typed objects turn missing fields into None,
and an error of `{}` into an object that is true.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ftsdk.backends.base import Context
from ftsdk.backends.capabilities import PaceRefusal
from ftsdk.backends.hosted import Address, BoundKey, HostedTransport, HTTPFacts, Service
from ftsdk.backends.hosted.ambient import custom_headers, header_guard, without_ambient
from ftsdk.backends.hosted.rate_limits import note_reply
from ftsdk.backends.openai.profiles import AZURE, Profile, profile_for
from ftsdk.errors import FtsdkError
from ftsdk.util.tls import tls_context

if TYPE_CHECKING:
    from openai import OpenAI

_MOST_PAGES = 10_000
_COMPANION_HEADERS = {
    "OpenAI-Organization": "OPENAI_ORG_ID",
    "OpenAI-Project": "OPENAI_PROJECT_ID",
}


class Transport(HostedTransport["OpenAI"]):
    """One service, through the official SDK."""

    timeout_s = 120.0

    def __init__(self, context: Context, chosen: Profile) -> None:
        super().__init__(context, chosen.service)
        self.profile = profile_for(chosen, self.base_url)

    def _adjusted(self, place: Address) -> Address:
        # Azure's variable usually holds only the resource's endpoint.
        short = (
            self._service == AZURE.service and not place.from_file and "/openai" not in place.url
        )
        return Address(place.url + "/openai/v1", place.from_file) if short else place

    @property
    def service(self) -> Service:
        return self.profile.service

    @property
    def pace_refusal(self) -> PaceRefusal | None:
        return self.profile.capabilities.pace_refusal

    def _new_client(self, key: BoundKey, timeout_s: float, connect_s: float) -> OpenAI:
        import openai

        beside = self.companions()
        headers = custom_headers(beside.get("OPENAI_CUSTOM_HEADERS"))
        for name, variable in _COMPANION_HEADERS.items():
            if variable in beside:
                headers[name] = beside[variable]
        client = openai.OpenAI(
            api_key=key.reveal(self.base_url),
            base_url=self.base_url,
            max_retries=0,
            timeout=openai.Timeout(timeout_s, connect=connect_s),
            http_client=openai.DefaultHttpxClient(
                verify=tls_context(),
                follow_redirects=False,
                event_hooks={
                    "request": [header_guard(key, self.base_url, headers)],
                    "response": [note_reply],
                },
            ),
        )
        without_ambient(client, headers)
        client.organization = client.project = None  # `headers` has those that may be sent
        client.admin_api_key = client.webhook_secret = None
        return client

    # --- calls ---

    def _json_call(self, action: str, ask: Callable[[OpenAI], Any]) -> Callable[[], dict[str, Any]]:
        return lambda: self.json_of(ask(self.client()), action)

    def read(self, action: str, ask: Callable[[OpenAI], Any]) -> dict[str, Any]:
        """Make a GET, with retries. Returns the JSON object."""
        return self.call_retried(action, self._json_call(action, ask))

    def _get(self, path: str, query: Mapping[str, str]) -> bytes:
        import httpx

        response = self.client().get(path, cast_to=httpx.Response, options={"params": dict(query)})
        return bytes(response.content)

    def read_bytes(self, action: str, ask: Callable[[OpenAI], Any]) -> bytes:
        """Make a GET, with retries. Returns the content of a file."""
        return self.call_retried(action, lambda: bytes(ask(self.client()).content))

    def call_once(self, action: str, ask: Callable[[OpenAI], Any]) -> dict[str, Any]:
        """Make one call that is not a create, in one attempt. Returns the JSON object."""
        return self.call(action, self._json_call(action, ask))

    def create(
        self,
        action: str,
        ask: Callable[[OpenAI], Any],
        map_error: Callable[[HTTPFacts], FtsdkError | None] | None = None,
    ) -> dict[str, Any]:
        """Make the create call, in one attempt; its error says whether the job may exist."""
        return self.call(action, self._json_call(action, ask), sends=True, map_error=map_error)

    def pages(
        self,
        action: str,
        ask: Callable[[OpenAI, Mapping[str, Any]], Any],
        *,
        size: int = 100,
        whole: bool = False,
    ) -> Iterator[list[dict[str, Any]]]:
        """Yield the pages of a list, in the provider's order, each item once.

        An item without an id is left out; with `whole` it raises `UnexpectedResponse`.

        A cursor that does not advance ends the iteration, so that a faulty service cannot make it
        endless.
        """
        seen: set[str] = set()
        query: dict[str, Any] = {"limit": size}
        for _ in range(_MOST_PAGES):
            page = self.read(action, lambda client: ask(client, query))  # noqa: B023  # called at once
            items = page.get("data")
            if not isinstance(items, list):
                raise self.unexpected(action, "it has no list `data`")
            fresh = []
            for item in items:
                identity = item.get("id") if isinstance(item, dict) else None
                if whole and not isinstance(identity, str):
                    raise self.unexpected(action, "an item of the list has no id")
                if isinstance(identity, str) and identity not in seen:
                    seen.add(identity)
                    fresh.append(item)
            yield fresh
            if not page.get("has_more") or not fresh:
                return
            query = {"limit": size, "after": fresh[-1]["id"]}
