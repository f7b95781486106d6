"""Call Together's API through its official SDK: one origin, no retries of its own, raw JSON.

Every call uses the SDK's client (`get`, `post`, … and the upload exchange). The SDK's typed
wrappers are not used where they would make calls of their own (`create` makes three) or lose fields
(see `job_mapping`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from ftsdk.backends.base import Context
from ftsdk.backends.capabilities import OPENAI_ENVELOPE, PaceRefusal
from ftsdk.backends.hosted import (
    Address,
    BoundKey,
    HostedTransport,
    Service,
    checked_id,
    mask_known,
    spend_limit_error,
)
from ftsdk.backends.hosted.ambient import custom_headers, header_guard, without_ambient
from ftsdk.backends.hosted.rate_limits import note_reply
from ftsdk.backends.together.request import with_secrets
from ftsdk.backends.upload_progress import current_listener
from ftsdk.errors import Unavailable
from ftsdk.util.tls import tls_context

if TYPE_CHECKING:
    import httpx
    from together import Together

SERVICE = Service(
    name="together",
    title="Together",
    keys=("TOGETHER_API_KEY",),
    url_variables=("TOGETHER_BASE_URL",),
    companions=("TOGETHER_PROJECT_ID", "TOGETHER_CUSTOM_HEADERS"),
    hosts=("api.together.ai", "api.together.xyz"),
    url="https://api.together.ai",
    extra="together",
)
PACE_REFUSAL = PaceRefusal(
    statuses=frozenset({429}),
    text_at=("error", "message"),
    named_at=OPENAI_ENVELOPE,
    pattern=r"rate_?limit|request_limited|token_limited",
    source="docs.together.ai/docs/error-codes and /rate-limits (2026-11): 429 refuses a request over "
    "the rate limit; its own SDK sends the call again",
)
_INFERENCE_URL = "https://api-inference.together.ai"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{2,127}")


def known_id(value: str, what: str = "job") -> str:
    """Return `value`, safe for a path. Raises `NotFound` when it cannot be an id of Together's."""
    hint = "ids look like ft-0a1b2c3d-…; `ftsdk list` shows those of this machine"
    return checked_id(value, _ID, SERVICE.title, what, hint)


class Transport(HostedTransport["Together"]):
    """Together's calls."""

    map_error = staticmethod(
        spend_limit_error(
            SERVICE.title,
            "Together's spend limit is reached",
            "raise the limit or add credits at Together, then try again",
        )
    )

    def __init__(self, context: Context) -> None:
        super().__init__(context, SERVICE)

    def _adjusted(self, place: Address) -> Address:
        # Older SDKs wanted `/v1` at the end; now each path contains it.
        return Address(place.url.removesuffix("/v1"), place.from_file)

    @property
    def chat_url(self) -> str:
        """Where chat goes: Together's inference host, unless the base URL is another service's."""
        path = "/v1/chat/completions"
        return f"{_INFERENCE_URL}{path}" if self.base_url == SERVICE.url else path

    @property
    def pace_refusal(self) -> PaceRefusal | None:
        return PACE_REFUSAL

    def _new_client(self, key: BoundKey, timeout_s: float, connect_s: float) -> Together:
        import httpx
        from together import DefaultHttpxClient, Together

        headers = custom_headers(self.companions().get("TOGETHER_CUSTOM_HEADERS"))
        timeout = httpx.Timeout(timeout_s, connect=connect_s)
        client = Together(
            api_key=key.reveal(self.base_url),
            base_url=self.base_url,
            max_retries=0,
            timeout=timeout,
            http_client=DefaultHttpxClient(
                verify=tls_context(),
                timeout=timeout,  # the upload to storage goes past the SDK's own timeout
                follow_redirects=False,
                event_hooks={
                    "request": [header_guard(key, self.base_url, headers)],
                    "response": [note_reply],
                },
            ),
        )
        without_ambient(client, headers)
        client.project_id = self.project_id()
        return client

    def project_id(self) -> str | None:
        """Return `TOGETHER_PROJECT_ID` where it may be sent to this address."""
        return self.companions().get("TOGETHER_PROJECT_ID")

    # --- calls ---

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Make a GET, with retries. Returns the JSON object."""
        action = f"GET {path}"

        def ask() -> dict[str, Any]:
            import httpx

            response = self.client().get(
                path, cast_to=httpx.Response, options={"params": dict(query or {})}
            )
            return self.json_of(response, action)

        return self.call_retried(action, ask)

    def _get(self, path: str, query: Mapping[str, str]) -> bytes:
        import httpx

        response = self.client().get(path, cast_to=httpx.Response, options={"params": dict(query)})
        return bytes(response.content)

    def send(
        self,
        method: Literal["POST", "PATCH", "DELETE"],
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        creates: bool = False,
        joins: bool = False,
    ) -> dict[str, Any]:
        """Make a call that changes something, in one attempt. Returns the JSON object.

        `creates` marks the create call. With `joins`, the keys of other services that the body
        needs are added.
        """
        action = f"{method} {urlsplit(path).path}"

        def ask() -> dict[str, Any]:
            import httpx

            client = self.client()
            response: httpx.Response
            if method == "POST" and joins:
                # Built only here, so that no frame of an error keeps the other services' keys.
                response = client.post(
                    path, cast_to=httpx.Response, body=with_secrets(body or {}, self._context.env)
                )
            elif method == "POST":
                response = client.post(path, cast_to=httpx.Response, body=body)
            elif method == "PATCH":
                response = client.patch(path, cast_to=httpx.Response, body=body)
            else:
                response = client.delete(path, cast_to=httpx.Response, body=body)
            if method == "DELETE" and not response.content:
                return {}
            return self.json_of(response, action)

        return self.call(action, ask, sends=creates)

    def ask(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Make a POST that changes nothing, with retries. Returns the JSON object."""
        return self.retries(lambda: self.send("POST", path, body))

    def upload(self, path: Path) -> str:
        """Upload a file and return its id at Together, also where it exists already (409).

        The exchange is the SDK's: the checksum first, then the bytes to storage (in parts above 5
        GiB), then the confirmation.
        """
        report, action = current_listener(), "POST /v1/files"

        def ask() -> str:
            try:
                uploaded = self.client().files.upload(
                    path,
                    purpose="fine-tune",
                    check=False,
                    progress_callback=lambda at: report(at.uploaded_bytes, at.total_bytes),
                )
            except (AssertionError, AttributeError, KeyError, TypeError) as error:
                raise self.unexpected(action, "the upload exchange was interrupted") from error
            except Exception as error:
                if type(error) is not Exception:
                    raise
                # The SDK raises a bare Exception for a failed part.
                raise Unavailable(
                    "Together did not accept a part of the file",
                    where=f"{SERVICE.title}, PUT of a part",
                    hint="try again; the upload starts again",
                ) from error
            return mask_known(str(getattr(uploaded, "id", "") or "").encode()).decode()

        identity = self.call_retried(action, ask)
        if not _ID.fullmatch(identity):
            raise self.unexpected(action, "no usable file id came back")
        return identity
