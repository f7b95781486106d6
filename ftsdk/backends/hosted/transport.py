"""One account at one base URL: its key, its client, and the methods that make calls.

A client is made for the current key at the first call. It follows no redirects and retries nothing
by itself; its exceptions are mapped by `ftsdk.backends.hosted.errors`.
"""

from __future__ import annotations

import abc
import os
import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Generic, Protocol, TypeVar

from ftsdk.backends.base import Context
from ftsdk.backends.capabilities import PaceRefusal
from ftsdk.backends.hosted.account import account_of
from ftsdk.backends.hosted.api_keys import BoundKey, environment_now, origin_of
from ftsdk.backends.hosted.errors import ErrorMapper, attempt
from ftsdk.backends.hosted.key_trust import Address, Service, address_of, is_loopback
from ftsdk.backends.hosted.polling_rate import Pace
from ftsdk.backends.hosted.redact import guard_logs
from ftsdk.backends.hosted.response_checks import (
    json_object,
    json_value,
    unexpected_response,
)
from ftsdk.backends.hosted.retries import Retries
from ftsdk.backends.refusals import refuse_other_account
from ftsdk.errors import ConfigError, MissingExtra, Submitted, UnexpectedResponse
from ftsdk.types.account import named_account
from ftsdk.util.clock import Clock
from ftsdk.util.install_hints import install_command

CONNECT_S = 10.0
"""Longest wait for a connection, in seconds; a whole call may take `timeout_s`."""


_TRANSPORTS: weakref.WeakSet[HostedTransport[Any]] = weakref.WeakSet()
_OF_PARENTS: list[Any] = []
"""Clients that were made before this process was forked; never used, never closed."""


def _after_fork() -> None:
    for transport in list(_TRANSPORTS):
        transport._leave_to_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class _Closes(Protocol):
    def close(self) -> None: ...


Client = TypeVar("Client", bound=_Closes)
_T = TypeVar("_T")


class HostedTransport(abc.ABC, Generic[Client]):
    """Derive from it, pass the `Service`, make the client, and add the calls."""

    timeout_s = 60.0
    """Longest time for a call, unless `options.timeout_s` is configured."""
    map_error: ErrorMapper | None = None
    """The service's own mapping of an error reply, tried before the common one."""

    def __init__(self, context: Context, service: Service) -> None:
        self._context = context
        self._service = service
        self._address = self._adjusted(address_of(context, service))
        self.retries = Retries(context.clock)
        self.pace = Pace(context.clock)
        self._lock = threading.Lock()
        self._client: tuple[tuple[str, int], Client] | None = None
        self._closer: weakref.finalize[Any, Any] | None = None
        self._pid = os.getpid()
        _TRANSPORTS.add(self)

    def _adjusted(self, place: Address) -> Address:
        """Return the address as this service's paths need it."""
        return place

    @property
    def service(self) -> Service:
        """The service that calls go to."""
        return self._service

    @property
    def clock(self) -> Clock:
        """The clock of the session."""
        return self._context.clock

    @property
    def base_url(self) -> str:
        """Where calls go, without a trailing slash."""
        return self._address.url

    @property
    def pace_refusal(self) -> PaceRefusal | None:
        """How the service refuses a create call for pace; the same as in the capabilities."""
        return None

    @property
    def is_loopback(self) -> bool:
        """Whether the address is a double on this machine."""
        return is_loopback(self.base_url)

    def account(self) -> str:
        """Return the account that the key is of now; see `ftsdk.backends.hosted.account`."""
        env = environment_now(self._context.env)
        return self._account_of(self._key_in(env), env)

    def _account_of(self, key: BoundKey, env: Mapping[str, str]) -> str:
        if self._context.account is not None:
            return named_account(self._context.account)
        beside = self.service.companions_for(self.base_url, env)
        return account_of(self.service, self.base_url, key, beside, self._context.home)

    def companions(self) -> dict[str, str]:
        """Read the variables that are sent beside the key to this address."""
        return self.service.companions_for(self.base_url, self._context.env)

    # --- the client ---

    @property
    def has_moved(self) -> bool:
        """Whether the environment names another address than it did for this object."""
        try:
            return self._address_in(self._context.env) != self._address
        except ConfigError:
            return True

    def _address_in(self, env: Mapping[str, str]) -> Address:
        return self._adjusted(address_of(replace(self._context, env=env), self._service))

    def key(self) -> BoundKey:
        """Read the key now, together with the address.

        Raises `ConfigError` that lists where the key was looked for, and where the address is no
        longer the one that this object was made for; `WrongAccount` for the key of another account
        than `Context.accounts`.
        """
        env = environment_now(self._context.env)
        if self._address_in(env) != self._address:
            raise ConfigError(
                f"The address of {self.service.title} has changed since this backend was made",
                where=f"made for {origin_of(self.base_url)}, before anything was sent",
                hint="make the call again, or make a new ftsdk.Client",
            )
        key = self._key_in(env)
        if self._context.accounts:
            found = self._account_of(key, env)
            refuse_other_account(found, self._context.accounts, provider=self.service.title)
        return key

    def _key_in(self, env: Mapping[str, str]) -> BoundKey:
        return self._address.key(self.service, env, self._context.key_variable)

    def client(self) -> Client:
        """Return the client for the current key; a new one when the key has changed."""
        key = self.key()
        marker = (key.fingerprint, hash(tuple(sorted(self.companions().items()))))
        self._leave_to_parent()
        with self._lock:
            if self._client is None or self._client[0] != marker:
                made = self._open(key)
                # A dropped backend leaves no open socket.
                self._closer = weakref.finalize(self, made.close)
                self._client = (marker, made)
            return self._client[1]

    def _leave_to_parent(self) -> None:
        """In a forked process, give up what was made before: its connections are the parent's.

        Two processes on one connection would read each other's replies. The client is kept, since
        closing it could end the parent's connections.
        """
        if self._pid == os.getpid():
            return
        self._lock = threading.Lock()  # another thread may have held it when the process forked
        self.retries, self.pace = Retries(self._context.clock), Pace(self._context.clock)
        if self._client is not None:
            _OF_PARENTS.append(self._client[1])
            self._client = None
        if self._closer is not None:
            self._closer.detach()
            self._closer = None
        self._pid = os.getpid()

    def close(self) -> None:
        """Close the connections; the next call makes a new client."""
        self._leave_to_parent()
        with self._lock:
            if self._client is not None:
                self._client[1].close()
                self._client = None

    def _open(self, key: BoundKey) -> Client:
        seconds = float(self._context.options.get("timeout_s", self.timeout_s))
        try:
            made = self._new_client(key, seconds, min(CONNECT_S, seconds))
        except ImportError as error:
            raise MissingExtra(
                f"The backend {self.service.name!r} needs {error.name or error}, which is not "
                "installed",
                where=f"{self.service.title}, before anything was sent",
                hint=install_command("ftsdk", error.name, extra=self.service.extra),
                submitted="no",
            ) from error
        guard_logs()
        return made

    @abc.abstractmethod
    def _new_client(self, key: BoundKey, timeout_s: float, connect_s: float) -> Client:
        """Make a client: for one origin, without redirects, without retries of its own."""

    # --- calls ---

    def call(
        self,
        action: str,
        ask: Callable[[], _T],
        *,
        sends: bool = False,
        submitted: Submitted | None = None,
        map_error: ErrorMapper | None = None,
    ) -> _T:
        """Make one attempt and return what `ask` returns.

        `sends` says that this is the create call, whose error says whether the job may exist.
        """
        self.pace.count()
        return attempt(
            ask,
            provider=self.service.title,
            action=action,
            sends=sends,
            submitted=submitted,
            map_error=map_error or self.map_error,
            now=self._context.clock.now(),
            pace=self.pace_refusal,
        )

    def call_retried(self, action: str, ask: Callable[[], _T]) -> _T:
        """Make a call that changes nothing, with retries."""
        return self.retries(lambda: self.call(action, ask))

    def read_json(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """Make a GET, with retries. Returns the JSON value, which need not be an object."""
        action, asked = f"GET {path}", dict(query or {})

        def ask() -> Any:
            return json_value(self._get(path, asked), self.service.title, action)

        return self.call_retried(action, ask)

    def _get(self, path: str, query: Mapping[str, str]) -> bytes:
        """Make one GET and return its content. `read_json` needs it."""
        raise NotImplementedError(f"{type(self).__name__} has no _get")

    def next_part(self, action: str, ask: Callable[[], _T]) -> _T:
        """Read on in a reply that has begun. Its errors are mapped; it is no further call."""
        return attempt(
            ask,
            provider=self.service.title,
            action=action,
            sends=False,
            submitted=None,
            map_error=self.map_error,
            now=self._context.clock.now(),
        )

    def json_of(self, reply: Any, action: str) -> dict[str, Any]:
        """Return the JSON object of a reply (anything with its bytes in `content`)."""
        return json_object(bytes(reply.content), self.service.title, action)

    def unexpected(self, action: str, why: str) -> UnexpectedResponse:
        """Return the error for a reply without its documented shape."""
        return unexpected_response(self.service.title, action, why)
