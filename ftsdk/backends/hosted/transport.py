"""One account at one base URL: its key, its client, and one way to make a call.

A client is made for the key of the moment at the first call, never before, and follows no redirect;
it asks nothing again by itself. What it raises becomes an error of ours (see `mapping`).
"""

from __future__ import annotations

import abc
import threading
import weakref
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from ftsdk.backends.base import Context
from ftsdk.backends.hosted.api_keys import BoundKey
from ftsdk.backends.hosted.errors import Judge, attempt
from ftsdk.backends.hosted.key_trust import Place, Service, is_loopback, place_of
from ftsdk.backends.hosted.polling_rate import Pace
from ftsdk.backends.hosted.redact import guard_logs
from ftsdk.backends.hosted.response_checks import json_object, unexpected
from ftsdk.backends.hosted.retries import Reads
from ftsdk.errors import MissingExtra, Submitted, UnexpectedResponse

__all__ = ["HostedWire"]

CONNECT_S = 10.0
"""Longest wait for a connection, in seconds; a call as a whole may take `timeout_s`."""


class _Closes(Protocol):
    def close(self) -> None: ...


Client = TypeVar("Client", bound=_Closes)
_T = TypeVar("_T")


class HostedWire(abc.ABC, Generic[Client]):
    """Derive from it, say which `service` it is, make the client, and add the calls."""

    timeout_s = 60.0
    """How long a call may take where the configuration (`options.timeout_s`) says nothing."""
    judge: Judge | None = None
    """The service's own reading of a refusal, before the common one."""

    def __init__(self, context: Context, service: Service) -> None:
        self._context = context
        self._service = service
        self._place = self._placed(place_of(context, service))
        self.reads = Reads(context.clock)
        self.pace = Pace(context.clock)
        self._lock = threading.Lock()
        self._client: tuple[str, Client] | None = None

    def _placed(self, place: Place) -> Place:
        """The place as this service's paths want it."""
        return place

    @property
    def service(self) -> Service:
        """Whose wire it is."""
        return self._service

    @property
    def base_url(self) -> str:
        """Where it sends to, without a slash at its end."""
        return self._place.url

    @property
    def is_here(self) -> bool:
        """True for a double on this machine."""
        return is_loopback(self.base_url)

    # --- the client ---

    def key(self) -> BoundKey:
        """The key, read now. Raises `ConfigError` with the places looked at."""
        return self._place.key(self.service, self._context.env)

    def client(self) -> Client:
        """The client for the key of this moment; made anew when the key changes."""
        key = self.key()
        with self._lock:
            if self._client is None or self._client[0] != key.fingerprint:
                made = self._opened(key)
                weakref.finalize(self, made.close)  # a dropped backend leaves no open socket
                self._client = (key.fingerprint, made)
            return self._client[1]

    def close(self) -> None:
        """Close the connections; the next call makes a new client."""
        with self._lock:
            if self._client is not None:
                self._client[1].close()
                self._client = None

    def _opened(self, key: BoundKey) -> Client:
        seconds = float(self._context.options.get("timeout_s", self.timeout_s))
        try:
            made = self._made(key, seconds, min(CONNECT_S, seconds))
        except ImportError as error:
            raise MissingExtra(
                f"The backend {self.service.name!r} needs {error.name}, which is not installed",
                where=f"{self.service.title}, before anything was sent",
                hint=f"pip install 'ftsdk[{self.service.extra}]'",
                submitted="no",
            ) from error
        guard_logs()
        return made

    @abc.abstractmethod
    def _made(self, key: BoundKey, timeout_s: float, connect_s: float) -> Client:
        """A new client: for one origin, without redirects, without retries of its own."""

    # --- calls ---

    def once(
        self,
        action: str,
        ask: Callable[[], _T],
        *,
        sends: bool = False,
        submitted: Submitted | None = None,
        judge: Judge | None = None,
    ) -> _T:
        """One attempt. `sends` marks the create call, whose error says whether it may have arrived."""
        self.pace.count()
        return attempt(
            ask,
            provider=self.service.title,
            action=action,
            sends=sends,
            submitted=submitted,
            judge=judge or self.judge,
            now=self._context.clock.now(),
        )

    def again(self, action: str, ask: Callable[[], _T]) -> _T:
        """A call that changes nothing: asked again where that may help."""
        return self.reads(lambda: self.once(action, ask))

    def object_of(self, answer: Any, action: str) -> dict[str, Any]:
        """The JSON object of an answer (of whatever has its bytes in `content`)."""
        return json_object(bytes(answer.content), self.service.title, action)

    def odd(self, action: str, why: str) -> UnexpectedResponse:
        """The error for an answer without its documented shape."""
        return unexpected(self.service.title, action, why)
