"""Injected faults: which request fails, how, and whether the double handled it first."""

from __future__ import annotations

import copy
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ftsdk.testing.lab.messages import Reply, Request

Behaviour = Literal[
    "reset",  # the connection is reset (RST)
    "close",  # the connection is closed without an answer
    "hang",  # no answer, and the connection stays open
    "drip",  # the answer arrives byte by byte, `pause_s` apart
    "cut",  # the answer stops in the middle of its body
    "html",  # HTTP 200 with an HTML page
    "empty",  # HTTP 200 with an empty body
    "status",  # HTTP `status`, with `retry_after`, `headers` and `body` where given
    "redirect",  # HTTP 302 to `value`
    "set",  # field `field` of the answer is set to `value` (for instance an unknown status)
    "rename",  # field `field` of the answer is renamed to `value`
    "drop",  # field `field` of the answer is missing
    "plant",  # every object of the answer has a field `field` with `value`
    "repeat",  # each item of the list in the answer appears twice
    "twice",  # the request is handled twice: one create call makes two jobs
]
_CHANGES_THE_REPLY = frozenset({"drip", "cut", "set", "rename", "drop", "plant", "repeat", "twice"})
BEHAVIOURS: tuple[str, ...] = Behaviour.__args__  # type: ignore[attr-defined]  # the members of a Literal


@dataclass
class Fault:
    """One fault, waiting for its request.

    `method` and `path` (a regular expression, searched) select requests; None matches any. The
    first `skip` matches succeed, then each `every`th fails, up to `times` (None: all) in total. With `acted` the double handles
    the request before it fails: the job exists, only the answer is lost. `field` may be a path
    (`job.id`).
    """

    behaviour: Behaviour
    method: str | None = None
    path: str | None = None
    times: int | None = 1
    skip: int = 0
    every: int = 1
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
        """Return whether the fault applies to this request."""
        if self.method is not None and request.method != self.method.upper():
            return False
        return self.path is None or re.search(self.path, request.path) is not None

    @property
    def handles_first(self) -> bool:
        """True when the double handles the request before it fails."""
        return self.acted or self.behaviour in _CHANGES_THE_REPLY

    def reply(self, normal: Reply | None) -> Reply:
        """Return what is sent instead of `normal` (None when the request was not handled)."""
        if self.behaviour == "status":
            headers = dict(self.headers)
            if self.retry_after is not None:
                headers["Retry-After"] = self.retry_after
            body = self.body
            if body is None:
                body = {"error": {"message": "an injected fault", "type": "fault", "code": None}}
            return Reply(self.status, body, headers)
        if self.behaviour == "html":
            page = "<html><body><h1>Welcome</h1>please log in</body></html>"
            return Reply(200, page, {"Content-Type": "text/html"})
        if self.behaviour == "empty":
            return Reply(200, b"", {"Content-Type": "application/json"})
        if self.behaviour == "redirect":
            return Reply(302, b"", {"Location": str(self.value)})
        if normal is None:
            return Reply(500, {"error": {"message": "the request failed before it was handled"}})
        return self._changed(normal)

    def _changed(self, normal: Reply) -> Reply:
        if not isinstance(normal.body, dict):
            return normal
        body = copy.deepcopy(normal.body)
        holder, name = _holder(body, self.field)
        if self.behaviour == "set":
            holder[name] = self.value
        elif self.behaviour == "rename" and name in holder:
            holder[str(self.value)] = holder.pop(name)
        elif self.behaviour == "drop":
            holder.pop(name, None)
        elif self.behaviour == "plant":
            _plant(body, self.field, self.value)
        elif self.behaviour == "repeat":
            body |= {name: _twice(items) for name, items in body.items() if _is_list(items)}
        return Reply(normal.status, body, normal.headers)


def _holder(body: dict[str, Any], path: str) -> tuple[dict[str, Any], str]:
    """Return the object that has, or would have, the last name of a dotted path; and that name."""
    *parents, name = path.split(".")
    holder = body
    for parent in parents:
        inner = holder.get(parent)
        holder = inner if isinstance(inner, dict) else {}
    return holder, name


def _plant(value: Any, name: str, planted: Any) -> None:
    """Give every object inside `value` the field."""
    if isinstance(value, dict):
        for inner in list(value.values()):
            _plant(inner, name, planted)
        value[name] = planted
    elif isinstance(value, list):
        for inner in value:
            _plant(inner, name, planted)


def _is_list(items: Any) -> bool:
    """Whether a field is the list of a page: of objects."""
    return isinstance(items, list) and all(isinstance(item, dict) for item in items)


def _twice(items: list[Any]) -> list[Any]:
    return [item for item in items for _ in range(2)]


class Faults:
    """The faults of one double, in order; the first that matches a request applies. Thread-safe."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []
        self._lock = threading.Lock()
        self.triggered = 0

    def add(self, behaviour: Behaviour, **facts: Any) -> Fault:
        """Add a fault and return it; `facts` are the fields of `Fault`.

        Raises `ValueError` for an unknown behaviour: a test would pass without its fault.
        """
        if behaviour not in BEHAVIOURS:
            raise ValueError(
                f"no behaviour is called {behaviour!r}: one of {', '.join(BEHAVIOURS)}"
            )
        fault = Fault(behaviour, **facts)
        with self._lock:
            self._waiting.append(fault)
        return fault

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._waiting.clear()

    @property
    def waiting(self) -> int:
        """The number of faults still waiting for a request."""
        with self._lock:
            return len(self._waiting)

    def take(self, request: Request) -> Fault | None:
        """Return the fault for this request, if any, and count it in `triggered`."""
        with self._lock:
            for fault in self._waiting:
                if not fault.matches(request):
                    continue
                fault.hits += 1
                if fault.hits <= fault.skip or (fault.hits - fault.skip) % fault.every:
                    continue
                failed = (fault.hits - fault.skip) // fault.every
                if fault.times is not None and failed >= fault.times:
                    self._waiting.remove(fault)
                self.triggered += 1
                return fault
        return None
