"""Base class of the doubles: routes, a lock, a clock, faults, and a record of requests."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import re
import secrets
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self, TypeVar

from ftsdk.testing.lab.faults import BEHAVIOURS, Faults
from ftsdk.testing.lab.messages import Refusal, Reply, Request
from ftsdk.testing.lab.server import Answer, Server
from ftsdk.testing.lab.timeline import Stage
from ftsdk.util.clock import Clock, SystemClock

_Method = TypeVar("_Method", bound=Callable[..., Any])
_KEPT_BODY_BYTES = 256 * 1024
_KEPT_REQUESTS = 200_000
_LONGEST_REFUSAL_S = 86_400
_FAULT_FIELDS = (
    "method",
    "path",
    "times",
    "skip",
    "every",
    "acted",
    "status",
    "retry_after",
    "field",
    "value",
)


def route(method: str, pattern: str) -> Callable[[_Method], _Method]:
    """Return a decorator that makes a method the handler of `METHOD pattern`.

    `{name}` matches one path segment, `{name:path}` any number of them.
    """

    def register(function: _Method) -> _Method:
        routes = [*getattr(function, "routes", []), (method.upper(), pattern)]
        function.routes = routes  # type: ignore[attr-defined]  # read by Double.__init_subclass__
        return function

    return register


class Double:
    """A simulated provider on loopback. See `ftsdk.testing.lab` for how to write one.

    `requests` is what arrived, in order. `observers` are called with each exchange that no fault
    changed; what they raise is collected in `violations`, so that a test can check both request and
    reply against a schema.
    """

    name: ClassVar[str] = "double"
    rehearsal: ClassVar[str] = ""
    """Arguments after `ftsdk create DATA` for a job that this double accepts; `ftsdk lab up` prints them."""
    settable: ClassVar[tuple[str, ...]] = ()
    """Names of the attributes that `ftsdk lab set` may change: `closed`, a quota, …"""
    per_account: ClassVar[tuple[str, ...]] = ()
    """Names of the attributes that each account has its own of: its jobs, its files."""
    _routes: ClassVar[tuple[tuple[str, re.Pattern[str], str], ...]] = ()

    def __init__(self, *, clock: Clock | None = None, port: int = 0) -> None:
        self.clock: Clock = clock or SystemClock()
        self.faults = Faults()
        self.requests: deque[Request] = deque(maxlen=_KEPT_REQUESTS)
        self.observers: list[Callable[[Request, Reply], None]] = []
        self.violations: list[str] = []
        self._lock = threading.RLock()
        self.page_size: int | None = None
        """The most items on one page of a list, for doubles whose provider has pages; None: as
        many as the provider would send."""
        self.salt = secrets.token_hex(8)
        """Seeds the ids; set it where a test needs the same ids again."""
        self._numbers: dict[str, int] = {}
        self.keys: set[str] = set()
        self.new_keys: dict[str, str] = {}
        """Keys that replace another key of the same account: new key to old key."""
        self._account: str | None = None
        self._away: dict[str, dict[str, Any]] = {}
        self._server = Server(self._answer, port)
        self._stopped = threading.Event()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        found = dict.fromkeys(
            (method, pattern, name)
            for one in reversed(cls.__mro__)
            for name, member in vars(one).items()
            for method, pattern in getattr(member, "routes", [])
        )
        cls._routes = tuple((m, _compiled(p), name) for m, p, name in found)

    # --- starting and stopping ---

    def start(self) -> Self:
        """Start serving, until `stop`; return the double."""
        self._stopped.clear()
        self._server.start()
        return self

    def stop(self) -> None:
        """Stop serving and close every connection."""
        self._stopped.set()
        self._server.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @contextlib.contextmanager
    def down(self) -> Iterator[None]:
        """Refuse connections while the block runs."""
        with self._server.down():
            yield

    def refuse_for(self, seconds: float) -> None:
        """Refuse connections for that many seconds, or until `stop`; then serve on the same port again."""
        self._server.stop()
        if not self._stopped.wait(seconds):
            self._server.start()

    @property
    def origin(self) -> str:
        """`http://127.0.0.1:PORT`."""
        return self._server.url

    @property
    def base_url(self) -> str:
        """The base URL for the official SDK; doubles add their path here."""
        return self.origin

    def variables(self) -> dict[str, str]:
        """The environment variables that point the official SDK and ftsdk at this double."""
        return {}

    # --- the requests that arrived ---

    def count(self, method: str | None = None, path: str | None = None) -> int:
        """Return how many requests arrived with this method and a path that matches the expression."""
        return len(self.asked(method, path))

    def asked(self, method: str | None = None, path: str | None = None) -> list[Request]:
        """Return the requests that arrived, oldest first, filtered like `count`."""
        return [
            request
            for request in list(self.requests)
            if (method is None or request.method == method)
            and (path is None or re.search(path, request.path))
        ]

    # --- for derived classes ---

    def now(self) -> dt.datetime:
        """Return the time by this double's clock."""
        return self.clock.now()

    def stamp(self) -> int:
        """Return the time in whole Unix seconds."""
        return int(self.now().timestamp())

    def new_id(self, prefix: str, length: int = 24) -> str:
        """Return the next id with this prefix. Ids differ between doubles and between runs."""
        number = self._numbers[prefix] = self._numbers.get(prefix, 0) + 1
        digest = hashlib.sha256(f"{self.salt}:{prefix}:{number}".encode()).hexdigest()
        return prefix + digest[:length]

    def in_account(self, key: str) -> dict[str, Any]:
        """Return what the account with this key has, by the names of `per_account`."""
        with self._lock:
            account = self.new_keys.get(key, key)
            if account == self._account:
                return {name: getattr(self, name) for name in self.per_account}
            return self._away.setdefault(account, {name: {} for name in self.per_account})

    def _enter_account(self, request: Request) -> None:
        """Put the state of the account that the request's key is of in place."""
        given = request.headers.get("api-key") or request.headers.get("authorization", "")
        key = given.removeprefix("Bearer ").removeprefix("Token ")
        if key not in self.keys:
            return  # refused by `before`, or a call without a key
        account = self.new_keys.get(key, key)
        if self._account is None:
            self._account = account  # what was put into the double before belongs to it
        if account == self._account:
            return
        entered = self.in_account(key)
        self._away[self._account] = {name: getattr(self, name) for name in self.per_account}
        del self._away[account]
        self._account = account
        for name, value in entered.items():
            setattr(self, name, value)

    def before(self, request: Request) -> None:
        """Check a request before its handler runs: key, quota. Raise `Refusal` to refuse it."""

    def not_found(self, request: Request) -> Reply:
        """Return the reply to a request that no route matches."""
        return Reply(404, {"error": {"message": f"no route {request.method} {request.path}"}})

    def headers(self, request: Request) -> Mapping[str, str]:
        """Return the headers that every reply has."""
        return {"x-request-id": f"req_{self.name}_{request.number:08d}"}

    def delay_s(self, request: Request) -> float:
        """Return how long a handled request takes, in seconds of real time."""
        return 0.0

    # --- dispatch ---

    def _control(self, request: Request) -> Answer:
        """Handle the lab's own endpoints.

        `POST /_lab/faults` adds faults or clears them, `POST /_lab/state` sets attributes. The
        behaviour `refuse` closes the port for its `seconds`, for these endpoints too.

        Only programs on this machine may call them: a page in a browser sends another Host or an
        Origin.
        """
        host = request.headers.get("host", "").rpartition(":")[0]
        if host not in ("127.0.0.1", "localhost") or "origin" in request.headers:
            return Answer(Reply(403, {"error": "only programs on this machine may call this"}))
        given = request.json() if request.method == "POST" else None
        if request.path == "/_lab/state" and isinstance(given, dict):
            return Answer(self._set(given))
        if request.method != "POST" or request.path != "/_lab/faults":
            return Answer(Reply(404, {"error": "the lab has POST /_lab/faults and /_lab/state"}))
        if not isinstance(given, dict):
            return Answer(Reply(400, {"error": "a fault is a JSON object"}))
        behaviour = given.get("behaviour")
        if behaviour == "refuse":
            return self._refuse(given.get("seconds"))
        if behaviour not in ("none", *BEHAVIOURS):
            known = ", ".join(("none", "refuse", *BEHAVIOURS))
            return Answer(Reply(400, {"error": f"behaviour is one of {known}"}))
        if behaviour == "none":
            self.faults.clear()
        else:
            allowed = set(_FAULT_FIELDS) & set(given)
            self.faults.add(behaviour, **{name: given[name] for name in allowed})
        return Answer(Reply(200, {"waiting": self.faults.waiting}))

    def _refuse(self, seconds: Any) -> Answer:
        if not isinstance(seconds, int | float) or not 0 < seconds <= _LONGEST_REFUSAL_S:
            problem = f"seconds is a number above 0 and up to {_LONGEST_REFUSAL_S}"
            return Answer(Reply(400, {"error": problem}))
        state = {"waiting": self.faults.waiting, "refuses_for_s": seconds}
        return Answer(Reply(200, state), then=lambda: self.refuse_for(seconds))

    def _set(self, given: Mapping[str, Any]) -> Reply:
        unknown = sorted(set(given) - set(self.settable))
        if unknown:
            known = ", ".join(self.settable) or "nothing"
            return Reply(400, {"error": f"{unknown[0]} cannot be set; {known} can"})
        for name, value in given.items():
            setattr(self, name, value)
        return Reply(200, {name: getattr(self, name) for name in self.settable})

    def _answer(self, request: Request) -> Answer:
        if request.path.startswith("/_lab/"):
            return self._control(request)
        body = request.body[:_KEPT_BODY_BYTES]
        kept = replace(request, body=body, received_at=self.now())
        with self._lock:
            self.requests.append(kept)
            fault = self.faults.take(request)
            if fault is None:
                normal = self._handle(request)
                self._observe(request, normal)
                return Answer(normal, delay_s=self.delay_s(request))
            handled = self._handle(request) if fault.handles_first else None
            if fault.behaviour == "twice":
                handled = self._handle(request)
            reply = fault.reply(handled)
            reply = replace(reply, headers={**self.headers(request), **reply.headers})
            return Answer(reply, fault, delay_s=self.delay_s(request) if handled else 0.0)

    def _handle(self, request: Request) -> Reply:
        self._enter_account(request)
        try:
            self.before(request)
            reply = self._dispatch(request)
        except Refusal as refusal:
            reply = refusal.reply
        return replace(reply, headers={**self.headers(request), **reply.headers})

    def _dispatch(self, request: Request) -> Reply:
        for method, pattern, name in self._routes:
            match = pattern.fullmatch(request.path)
            if match is not None and method == request.method:
                found = getattr(self, name)(request, **match.groupdict())
                return found if isinstance(found, Reply) else Reply(200, found)
        return self.not_found(request)

    def _observe(self, request: Request, reply: Reply) -> None:
        for observer in self.observers:
            try:
                observer(request, reply)
            except Exception as error:  # noqa: BLE001  # an observer must not break the exchange
                self.violations.append(f"{request.method} {request.path}: {error!s:.500}")


class KeyedDouble(Double):
    """A double that takes certain keys and whose jobs pass through `stages`.

    A derived class sets `own_stages` and `own_keys`. `storage` is the beginning of paths that are
    another host's at the provider: a key that arrives there is a violation.
    """

    own_stages: ClassVar[tuple[Stage, ...]] = ()
    own_keys: ClassVar[tuple[str, ...]] = ()
    storage: ClassVar[str] = ""

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        port: int = 0,
        stages: Sequence[Stage] | None = None,
        keys: Sequence[str] | None = None,
    ) -> None:
        super().__init__(clock=clock, port=port)
        self.stages = tuple(self.own_stages if stages is None else stages)
        self.keys = set(self.own_keys if keys is None else keys)
        self.lists_before_visible = 0

    def before(self, request: Request) -> None:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self.storage and request.path.startswith(self.storage):
            if given:
                self.violations.append(f"the key was sent to {self.storage}: {request.method}")
        elif given not in self.keys:
            raise self.wrong_key()

    def wrong_key(self) -> Refusal:
        """Return the refusal of a request without a key that is known."""
        return Refusal(401, {"error": {"message": "this key is not known"}})


def _compiled(pattern: str) -> re.Pattern[str]:
    """Return the route pattern as a regular expression; `{b:path}` also matches slashes."""
    text = re.sub(
        r"\\\{(\w+)(:path)?\\\}",
        lambda m: f"(?P<{m.group(1)}>{'.+' if m.group(2) else '[^/]+'})",
        re.escape(pattern),
    )
    return re.compile(text)
