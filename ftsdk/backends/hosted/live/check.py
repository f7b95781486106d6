"""`live_check`: asks a provider by GETs alone, and compares its answers with what ftsdk expects."""

from __future__ import annotations

import importlib.metadata
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ftsdk._version import __version__
from ftsdk.backends.hosted.backend import HostedBackend
from ftsdk.backends.hosted.live.facts import Fact, unconfirmed_facts
from ftsdk.backends.hosted.live.plan import NOT_SEEN, Conclusion, Evidence, Plan, Read
from ftsdk.backends.hosted.live.shape import Difference, differences, shown_name
from ftsdk.catalogue.load import shipped
from ftsdk.errors import AuthError, BackendError, ConfigError, NotFound

Outcome = Literal["as expected", "differs", "missing", "empty", "not asked", "no answer"]
_EACH = 4
"""For so many items of a list the details are asked: one of each status, then the newest."""


@dataclass(frozen=True)
class ReadResult:
    """The outcome of one read: how many objects came, and how they differ."""

    read: Read
    outcome: Outcome
    objects: int = 0
    differences: tuple[Difference, ...] = ()
    status_code: int | None = None

    @property
    def is_fault(self) -> bool:
        """Whether ftsdk would go wrong here."""
        if self.outcome == "missing":
            return not self.read.optional
        return any(one.breaks for one in self.differences)


@dataclass(frozen=True)
class LiveReport:
    """What was asked and found. `to_dict` is the redacted report: no key, id, prompt or file name."""

    provider: str
    host: str
    asked_on: str
    requests: int
    reads: tuple[ReadResult, ...]
    facts: tuple[tuple[Fact, Conclusion], ...]
    packages: Mapping[str, str] = field(default_factory=dict)

    @property
    def faults(self) -> int:
        """How many reads differ in a way that breaks something."""
        return sum(one.is_fault for one in self.reads)

    @property
    def refuted(self) -> int:
        """How many facts are refuted."""
        return sum(verdict == "refuted" for _, (verdict, _) in self.facts)

    @property
    def ok(self) -> bool:
        """Whether nothing differs and nothing is refuted."""
        return not self.faults and not self.refuted

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON types."""
        return {
            "provider": self.provider,
            "host": self.host,
            "asked_on": self.asked_on,
            "ftsdk": __version__,
            "packages": dict(self.packages),
            "requests": self.requests,
            "ok": self.ok,
            "reads": [
                {
                    "name": one.read.name,
                    "request": f"GET {one.read.path}",
                    "outcome": one.outcome,
                    "objects": one.objects,
                    "status_code": one.status_code,
                    "differences": [
                        {"field": d.field, "what": d.what, "detail": d.detail}
                        for d in one.differences
                    ],
                }
                for one in self.reads
            ],
            "facts": [
                {"fact": fact.name, "says": fact.says, "verdict": verdict, "found": found}
                for fact, (verdict, found) in self.facts
            ],
        }


class _Asked:
    """One run: makes the reads in order, and keeps the answers for the ones that follow."""

    def __init__(self, read_json: Callable[..., Any], ours: Mapping[str, str]) -> None:
        self._read_json = read_json
        self.seen = Evidence(ours)
        self.requests = 0

    def result(self, read: Read) -> ReadResult:
        """Make the calls of one read. Raises what makes all others useless: no key, a wrong key."""
        objects: list[Any] = []
        found: dict[Difference, None] = {}
        calls, gone = 0, list[NotFound]()
        for path, query in self._calls(read):
            calls += 1
            self.requests += 1
            try:
                reply = self._read_json(path, query)
            except AuthError as error:
                if not read.optional or not self.seen.answers:
                    raise
                return ReadResult(read, "no answer", status_code=error.status_code)
            except ConfigError:
                raise
            except NotFound as error:
                gone.append(error)
                continue
            except BackendError as error:
                if not self.seen.answers:
                    raise  # nothing was answered yet: the provider is away
                return ReadResult(read, "no answer", status_code=error.status_code)
            items, problem = _items_of(read, reply)
            found |= dict.fromkeys(problem)
            objects += items
        if gone and len(gone) == calls:  # fewer: some jobs are gone, and the endpoint is there
            self.seen.missing.add(read.name)
            return ReadResult(read, "missing", status_code=gone[0].status_code)
        if calls:
            self.seen.answers[read.name] = objects
        found |= dict.fromkeys(
            itertools.chain.from_iterable(differences(read.shape, one) for one in objects)
        )
        outcome: Outcome = "as expected"
        if any(one.breaks for one in found):
            outcome = "differs"
        elif not calls:
            outcome = "not asked"
        elif not objects:
            outcome = "empty"  # nothing was there to be compared
        return ReadResult(read, outcome, len(objects), tuple(found))

    def _calls(self, read: Read) -> Iterator[tuple[str, Mapping[str, str]]]:
        """Yield path and query of each call."""
        if read.ask is not None:
            for query in read.ask(self.seen):
                yield read.path, {**read.query, **query}
        elif read.each is None:
            yield read.path, read.query
        else:
            for identity in itertools.islice(_sampled(self.seen.of(read.each)), _EACH):
                yield read.path.replace("{id}", identity), read.query


def _items_of(read: Read, reply: Any) -> tuple[list[Any], list[Difference]]:
    """Return the objects of a reply; and, where the list is not where it was, that difference."""
    if read.items is None:
        return [reply], []
    if read.items == "*":
        return (reply, []) if isinstance(reply, list) else ([], [_no_list("the reply")])
    if isinstance(reply, Mapping) and isinstance(reply.get(read.items), list):
        return reply[read.items], []
    if isinstance(reply, Mapping) and read.items not in reply:
        lists = [name for name in reply if isinstance(reply[name], list)]
        if len(lists) == 1:
            return reply[lists[0]], [Difference(read.items, "renamed", shown_name(lists[0]))]
        return [], [Difference(read.items, "missing")]
    return [], [_no_list(read.items)]


def _no_list(name: str) -> Difference:
    return Difference(name, "kind", "not a list")


def _sampled(items: list[Mapping[str, Any]]) -> Iterator[str]:
    """Yield ids: first one of each status, then the rest in their order."""
    known = [one for one in items if isinstance(one.get("id"), str)]
    by_status = {str(one.get("status")): one for one in reversed(known)}
    first = {str(one["id"]): None for one in by_status.values()}
    yield from first
    yield from (str(one["id"]) for one in known if one["id"] not in first)


def live_check(backend: HostedBackend[Any, Any], ours: Mapping[str, str]) -> LiveReport:
    """Ask the provider of a hosted backend, and return what was found. Makes GETs alone.

    `ours` are this machine's jobs there, tag by the provider's id. Raises `ConfigError` without a
    key, `AuthError` for a refused one, and `Unavailable` where nothing is answered.
    """
    plan = backend.live_plan()
    transport = backend.transport
    asked = _Asked(transport.read_json, ours)
    results = tuple(asked.result(read) for read in plan.reads)
    facts = unconfirmed_facts(backend.name, backend.capabilities, shipped())
    service = transport.service
    is_own = service.owns_url(transport.base_url)
    return LiveReport(
        provider=backend.name,
        host="the provider's own" if is_own else "another address",
        asked_on=backend.clock.now().date().isoformat(),
        requests=asked.requests,
        reads=results,
        facts=tuple((fact, _concluded(plan, fact, asked.seen)) for fact in facts),
        packages={name: _version(name) for name in backend.capabilities.packages},
    )


def _concluded(plan: Plan, fact: Fact, seen: Evidence) -> Conclusion:
    check = plan.checks.get(fact.name)
    return NOT_SEEN if check is None else check(seen)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
