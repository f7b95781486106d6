"""A deterministic simulation of submissions that fail, with the real protocol.

Real: `Submitter`, `Journal`, SQLite on a file, the lock files. Simulated: the provider, the clock, and
the death of processes. A process has one thread or several, which share a submitter and die together.
All threads pass a baton, so that exactly one runs at a time and the seed alone decides which is next. At
every effect (an SQL statement, a call to the provider, a sleep) the process may die or another thread
may run. A process that has died has no further effect: every attempt raises again.

A world creates one job, always with the same key or always without one.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import gc
import random
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ftsdk.backends.base import Backend, Context, SubmitRequest
from ftsdk.backends.capabilities import Capabilities, FindBy
from ftsdk.dataset import Dataset
from ftsdk.errors import (
    BackendError,
    FtsdkError,
    NeedsDecision,
    NotFound,
    RateLimited,
    Rejected,
    Unavailable,
)
from ftsdk.jobs import submitter as submitter_module
from ftsdk.jobs.submitter import Submitter
from ftsdk.session import Horizon
from ftsdk.store.duplicates import DuplicateRule, Identity, unless_same
from ftsdk.store.journal import Journal
from ftsdk.types.job import JobSnapshot, RemoteJob
from ftsdk.types.model import ModelHandle
from ftsdk.types.spec import JobSpec
from ftsdk.types.status import JobStatus
from ftsdk.util.clock import ManualClock

FAULTS = (
    "ok",
    "refused",
    "not_sent",
    "lost_answer",
    "lost_request",
    "error_after_create",
    "error_without_create",
    "no_id",
    "paced",
    "gateway_429_after_create",
)
PACED_S = (None, 0, 3, 40, 100, 400)
"""What a refusal for pace asks to wait, in seconds; the last is longer than a create waits."""
SAME = DuplicateRule(may_cost=True, within=dt.timedelta(days=1))
"""The guard of a create without a key, for longer than a world lasts."""
HORIZON = Horizon(look_s=660.0, while_creating_s=15.0)


class Died(BaseException):
    """The simulated process has died."""


class Baton:
    """Lets one process run at a time, in an order that depends on the seed alone."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.turns: dict[int, threading.Semaphore] = {}
        self.alive: list[int] = []
        self.main = threading.Semaphore(0)

    def yield_turn(self, me: int) -> None:
        if len(self.alive) < 2 or self.chance.random() > 0.3:
            return
        other = self.chance.choice(self.alive)
        if other != me:
            self.turns[other].release()
            self.turns[me].acquire()

    def leave(self, me: int) -> None:
        self.alive.remove(me)
        if self.alive:
            self.turns[self.chance.choice(self.alive)].release()
        else:
            self.main.release()

    def run(self, works: list[Callable[[int], None]]) -> None:
        """Run all of `works` until they end."""
        self.alive = list(range(len(works)))
        self.turns = {i: threading.Semaphore(0) for i in self.alive}

        def body(me: int) -> None:
            self.turns[me].acquire()
            try:
                works[me](me)
            finally:
                self.leave(me)

        threads = [threading.Thread(target=body, args=(i,), daemon=True) for i in self.alive]
        for thread in threads:
            thread.start()
        self.turns[self.chance.choice(self.alive)].release()
        self.main.acquire()
        for thread in threads:
            thread.join()


@dataclass
class Process:
    """One simulated process, and the effect at which it dies, with all its threads."""

    world: World
    dies_at: int | None
    effects: int = 0
    dead: bool = False
    account: str | None = None
    """The account whose key this process has, in a world with several."""

    def effect(self, me: int, *, alone: bool = False) -> None:
        """Count an effect of the thread `me`; die, or let another thread run, unless `alone`."""
        if self.dead:
            raise Died
        self.effects += 1
        if self.dies_at is not None and self.effects >= self.dies_at:
            self.dead = True
            self.world.deaths += 1
            raise Died
        if not alone:
            self.world.baton.yield_turn(me)


class _Acting(threading.local):
    """The simulated process and the number of the simulated thread that this thread is."""

    process: Process | None = None
    me: int = 0


ACTING = _Acting()


def effect(*, alone: bool = False) -> None:
    """Count an effect of the simulated thread that acts now, if any."""
    if ACTING.process is not None:
        ACTING.process.effect(ACTING.me, alone=alone)


class _Cursor(sqlite3.Cursor):
    def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
        # Waiting for SQLite's lock would block the only thread that runs. So a process may die
        # anywhere, but another runs only outside a transaction.
        if self.connection.in_transaction:
            try:
                effect(alone=True)
            except Died:
                super().execute(
                    "ROLLBACK"
                )  # SQLite does this when it finds the file of a dead process
                raise
        else:
            effect()
        done = super().execute(sql, *args)
        if sql == "COMMIT":  # after a SELECT the read lock is still taken, so no other process runs
            effect()
        return done


class _Connection(sqlite3.Connection):
    def cursor(self, factory: Any = _Cursor) -> Any:
        return super().cursor(factory)

    def execute(self, sql: str, *args: Any) -> Any:
        return self.cursor().execute(sql, *args)


class SimulatedJournal(Journal):
    """The real journal, over connections whose statements are effects."""

    def _connection(self) -> sqlite3.Connection:
        own: Any = getattr(self._local, "own", None)
        found: Any = None if own is None else own.connection
        if found is None:
            real = sqlite3.connect

            def with_factory(*args: Any, **options: Any) -> sqlite3.Connection:
                return real(*args, factory=_Connection, **options)

            acting, ACTING.process = ACTING.process, None  # no other thread may run meanwhile
            sqlite3.connect = with_factory  # type: ignore[assignment]  # for this one call
            try:
                found = super()._connection()
            finally:
                sqlite3.connect = real
                ACTING.process = acting
        return found  # type: ignore[no-any-return]


class WorldClock(ManualClock):
    """Virtual time; sleeping is an effect."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)
        if ACTING.process is None:
            return
        effect()
        baton, me = self.world.baton, ACTING.me
        if len(baton.alive) > 1:  # a thread that sleeps lets others run first
            others = [i for i in baton.alive if i != me]
            baton.turns[self.world.chance.choice(others)].release()
            baton.turns[me].acquire()


@dataclass
class Provider:
    """The simulated provider: the jobs it has, and those that its lists show."""

    chance: random.Random
    takes_token: bool = False
    jobs: list[dict[str, Any]] = field(default_factory=list)
    posts: int = 0
    faults: int = 0

    def create(self, request: SubmitRequest, now: Any) -> dict[str, Any]:
        if self.takes_token:
            for job in self.jobs:
                if job["token"] == request.client_token:
                    return job
        delay = self.chance.choice([0, 0, 0, 1, 5, 20, 90, 300])
        if delay:
            self.faults += 1
        job = {
            "id": f"job-{len(self.jobs)}",
            "tag": request.tag,
            "token": request.client_token,
            "at": now,
            "visible": delay,
        }
        self.jobs.append(job)
        return job

    def visible(self, tag: str, now: Any) -> Iterator[dict[str, Any]]:
        for job in self.jobs:
            if job["tag"] == tag and (now - job["at"]).total_seconds() >= job["visible"]:
                yield job


class SimulatedBackend(Backend):
    """The provider as one process sees it."""

    name = "simulated"
    capabilities = Capabilities(
        methods=frozenset({"sft"}),
        adapters=frozenset({"lora"}),
        formats=frozenset({"chat"}),
        find_by=FindBy.METADATA,
    )

    def __init__(self, world: World, process: Process | None) -> None:
        super().__init__(Context(home=world.home, clock=world.clock))
        self.world, self.process = world, process
        self.provider = world.provider_of(process)
        if self.provider.takes_token:
            self.capabilities = Capabilities(  # type: ignore[misc]  # per world, not per class
                methods=frozenset({"sft"}),
                adapters=frozenset({"lora"}),
                formats=frozenset({"chat"}),
                find_by=FindBy.TOKEN,
                resend_is_safe=True,
            )

    def submit(self, request: SubmitRequest) -> RemoteJob:
        effect()
        world, provider = self.world, self.provider
        fault = world.next_fault()
        provider.posts += 1
        if fault != "ok":
            provider.faults += 1
        if fault == "refused":
            raise Rejected("no", submitted="no")
        if fault == "not_sent":
            raise Unavailable("refused connection", submitted="no")
        if fault == "paced":
            after_s = world.chance.choice(PACED_S)
            raise RateLimited("slow down", submitted="no", retry_after_s=after_s)
        if fault in ("lost_request", "error_without_create"):
            effect()
            raise Unavailable("nobody knows", submitted="maybe")
        job = provider.create(request, world.clock.now())
        effect()
        if fault in ("lost_answer", "error_after_create"):
            raise Unavailable("nobody knows", submitted="maybe")
        if fault == "gateway_429_after_create":
            raise RateLimited("too many requests", submitted="maybe", retry_after_s=1)
        return _remote_job(job, identity="" if fault == "no_id" else job["id"])

    def find(self, request: SubmitRequest) -> list[RemoteJob]:
        effect()
        if self.world.chance.random() < self.world.read_faults:
            self.provider.faults += 1
            raise Unavailable("the list cannot be read now")
        found = [_remote_job(j) for j in self.provider.visible(request.tag, self.clock.now())]
        effect()
        return found

    def get(self, provider_job_id: str) -> RemoteJob:
        for job in self.provider.jobs:
            if job["id"] == provider_job_id:
                return _remote_job(job)
        raise NotFound("no such job")

    def list(self, *, limit: int | None = None) -> Iterator[RemoteJob]:
        yield from (_remote_job(job) for job in self.provider.jobs)

    def cancel(self, provider_job_id: str) -> None:
        raise self.cannot("cancel")

    def model(self, provider_job_id: str) -> ModelHandle:
        raise self.cannot("give a model")


def _remote_job(job: dict[str, Any], identity: str | None = None) -> RemoteJob:
    return RemoteJob(
        provider_job_id=job["id"] if identity is None else identity,
        status=JobStatus.QUEUED,
        raw_status="queued",
        tag=job["tag"],
        created_at=job["at"],
    )


_ROWS = [{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}]


class World:
    """One schedule of faults and deaths, from a seed."""

    def __init__(
        self,
        seed: int,
        folder: Path,
        submitter: type[Submitter] = Submitter,
    ) -> None:
        self.seed = seed
        self.chance = random.Random(seed)  # a schedule, not a secret
        self.home = folder
        self.clock = WorldClock(self)
        self.baton = Baton(self.chance)
        self.submitter_class = submitter
        self.key = self.chance.choice(["the-key", None])
        self.outcomes: list[JobSnapshot | BaseException] = []
        self.crashes: list[Exception] = []
        self.deaths = 0
        self.death_rate = 0.6
        self.read_faults = self.chance.choice([0.0, 0.0, 0.2, 0.6])
        self.fault_rate = self.chance.choice([0.3, 0.7, 1.0])
        self.provider = Provider(self.chance, takes_token=self.chance.random() < 0.2)
        self.spec = JobSpec(provider="simulated", model="m")
        self.dataset = _dataset()
        self.identity = Identity(self.spec.fingerprint(self.dataset.sha256, None))
        self.verdict = ""

    def next_fault(self) -> str:
        """Return the fault of the next create call."""
        if self.chance.random() > self.fault_rate:
            return "ok"
        return self.chance.choice(FAULTS)

    def provider_of(self, process: Process | None) -> Provider:
        """Return the provider as this process's account sees it; here there is one account."""
        return self.provider

    def backend(self, process: Process | None) -> Backend:
        """Return the backend that a process uses."""
        return SimulatedBackend(self, process)

    def _submitter(self) -> Submitter:
        world = self
        return self.submitter_class(
            SimulatedJournal(self.home),
            self.home,
            self.clock,
            lambda _: world.backend(ACTING.process),
            HORIZON,
            say=lambda _: None,
        )

    # --- one schedule ---

    def run(self) -> str:
        """Run the schedule; return `ok`, or what is wrong afterwards."""
        for _ in range(self.chance.choice([1, 1, 2, 3])):
            works: list[Callable[[int], None]] = []
            for _ in range(self.chance.choice([1, 1, 1, 2])):
                works += self._process()
            self.baton.run(works)
            gc.collect(0)
        self._recover()
        return self._check()

    def _process(self) -> list[Callable[[int], None]]:
        """Return the threads of one process, which may die."""
        dies_at = self.chance.randrange(1, 80) if self.chance.random() < self.death_rate else None
        threads = self.chance.choice([1, 1, 1, 2, 3])
        process = self._new_process(None if dies_at is None else dies_at * threads)
        shared: list[Submitter] = []

        def body(me: int) -> None:
            ACTING.process, ACTING.me = process, me
            try:
                if not shared:
                    shared.append(self._submitter())
                self.outcomes.append(self.create(shared[0]))
            except (Died, FtsdkError, sqlite3.Error) as error:
                self.outcomes.append(error)  # the caller got an error or died
            except Exception as error:  # reported as a fault of the schedule
                self.crashes.append(error)

        return [body] * threads

    def _new_process(self, dies_at: int | None) -> Process:
        return Process(self, dies_at)

    def create(self, submitter: Submitter) -> JobSnapshot:
        """Create the job as one caller does."""
        hook = None if self.key else unless_same(self.identity, SAME, lambda *_: None)
        return submitter.create(
            self.spec, self.dataset, None, key=self.key, profile=None, hook=hook
        )

    def _recover(self) -> None:
        """Do what a user does afterwards: list, reconcile, wait, reconcile."""
        submitter = self._submitter()
        for _ in range(12):
            for snapshot in submitter.journal.list():
                if snapshot.status in (JobStatus.SUBMITTING, JobStatus.IN_DOUBT):
                    # could not ask now: the next round asks again
                    with contextlib.suppress(BackendError, NeedsDecision):
                        submitter.continue_submission(snapshot.id)
            self.clock.advance(80)
        submitter.journal.close()

    def _check(self) -> str:
        submitter = self._submitter()
        known: list[JobSnapshot] = submitter.journal.list()
        paid = self.provider.jobs
        problems = [f"raw exception: {error!r}" for error in self.crashes]
        if len(paid) > 1:
            problems.append(f"duplicate: {len(paid)} paid jobs")
        if len([s for s in known if not (s.key is None and s.was_refused)]) > 1:
            problems.append("two journal rows for one job")
        if submitter.journal.integrity() != "ok":
            problems.append("corrupt journal")
        adopted = {s.provider_job_id for s in known if s.provider_job_id}
        for job in paid:
            if job["id"] not in adopted and not self._may_be_found_later(known):
                problems.append(f"lost: {job['id']} is paid and unknown")
        problems += [f"stuck: {s.status}" for s in known if s.status is JobStatus.SUBMITTING]
        submitter.journal.close()
        return "; ".join(problems) or "ok"

    def _may_be_found_later(self, known: list[JobSnapshot]) -> bool:
        """Return whether a job is in doubt because the list could not be read, which is not a loss."""
        return self.read_faults > 0 and any(s.status is JobStatus.IN_DOUBT for s in known)


_cached: list[Dataset] = []


def _dataset() -> Dataset:
    if not _cached:
        _cached.append(Dataset.load(_ROWS))
        _ = _cached[0].sha256
    return _cached[0]


@dataclass
class Totals:
    """The totals of many schedules."""

    first_seed: int
    schedules: int = 0
    faults: int = 0
    deaths: int = 0
    posts: int = 0
    bad: dict[int, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return (
            f"seeds {self.first_seed}..{self.first_seed + self.schedules - 1}: "
            f"{self.schedules} schedules, {self.faults} faults, {self.deaths} deaths, "
            f"{self.posts} create calls, {len(self.bad)} bad"
        )


@contextlib.contextmanager
def _rows_read_once() -> Iterator[None]:
    """Keep the rows in memory: reading them again for each schedule takes most of the time."""
    real = submitter_module.kept_dataset
    submitter_module.kept_dataset = lambda *_: _dataset()  # type: ignore[assignment]
    try:
        yield
    finally:
        submitter_module.kept_dataset = real


def simulate(
    first_seed: int,
    count: int,
    submitter: type[Submitter] = Submitter,
    *,
    until: str | None = None,
    world_class: type[World] = World,
) -> Totals:
    """Run `count` schedules; with `until`, stop after the first verdict that contains it."""
    with _rows_read_once():
        return _simulate(first_seed, count, submitter, until, world_class)


def _simulate(
    first_seed: int,
    count: int,
    submitter: type[Submitter],
    until: str | None,
    world_class: type[World],
) -> Totals:
    totals = Totals(first_seed)
    base = Path("/dev/shm") if Path("/dev/shm").is_dir() else Path(tempfile.gettempdir())
    root = Path(tempfile.mkdtemp(prefix="ftsdk-world-", dir=base))
    empty = root / "empty"
    Journal(empty).close()
    try:
        for seed in range(first_seed, first_seed + count):
            folder = root / str(seed)
            folder.mkdir(mode=0o700)
            shutil.copy(empty / "journal.db", folder / "journal.db")
            world = world_class(seed, folder, submitter)
            verdict = world.run()
            totals.schedules += 1
            totals.faults += world.provider.faults + world.deaths
            totals.deaths += world.deaths
            totals.posts += world.provider.posts
            if verdict != "ok":
                totals.bad[seed] = verdict
            shutil.rmtree(folder)
            if until is not None and until in verdict:
                break
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return totals
