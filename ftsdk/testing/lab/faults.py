"""Faults on demand: which request goes wrong, how, and whether the double acted on it first."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ftsdk.testing.lab.wire import Reply, Request

__all__ = ["BEHAVIOURS", "Behaviour", "Fault", "Faults"]

Behaviour = Literal[
    "reset",  # the connection is reset (RST)
    "close",  # the connection is closed without an answer
    "hang",  # no answer comes, the connection stays open
    "drip",  # the answer comes byte by byte, `pause_s` apart
    "cut",  # the answer stops in the middle of its body
    "html",  # HTTP 200 with a page of HTML
    "empty",  # HTTP 200 with nothing
    "status",  # HTTP `status`, with `retry_after`, `headers`, `body` if given
    "redirect",  # HTTP 302 to `value`
    "set",  # the answer's field `field` becomes `value` (an unknown status, for instance)
    "rename",  # the answer's field `field` is called `value`
    "drop",  # the answer's field `field` is left out
    "repeat",  # each item of the answer's list comes twice
    "twice",  # the double acts twice: two jobs out of one request
]
_NEEDS_THE_ANSWER = frozenset({"drip", "cut", "set", "rename", "drop", "repeat", "twice"})
_LISTS = ("data", "results")
BEHAVIOURS: tuple[str, ...] = Behaviour.__args__  # type: ignore[attr-defined]  # the words of a Literal


@dataclass
class Fault:
    """One fault, waiting for its request.

    `method` and `path` (a regular expression, searched) choose requests, None means any; the first
    `skip` matches go well, the next `times` (None: all) go wrong. With `acted` the double does
    what was asked before the fault shows: the job exists, only the answer is lost.
    """

    behaviour: Behaviour
    method: str | None = None
    path: str | None = None
    times: int | None = 1
    skip: int = 0
    acted: bool = False
    status: int = 503
    retry_after: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    field: str = "id"
    value: Any = None
    pause_s: float = 0.02
    hits: int = 0

    def matches(self, request: Request) -> bool:
        """True when this request is of the kind that is meant."""
        if self.method is not None and request.method != self.method.upper():
            return False
        return self.path is None or re.search(self.path, request.path) is not None

    @property
    def lets_act(self) -> bool:
        """True when the double does what was asked before the fault shows."""
        return self.acted or self.behaviour in _NEEDS_THE_ANSWER

    def reply(self, honest: Reply | None) -> Reply:
        """What is sent instead of `honest` (None when the double did not act)."""
        if self.behaviour == "status":
            headers = dict(self.headers)
            if self.retry_after is not None:
                headers["Retry-After"] = self.retry_after
            body = self.body
            if body is None:
                body = {"error": {"message": "a fault, as asked", "type": "fault", "code": None}}
            return Reply(self.status, body, headers)
        if self.behaviour == "html":
            page = "<html><body><h1>Welcome</h1>please log in</body></html>"
            return Reply(200, page, {"Content-Type": "text/html"})
        if self.behaviour == "empty":
            return Reply(200, b"", {"Content-Type": "application/json"})
        if self.behaviour == "redirect":
            return Reply(302, b"", {"Location": str(self.value)})
        if honest is None:
            return Reply(500, {"error": {"message": "the fault came before the answer"}})
        return self._changed(honest)

    def _changed(self, honest: Reply) -> Reply:
        body = honest.body
        if not isinstance(body, dict):
            return honest
        body = dict(body)
        if self.behaviour == "set":
            body[self.field] = self.value
        elif self.behaviour == "rename" and self.field in body:
            body[str(self.value)] = body.pop(self.field)
        elif self.behaviour == "drop":
            body.pop(self.field, None)
        elif self.behaviour == "repeat":
            body |= {
                name: _twice(body[name]) for name in _LISTS if isinstance(body.get(name), list)
            }
        return Reply(honest.status, body, honest.headers)


def _twice(items: list[Any]) -> list[Any]:
    return [item for item in items for _ in range(2)]


class Faults:
    """The faults of one double; the first that matches a request is taken. Safe between threads."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []
        self._lock = threading.Lock()
        self.shown = 0

    def add(self, behaviour: Behaviour, **facts: Any) -> Fault:
        """Let a fault wait for its request; see `Fault` for what can be said about it."""
        fault = Fault(behaviour, **facts)
        with self._lock:
            self._waiting.append(fault)
        return fault

    def clear(self) -> None:
        """Behave from now on."""
        with self._lock:
            self._waiting.clear()

    @property
    def waiting(self) -> int:
        """How many faults wait for their request."""
        with self._lock:
            return len(self._waiting)

    def take(self, request: Request) -> Fault | None:
        """The fault for this request, counted as shown."""
        with self._lock:
            for fault in self._waiting:
                if not fault.matches(request):
                    continue
                fault.hits += 1
                if fault.hits <= fault.skip:
                    continue
                if fault.times is not None and fault.hits >= fault.skip + fault.times:
                    self._waiting.remove(fault)
                self.shown += 1
                return fault
        return None
