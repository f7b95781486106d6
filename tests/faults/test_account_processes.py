"""T3 and T7 with two accounts: processes with either key in one home, killed or writing at once.

The provider is `fake` with a folder for each account, so what one key made, the other cannot see.
`--long` runs 1,000 kills and 8 x 200 submissions.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ftsdk.backends.fake import FakeBackend
from ftsdk.client import Client
from ftsdk.config import Config
from ftsdk.errors import ConfigError, FtsdkError, NeedsDecision, WrongAccount
from ftsdk.jobs import account_check
from ftsdk.jobs.job import FineTuneJob
from ftsdk.session import Horizon, Session
from tests.faults import test_submission_processes as processes
from tests.faults.test_submission_processes import KILLED, ROWS

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks from a warm parent")
KEYS = ("alpha", "beta")
PROFILES = {key: {"provider": "fake", "key_variable": f"FAKE_KEY_{key.upper()}"} for key in KEYS}


class AccountFake(FakeBackend):
    """`fake` with accounts: each key has a folder of its own."""

    reads_key_variable = True

    def account(self) -> str | None:
        key = self.context.env.get(self.context.key_variable or "FAKE_KEY")
        if not key:
            raise ConfigError("No key", where="FAKE_KEY")
        return f"project:{key}"

    @property
    def _folder(self) -> Path:
        self.require_account()
        return _folder_of(self.context.home, str(self.account()))


def _folder_of(home: Path, account: str) -> Path:
    return home / f"fake-{account.partition(':')[2]}"


def client(home: Path, key: str, *, horizon: Horizon | None = None) -> Client:
    """A client with one key."""
    return _client(home, {"FAKE_KEY": key}, None, horizon or Horizon(while_creating_s=0))


def both(home: Path, profile: str | None) -> Client:
    """A client with both keys, in one of the profiles."""
    env = {f"FAKE_KEY_{key.upper()}": key for key in KEYS}
    return _client(home, env, profile, Horizon(while_creating_s=0))


def _client(home: Path, env: dict[str, str], profile: str | None, horizon: Horizon) -> Client:
    settings = {"FTSDK_PROVIDER": "fake", "FTSDK_MODEL": "m"}
    config = Config(data={"profiles": PROFILES}, profile=profile, env={**settings, **env})
    return Client(
        home=home, config=config, env=env, horizon=horizon, backends={"fake": AccountFake}
    )


def at_provider(home: Path) -> list[tuple[str, str]]:
    """Account and provider's id of each job at the provider."""
    return sorted(
        (f"project:{key}", path.stem)
        for key in KEYS
        for path in _folder_of(home, f"project:{key}").glob("fake-*.json")
    )


def in_journal(known: Client) -> list[tuple[str, str]]:
    """Account and provider's id of each accepted job in the journal."""
    jobs = [job.snapshot for job in known.list_jobs()]
    return sorted((str(s.account), s.provider_job_id) for s in jobs if s.provider_job_id)


# --- T3: kills at named points ------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _with_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the harness of one account use the first key."""
    monkeypatch.setattr(processes, "client", lambda home: client(home, KEYS[0]))


@pytest.fixture
def names(tmp_path: Path) -> list[str]:
    code, passed = processes._fork(tmp_path / "names", None)
    assert code == 0
    return passed


def _recover(home: Path) -> bool:
    """Repeat the create call with the other key, then with the first; decide what is asked.

    Return whether the other key was refused.
    """
    other = client(home, KEYS[1], horizon=Horizon(look_s=-1, while_creating_s=0))
    first = client(home, KEYS[0], horizon=Horizon(look_s=-1, while_creating_s=0))
    refused = 0
    for one in (other, first):
        try:
            one.create_job(ROWS, key="k")
        except WrongAccount:
            refused += 1
        except NeedsDecision as undecided:
            # Looked for with the job's own key, and not there: it was never made.
            one.resolve(str(undecided.job_id), send_again=True)
    assert refused == 1  # the job is of one of them, and the other is never given it
    assert len(at_provider(home)) == 1
    assert in_journal(first) == at_provider(home)
    assert first.journal.integrity() == "ok"
    other.close()
    first.close()
    return at_provider(home)[0][0] == f"project:{KEYS[0]}"


def test_kills_with_two_accounts(
    names: list[str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    times = max(1, -(-1000 // len(names))) if request.config.getoption("--long") else 1
    kills = kept = 0
    for turn in range(times):
        for point in range(1, len(names) + 1):
            home = tmp_path / f"{turn}-{point}"
            code, _ = processes._fork(home, point)
            assert code == KILLED, names[point - 1]
            kills += 1
            kept += _recover(home)
    print(f"{kills} kills, two accounts: 0 duplicates, 0 lost, 0 mixed; {kept} of the first key")
    assert 0 < kept < kills  # before it is sent, the job goes to whoever creates it again


def test_the_kill_points_catch_mixed_accounts(
    names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted bug: a job in doubt is looked for with whatever key is in use."""

    def any_account(self: Session, snapshot: Any) -> Any:
        return self.backend(snapshot.provider)

    monkeypatch.setattr(account_check, "require_account", lambda *_: None)
    monkeypatch.setattr(account_check, "is_of_account", lambda *_: True)
    monkeypatch.setattr(Session, "backend_for", any_account)

    def catches(point: int) -> bool:
        home = tmp_path / str(point)
        processes._fork(home, point)
        try:
            _recover(home)
        except (AssertionError, FtsdkError):
            return len(at_provider(home)) > 1
        return False

    assert any(catches(point) for point in range(len(names), 0, -1))


# --- T7: many writers ---------------------------------------------------------------------------


def _writer(home: Path, number: int, count: int, results: Any) -> None:
    key, faults = KEYS[number % 2], []
    own = client(home, key)
    for i in range(count):
        try:
            own.create_job(ROWS, key=f"{key}-{i}" if i % 2 else f"{number}-{i}")
        except FtsdkError as error:
            faults.append(str(error))
    results.put((number, faults))


def _reader(home: Path, done: Any, results: Any) -> None:
    """Refresh and cancel jobs of both accounts, under either profile, while others write."""
    faults, reads = [], 0
    while not done.is_set():
        with both(home, KEYS[reads % 2]) as viewer:
            for job in viewer.list_jobs(limit=6):
                try:
                    (job.cancel if _is_to_cancel(job) else job.refresh)()
                except FtsdkError as error:
                    faults.append(str(error))
        reads += 1
        done.wait(0.02)
    results.put((reads, faults))


def _is_to_cancel(job: FineTuneJob) -> bool:
    return job.snapshot.is_accepted and job.id.endswith(("0", "1"))


def _careless_reader(home: Path, done: Any, results: Any) -> None:
    """Planted bug: every job is read with the key in use."""

    def any_account(self: Session, snapshot: Any) -> Any:
        return self.backend(snapshot.provider)

    Session.backend_for = any_account  # type: ignore[method-assign]  # in the child process only
    _reader(home, done, results)


@pytest.fixture
def spawned() -> Iterator[list[Any]]:
    started: list[Any] = []
    yield started
    for process in started:
        process.kill()
        process.join()


def _run(home: Path, spawned: list[Any], count: int, reader: Any, writers: int = 8) -> Any:
    """Run the writers and the reader; return the faults of both and the number of reads."""
    context = multiprocessing.get_context("spawn")
    results, read, done = context.Queue(), context.Queue(), context.Event()
    for number in range(writers):
        spawned.append(context.Process(target=_writer, args=(home, number, count, results)))
    spawned.append(context.Process(target=reader, args=(home, done, read)))
    for process in spawned:
        process.start()
    ended = [results.get(timeout=600) for _ in range(writers)]
    time.sleep(0.5)  # the last jobs are read, too
    done.set()
    reads, reader_faults = read.get(timeout=60)
    return [fault for _, faults in ended for fault in faults], reader_faults, reads


@pytest.mark.timeout(900)
def test_writers_and_readers_of_two_accounts(
    tmp_path: Path, request: pytest.FixtureRequest, spawned: list[Any]
) -> None:
    count, home = (200 if request.config.getoption("--long") else 8), tmp_path / "home"
    faults, reader_faults, reads = _run(home, spawned, count, _reader)
    assert faults == []
    assert reader_faults == []
    made, known = at_provider(home), both(home, None)
    own, shared = 8 * (count - count // 2), len(KEYS) * (count // 2)
    assert len(made) == own + shared
    assert in_journal(known) == made
    tags = [
        json.loads((_folder_of(home, account) / f"{identity}.json").read_bytes())["tag"]
        for account, identity in made
    ]
    assert len(set(tags)) == len(tags)
    print(f"{len(made)} jobs of two accounts by 8 processes, {reads} reads: 0 mixed")
    known.close()


@pytest.mark.timeout(300)
def test_the_writers_catch_a_reader_with_the_wrong_key(tmp_path: Path, spawned: list[Any]) -> None:
    _, reader_faults, _ = _run(tmp_path / "home", spawned, 4, _careless_reader, writers=2)
    assert any("has no job" in fault for fault in reader_faults)
