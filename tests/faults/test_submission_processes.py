"""T3, T4, T7: real processes that are killed at named points or at random, or write at the same time.

The provider is `fake`: its jobs are files, which survive the process as they would at a real provider.
`--long` runs 1,000 kills at points, 300 random ones, and 8 x 500 submissions.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ftsdk.backends.fake import FakeBackend
from ftsdk.client import Client
from ftsdk.config import Config
from ftsdk.errors import FtsdkError, NeedsDecision, RateLimited
from ftsdk.jobs import submit as submit_module
from ftsdk.jobs.submitter import Submitter
from ftsdk.session import Horizon
from ftsdk.store.duplicates import DuplicateRule
from ftsdk.store.journal import Journal
from ftsdk.types.cost import Cost
from ftsdk.types.status import JobStatus

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks from a warm parent")

ROWS = [{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}]
CONFIG = Config(env={"FTSDK_PROVIDER": "fake", "FTSDK_MODEL": "m"})
KILLED = 99


def client(home: Path) -> Client:
    return Client(home=home, config=CONFIG, env={}, horizon=Horizon(while_creating_s=0))


class Priced(FakeBackend):
    """`fake` at a price, so that the very same job is not created twice without a key."""

    capabilities = replace(FakeBackend.capabilities, price="catalogue")

    def estimate(self, spec: Any, train: Any = None) -> Cost:
        return Cost(basis="estimated", low=Decimal(1), high=Decimal(1), source="a test")


def priced_client(home: Path, backend: type[Priced] = Priced) -> Client:
    """Return a client of `backend` that does not wait long for a provider that refuses for pace."""
    horizon = Horizon(while_creating_s=0, first_pause_s=0.01)
    return Client(home=home, config=CONFIG, env={}, horizon=horizon, backends={"fake": backend})


def at_provider(home: Path) -> list[Path]:
    return sorted((home / "fake").glob("fake-*.json"))


# --- T3: kills at named points ------------------------------------------------------------------


class _Points:
    """Counts the points that a process passes, and ends it at one of them."""

    def __init__(self, end_at: int | None) -> None:
        self.end_at = end_at
        self.names: list[str] = []

    def __call__(self, name: str) -> None:
        self.names.append(name)
        if self.end_at == len(self.names):
            os._exit(KILLED)


def _plant(points: _Points) -> None:
    """Add a point before and after each SQL statement and each step of the create call."""

    class Cursor(sqlite3.Cursor):
        def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
            name = " ".join(sql.split()[:3])
            points(f"before {name}")
            done = super().execute(sql, *args)
            points(f"after {name}")
            return done

    class Connection(sqlite3.Connection):
        def cursor(self, factory: Any = Cursor) -> Any:
            return super().cursor(factory)

    real_connect, real_submit, real_write = sqlite3.connect, FakeBackend.submit, FakeBackend._write

    def connect(*args: Any, **options: Any) -> sqlite3.Connection:
        return real_connect(*args, factory=Connection, **options)

    def submit(self: FakeBackend, request: Any) -> Any:
        points("before the create call")
        answer = real_submit(self, request)
        points("the answer arrives")
        return answer

    def write(self: FakeBackend, data: Any) -> None:
        points("before the provider stores it")
        real_write(self, data)
        points("after the provider stored it")

    sqlite3.connect = connect  # type: ignore[assignment]  # in the forked child only
    FakeBackend.submit, FakeBackend._write = submit, write  # type: ignore[method-assign]


Way = Callable[[Path], Any]
"""One way to create the job, in a process that may be killed, and again in the next one."""


def with_key(home: Path) -> Any:
    return client(home).create_job(ROWS, key="k")


def without_key(home: Path) -> Any:
    return priced_client(home).create_job(ROWS)


def refused_for_pace(home: Path) -> Any:
    """Create the job at a provider that refuses the first two create calls for pace."""
    refusals = iter(range(2))

    class Slow(Priced):
        def submit(self, request: Any) -> Any:
            if next(refusals, None) is not None:
                raise RateLimited("slow down", submitted="no", retry_after_s=0)
            return super().submit(request)

    return priced_client(home, Slow).create_job(ROWS)


def _child(home: Path, end_at: int | None, way: Way) -> list[str]:
    """Submit once, in a forked child, and end at the given point; return the names of the points passed."""
    points = _Points(end_at)
    _plant(points)
    logging.getLogger("ftsdk").setLevel(logging.ERROR)
    way(home)
    return points.names


def _fork(home: Path, end_at: int | None, way: Way = with_key) -> tuple[int, list[str]]:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            names = _child(home, end_at, way)
            os.write(write, json.dumps(names).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        names = pipe.read()
    _, ended = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(ended), json.loads(names or b"[]")


def _recover(home: Path, way: Way = with_key) -> str:
    """Repeat the create call in the same way, as the user does; return the status."""
    began = time.process_time()  # a busy machine may put us aside for seconds
    again = client(home)
    try:
        job = way(home)
    except NeedsDecision as undecided:
        # Killed between the journal entry and the call: only the user can know that nothing was sent.
        assert at_provider(home) == []
        job = again.resolve(str(undecided.job_id), send_again=True)
    assert time.process_time() - began < 2
    assert again.journal.integrity() == "ok"
    assert [j.id for j in again.list_jobs()] == [job.id]
    assert len(at_provider(home)) == 1
    assert job.provider_job_id == at_provider(home)[0].stem
    again.close()
    return str(job.status)


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return the points of one submission without a kill, in order."""
    home = tmp_path_factory.mktemp("names") / "home"
    code, passed = _fork(home, None)
    assert code == 0
    return passed


def test_kills_at_named_points(
    names: list[str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    distinct = {(name, names[:i].count(name)) for i, name in enumerate(names)}
    assert len(distinct) >= 25
    times = max(1, -(-1000 // len(names))) if request.config.getoption("--long") else 1
    kills = 0
    for turn in range(times):
        for point in range(1, len(names) + 1):
            home = tmp_path / f"{turn}-{point}"
            code, _ = _fork(home, point)
            assert code == KILLED, names[point - 1]
            kills += 1
            _recover(home)
    print(f"{kills} kills at {len(distinct)} points: 0 duplicates, 0 lost")


@pytest.mark.parametrize("way", [without_key, refused_for_pace])
def test_kills_at_named_points_without_a_key(
    way: Way, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    code, passed = _fork(tmp_path / "names", None, way)
    assert code == 0
    assert sum(name == "before the create call" for name in passed) == 1
    step = 1 if request.config.getoption("--long") else 3
    points = range(1, len(passed) + 1, step)
    kills = 0
    for point in points:
        home = tmp_path / str(point)
        code, _ = _fork(home, point, way)
        assert code == KILLED, passed[point - 1]
        kills += 1
        _recover(home, way)
    print(f"{kills} kills of {way.__name__}: 0 duplicates, 0 lost")
    assert kills == len(points)


def test_the_kill_points_catch_a_job_that_nobody_carries_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted bug: without a key, only jobs that were accepted count as the very same job."""
    applies = DuplicateRule.applies

    def accepted_only(self: DuplicateRule, job: Any, *more: Any) -> bool:
        return job.is_accepted and applies(self, job, *more)

    monkeypatch.setattr(DuplicateRule, "applies", accepted_only)
    _, passed = _fork(tmp_path / "names", None, without_key)

    def catches(point: int) -> bool:
        home = tmp_path / str(point)
        _fork(home, point, without_key)
        try:
            _recover(home, without_key)
        except AssertionError:
            return True
        return False

    assert any(catches(point) for point in range(len(passed), 0, -3))


def test_the_kill_points_catch_a_missing_journal_entry(
    names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted bug: the job is recorded as being sent only after it was sent."""

    def late(self: Submitter, snapshot: Any, attempt: int = 1) -> Any:
        remote = self.backend_for(snapshot).submit(self.request(snapshot))
        # A different token each time, like a provider without idempotency.
        self.journal.change(
            snapshot.id, now=self.clock.now(), why="late", status=JobStatus.SUBMITTING
        )
        return self._accept(snapshot, remote, "accepted")

    def without_tokens(self: FakeBackend, request: Any, options: Any) -> Any:
        count = len(list(self._folder.glob("fake-*.json")))
        return real_new(self, _with_token(request, str(count)), options)

    real_new = FakeBackend._new
    monkeypatch.setattr(Submitter, "_send", late)
    monkeypatch.setattr(FakeBackend, "_new", without_tokens)

    def catches(point: int) -> bool:
        home = tmp_path / str(point)
        _fork(home, point)
        try:
            _recover(home)
        except (AssertionError, FtsdkError):
            return True
        return False

    assert any(catches(point) for point in range(len(names), 0, -1))


def _with_token(request: Any, token: str) -> Any:
    import dataclasses

    return dataclasses.replace(request, client_token=token)


# --- T4: kills at random ------------------------------------------------------------------------

WRITER = """
import sys
from ftsdk.client import Client
from ftsdk.config import Config
rows = [{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}]
client = Client(home=sys.argv[1], env={},
                config=Config(env={"FTSDK_PROVIDER": "fake", "FTSDK_MODEL": "m"}))
print("ready", flush=True)
while True:
    print(client.create_job(rows).id, flush=True)
"""


def test_kills_at_random(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    kills = 300 if request.config.getoption("--long") else 8
    chance, home = random.Random(11), tmp_path / "home"
    acknowledged: set[str] = set()
    for _ in range(kills):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(home)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        end = time.monotonic() + chance.uniform(0, 0.5)
        while time.monotonic() < end:
            line = process.stdout.readline()
            if line.endswith("\n"):
                acknowledged.add(line.strip())
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().split("\n")[:-1]
        acknowledged |= set(rest)
        process.stdout.close()
        process.wait()
        journal = Journal(home)
        assert journal.integrity() == "ok"
        journal.close()
    known = client(home)
    known.reconcile()
    jobs = {job.id: job for job in known.list_jobs()}
    assert acknowledged <= set(jobs)
    assert not [j for j in jobs.values() if j.status == "submitting"]
    tags = Counter(json.loads(path.read_bytes())["tag"] for path in at_provider(home))
    assert set(tags.values()) <= {1}
    adopted = {job.provider_job_id for job in jobs.values()}
    assert {path.stem for path in at_provider(home)} <= adopted


# --- T7: many writers ---------------------------------------------------------------------------


def _writer(home: Path, number: int, count: int, results: Any) -> None:
    faults, took = [], []
    own = client(home)
    for i in range(count):
        key = f"shared-{i}" if i % 2 else f"own-{number}-{i}"
        began = time.monotonic()
        try:
            own.create_job(ROWS, key=key)
        except FtsdkError as error:
            faults.append(str(error))
        took.append(time.monotonic() - began)
    results.put((number, faults, took))


def _reader(home: Path, done: Any, results: Any) -> None:
    """List and refresh jobs while others write; record any error."""
    faults, reads = [], 0
    while not done.is_set():
        try:
            with client(home) as viewer:
                for job in viewer.list_jobs(limit=5):
                    job.refresh()
        except FtsdkError as error:
            faults.append(str(error))
        reads += 1
        done.wait(0.02)
    results.put((reads, faults))


@pytest.fixture
def spawned() -> Iterator[list[Any]]:
    processes: list[Any] = []
    yield processes
    for process in processes:
        process.kill()
        process.join()


@pytest.mark.timeout(1500)
def test_many_writers(tmp_path: Path, request: pytest.FixtureRequest, spawned: list[Any]) -> None:
    count = 500 if request.config.getoption("--long") else 12
    context, home = multiprocessing.get_context("spawn"), tmp_path / "home"
    results, read, done = context.Queue(), context.Queue(), context.Event()
    for number in range(8):
        spawned.append(context.Process(target=_writer, args=(home, number, count, results)))
    spawned.append(context.Process(target=_reader, args=(home, done, read)))
    began = time.monotonic()
    for process in spawned:
        process.start()
    ended = [results.get(timeout=1200) for _ in spawned[:-1]]
    wall = time.monotonic() - began
    done.set()
    reads, reader_faults = read.get(timeout=60)
    for process in spawned:
        process.join(30)
    took = sorted(one for _, _, times in ended for one in times)
    p99, slowest = took[len(took) * 99 // 100], took[-1]
    print(
        f"{len(took)} submissions by 8 processes in {wall:.0f} s, {reads} reads by a ninth: "
        f"p99 {p99:.2f} s, slowest {slowest:.2f} s"
    )
    assert [faults for _, faults, _ in ended if faults] == []
    assert reader_faults == []
    if count == 500:  # with few submissions, the slowest is the start of eight processes
        assert p99 < 5
    own = 8 * sum(1 for i in range(count) if i % 2 == 0)
    shared = count // 2
    assert len(at_provider(home)) == own + shared
    tags = Counter(json.loads(path.read_bytes())["tag"] for path in at_provider(home))
    assert set(tags.values()) == {1}
    after = client(home)
    jobs = after.list_jobs()
    assert len(jobs) == own + shared
    assert {job.provider_job_id for job in jobs} == {path.stem for path in at_provider(home)}
    assert {job.status for job in jobs} <= {"queued", "running", "finalizing", "succeeded"}
    assert after.journal.integrity() == "ok"
    after.close()


def _threaded_writer(home: Path, threads: int, count: int, start: Any, results: Any) -> None:
    """Create the same jobs in all threads of all processes: each with a key, and each without one."""
    faults: list[str] = []
    shared = priced_client(home)
    logging.getLogger("ftsdk").setLevel(logging.ERROR)

    def create() -> None:
        start.wait()
        for i in range(count):
            try:
                shared.create_job(ROWS, key=f"shared-{i}", seed=1000 + i)
                shared.create_job(ROWS, seed=i)
            except FtsdkError as error:
                faults.append(str(error))

    workers = [threading.Thread(target=create) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    results.put(faults)


def _looking_before_journaling(home: Path, *more: Any) -> None:
    """Planted bug: the very same job is looked for before the transaction, not in it."""

    def unchecked(wanted: Any, rule: DuplicateRule, hook: Any) -> Any:
        return hook

    submit_module.unless_same = unchecked  # type: ignore[assignment]  # in the child process only
    _threaded_writer(home, *more)


def _at_once(home: Path, spawned: list[Any], writer: Any, count: int) -> list[list[str]]:
    context, processes, threads = multiprocessing.get_context("spawn"), 3, 4
    results, start = context.Queue(), context.Barrier(processes * threads)
    for _ in range(processes):
        spawned.append(context.Process(target=writer, args=(home, threads, count, start, results)))
    for process in spawned:
        process.start()
    return [results.get(timeout=600) for _ in range(processes)]


@pytest.mark.timeout(900)
def test_threads_of_several_processes_create_each_job_once(
    tmp_path: Path, request: pytest.FixtureRequest, spawned: list[Any]
) -> None:
    count, home = 100 if request.config.getoption("--long") else 6, tmp_path / "home"
    assert _at_once(home, spawned, _threaded_writer, count) == [[]] * 3
    assert len(at_provider(home)) == 2 * count
    after = client(home)
    assert {job.provider_job_id for job in after.list_jobs()} == {
        path.stem for path in at_provider(home)
    }
    assert len(after.list_jobs()) == 2 * count
    assert after.journal.integrity() == "ok"


def test_threads_catch_a_check_outside_of_the_transaction(
    tmp_path: Path, spawned: list[Any]
) -> None:
    _at_once(tmp_path, spawned, _looking_before_journaling, 3)
    assert len(at_provider(tmp_path)) > 6


def _careless_writer(home: Path, number: int, count: int, results: Any) -> None:
    """Planted bug: transactions begin with a plain BEGIN, without the write lock."""

    class Cursor(sqlite3.Cursor):
        def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
            return super().execute(sql.replace("BEGIN IMMEDIATE", "BEGIN"), *args)

    class Connection(sqlite3.Connection):
        def cursor(self, factory: Any = Cursor) -> Any:
            return super().cursor(factory)

    real = sqlite3.connect

    def connect(*args: Any, **options: Any) -> sqlite3.Connection:
        return real(*args, factory=Connection, **options)

    sqlite3.connect = connect  # type: ignore[assignment]  # in the child process only
    _writer(home, number, count, results)


def test_many_writers_catch_a_plain_begin(tmp_path: Path, spawned: list[Any]) -> None:
    context, home = multiprocessing.get_context("spawn"), tmp_path / "home"
    results = context.Queue()
    for number in range(8):
        spawned.append(context.Process(target=_careless_writer, args=(home, number, 12, results)))
    for process in spawned:
        process.start()
    ended = [results.get(timeout=240) for _ in spawned]
    assert any("locked the journal" in fault for _, faults, _ in ended for fault in faults)
