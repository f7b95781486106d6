"""Webhooks: a verifier of Standard Webhooks (OpenAI, Azure, Replicate), a handler and an ASGI app.

A verified webhook makes ftsdk read the job from the provider's API. The state of the job is taken
from there, never from the webhook's body.

Each event is handled at least once: its id is recorded after the handler has run. Where a process is
killed in between, the provider's next attempt is handled, so a handler may see an event twice.

```python
verifier = WebhookVerifier.from_env("OPENAI_WEBHOOK_SECRET", home=home)
app = webhook_app(verifier, refresh_on_event(client))            # any ASGI server mounts it
status = handle(verifier, headers, body, on_event)               # or a plain function
```
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import logging
import os
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftsdk.errors import ConfigError, FtsdkError, UsageError
from ftsdk.store.webhook_ids import SeenIds
from ftsdk.util.arguments import MAPPING, NUMBER, PATH, TEXT, TEXTS, checked
from ftsdk.util.clock import Clock, SystemClock

if TYPE_CHECKING:
    from ftsdk.client import Client

__all__ = [
    "MAX_BODY_BYTES",
    "SeenIds",
    "WebhookEvent",
    "WebhookRefused",
    "WebhookVerifier",
    "handle",
    "refresh_on_event",
    "webhook_app",
]

_log = logging.getLogger("ftsdk.webhooks")
MAX_BODY_BYTES = 1 << 20
TOLERANCE_S = 300
_SHORTEST_SECRET = 16
_MOST_SIGNATURES = 16
_ID = re.compile(r"[\x21-\x7e]{1,256}")
_STAMP = re.compile(r"[0-9]{1,12}")
_JOB = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{2,255}")


class WebhookRefused(FtsdkError):
    """The request is not a webhook of this provider. `status` is the HTTP status to reply with."""

    code = "webhook_refused"
    exit_code = 4
    status: int = 400


@dataclass(frozen=True)
class WebhookEvent:
    """A webhook with a valid signature. `provider_job_id` is the job it is about, if it names one.

    `is_repeat` is True for an id that was recorded as handled: providers send again for 72 hours.
    """

    id: str
    type: str
    provider_job_id: str | None
    body: Mapping[str, Any]
    is_repeat: bool = False


class WebhookVerifier:
    """Verifies the signature and the timestamp of webhooks, and recognizes repeated ones.

    `secrets` are the provider's webhook secrets: `whsec_` and base64, or plain text for services
    that sign with it. Give both while one is rotated. Raises `ConfigError` for an empty, short or
    malformed secret; anybody could sign with an empty one.
    """

    @checked(secrets=TEXTS, tolerance_s=NUMBER)
    def __init__(
        self,
        secrets: str | Sequence[str],
        *,
        seen: SeenIds | None = None,
        clock: Clock | None = None,
        tolerance_s: int = TOLERANCE_S,
    ) -> None:
        given = [secrets] if isinstance(secrets, str) else list(secrets)
        if not given or not all(isinstance(one, str) for one in given):
            raise _bad_secret("none is given" if not given else "it is not text")
        self._keys = tuple(_key(one) for one in given)
        self._clock = clock or SystemClock()
        self._seen = seen or SeenIds(clock=self._clock)
        if not 0 < tolerance_s <= 3600:
            raise ConfigError(
                f"A tolerance of {tolerance_s} s is not between 1 and 3600",
                where="WebhookVerifier(tolerance_s=…)",
                hint="300 is the standard's default",
            )
        self._tolerance_s = tolerance_s

    @classmethod
    @checked(variable=TEXT, home=PATH, env=MAPPING)
    def from_env(
        cls,
        variable: str = "OPENAI_WEBHOOK_SECRET",
        *,
        home: Path | None = None,
        env: Mapping[str, str] | None = None,
        clock: Clock | None = None,
    ) -> WebhookVerifier:
        """Return a verifier with the secrets of an environment variable, separated by spaces.

        With `home`, the ids of handled webhooks are kept there across restarts.
        """
        value = (os.environ if env is None else env).get(variable, "")
        if not value.strip():
            raise _bad_secret("it is not set", f"the variable {variable}")
        seen = SeenIds(None if home is None else Path(home), clock)
        return cls(value.split(), seen=seen, clock=clock)

    def __repr__(self) -> str:
        return f"<WebhookVerifier with {len(self._keys)} secret(s)>"

    def verify(
        self, headers: Mapping[str, str] | Iterable[tuple[Any, Any]], body: bytes
    ) -> WebhookEvent:
        """Return the event of a signed request. Raises `WebhookRefused` for any other request.

        Call `handled` with the event once it is handled: its id is not recorded before. Names in `headers` may be text or bytes, in upper or lower case. Each of the three webhook
        headers may be present only once.
        """
        if not isinstance(body, bytes | bytearray | memoryview):
            raise UsageError(
                f"The body of a webhook must be bytes, not {type(body).__name__}",
                where="the argument body=",
                hint="pass the raw body of the request: the signature is over its bytes",
            )
        body = bytes(body)
        if len(body) > MAX_BODY_BYTES:
            raise _refused("the body is larger than 1 MB", 413)
        found = _webhook_headers(headers)
        identity, stamp = found["webhook-id"], found["webhook-timestamp"]
        if not _ID.fullmatch(identity) or not _STAMP.fullmatch(stamp):
            raise _refused("its id or timestamp is malformed")
        if abs(self._clock.now().timestamp() - int(stamp)) > self._tolerance_s:
            raise _refused(f"its time is more than {self._tolerance_s} s from now")
        if not self._signed(f"{identity}.{stamp}.".encode() + body, found["webhook-signature"]):
            raise _refused("its signature does not match", 401)
        return self._event(identity, body)

    def _signed(self, content: bytes, header: str) -> bool:
        """Return whether a signature was made with one of the secrets; compares every pair."""
        valid = False
        wanted = [hmac.digest(key, content, "sha256") for key in self._keys]
        for part in header.split(" ")[:_MOST_SIGNATURES]:
            version, _, text = part.partition(",")
            if version != "v1":
                continue
            try:
                given = base64.b64decode(text.encode("ascii"), validate=True)
            except (binascii.Error, ValueError):
                continue
            for one in wanted:
                valid |= hmac.compare_digest(one, given)
        return valid

    def _event(self, identity: str, body: bytes) -> WebhookEvent:
        try:
            document = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise _refused("its body is not JSON") from error
        if not isinstance(document, dict):
            raise _refused("its body is not a JSON object")
        kind = document.get("type") or document.get("status") or ""
        data = document.get("data")
        job = data.get("id") if isinstance(data, dict) else document.get("id")
        usable = isinstance(job, str) and _JOB.fullmatch(job) is not None
        return WebhookEvent(
            id=identity,
            type=kind[:100] if isinstance(kind, str) else "",
            provider_job_id=job if usable else None,
            body=document,
            is_repeat=self._seen.has(identity),
        )

    def handled(self, event: WebhookEvent) -> None:
        """Record that the event was handled: its id is a repeat for 72 hours."""
        self._seen.add(event.id)

    def being_handled(self, event: WebhookEvent) -> AbstractContextManager[bool]:
        """Return a context that keeps others from handling the event; it gives False if one still does."""
        return self._seen.lock(event.id)

    def was_handled(self, event: WebhookEvent) -> bool:
        """Return True if the event was recorded as handled."""
        return self._seen.has(event.id)

    def forget(self, event: WebhookEvent) -> None:
        """Forget the event's id, so that the provider's next attempt is handled again."""
        self._seen.forget(event.id)


def _key(secret: str) -> bytes:
    text = secret.strip()
    if not text:
        raise _bad_secret("it is empty: anybody could sign with it")
    key = text.encode()
    if text.startswith("whsec_"):
        try:
            key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
        except (binascii.Error, ValueError):
            # `from error` would show the secret in the traceback's frames.
            raise _bad_secret("the text after whsec_ is not base64") from None
    if len(key) < _SHORTEST_SECRET:
        raise _bad_secret(f"it has fewer than {_SHORTEST_SECRET} bytes")
    return key


def _bad_secret(why: str, where: str = "the webhook secret") -> ConfigError:
    return ConfigError(
        f"The webhook secret cannot be used: {why}",
        where=where,
        hint="copy the whole secret that the provider shows for the endpoint (whsec_…)",
    )


def _refused(why: str, status: int = 400) -> WebhookRefused:
    return WebhookRefused(
        f"The webhook is refused: {why}",
        where="signature check",
        hint="compare the secret with the provider's page for the endpoint, and check the clock",
        status=status,
    )


_NEEDED = ("webhook-id", "webhook-timestamp", "webhook-signature")


def _webhook_headers(headers: Mapping[str, str] | Iterable[tuple[Any, Any]]) -> dict[str, str]:
    """Return the three headers. Raises `WebhookRefused` when one is missing or present twice."""
    found: dict[str, str] = {}
    pairs: list[Any] = list(headers.items() if isinstance(headers, Mapping) else headers)
    if not all(isinstance(pair, Sequence) and len(pair) == 2 for pair in pairs):
        raise UsageError(
            "The headers of a webhook must be a mapping or pairs of a name and a value",
            where="the argument headers=",
        )
    for raw_name, raw_value in pairs:
        name = _text(raw_name).lower()
        if name not in _NEEDED:
            continue
        if name in found:
            raise _refused(f"the header {name} is present twice")
        found[name] = _text(raw_value)
    missing = [name for name in _NEEDED if not found.get(name)]
    if missing:
        raise _refused(f"the header {missing[0]} is missing")
    return found


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


# --- handlers --------------------------------------------------------------------------------


OnEvent = Callable[[WebhookEvent], object]


def handle(
    verifier: WebhookVerifier,
    headers: Mapping[str, str] | Iterable[tuple[Any, Any]],
    body: bytes,
    on_event: OnEvent,
) -> int:
    """Verify one request, call `on_event` for it, and return the HTTP status to reply with.

    204: handled, now or before. 4xx: not a webhook of the provider. 503: `on_event` raised an
    `FtsdkError`, the id could not be recorded, or another process still handles the event; the
    provider then sends the webhook again. Any other exception of `on_event` is raised.

    The id is recorded after `on_event` has returned. When the process is killed in between, the event
    is handled again: `on_event` is called at least once, and never twice at the same time.
    """
    try:
        event = verifier.verify(headers, body)
        if event.is_repeat:
            return 204
        with verifier.being_handled(event) as is_free:
            if not is_free:
                return 503
            if not verifier.was_handled(event):
                on_event(event)
                verifier.handled(event)
    except WebhookRefused as error:
        _log.warning("%s", error.what)
        return error.status
    except UsageError:
        raise
    except FtsdkError as error:
        _log.warning("a webhook was not handled: %s", error.what)
        return 503
    return 204


def refresh_on_event(client: Client, provider: str = "openai") -> OnEvent:
    """Return a handler that refreshes the job an event names, if the journal has it."""

    def refresh(event: WebhookEvent) -> None:
        if event.provider_job_id is None:
            return
        known = client.journal.find_provider_job(provider, event.provider_job_id)
        if known is not None:
            client.get_job(known.id).refresh()

    return refresh


_Scope = Mapping[str, Any]
_Receive = Callable[[], Awaitable[Mapping[str, Any]]]
_Send = Callable[[Mapping[str, Any]], Awaitable[None]]
_App = Callable[[_Scope, _Receive, _Send], Awaitable[None]]


def webhook_app(verifier: WebhookVerifier, on_event: OnEvent) -> _App:
    """Return an ASGI application that handles webhooks sent by POST, at any path."""

    async def app(scope: _Scope, receive: _Receive, send: _Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        if scope["method"] != "POST":
            await _reply(send, 405, ((b"allow", b"POST"),))
            return
        body = await _body(receive)
        if body is None:
            await _reply(send, 413)
            return
        import anyio.to_thread

        status = await anyio.to_thread.run_sync(handle, verifier, scope["headers"], body, on_event)
        await _reply(send, status)

    return app


async def _body(receive: _Receive) -> bytes | None:
    """Return the whole body; None when it is larger than 1 MB or the client disconnects."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            return None
        if not message.get("more_body"):
            return bytes(body)


async def _reply(send: _Send, status: int, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
    start = {"type": "http.response.start", "status": status}
    await send({**start, "headers": [*headers, (b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


async def _lifespan(receive: _Receive, send: _Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
