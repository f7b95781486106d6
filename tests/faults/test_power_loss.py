"""T5: no power cut loses a row that the journal has acknowledged, or corrupts the journal.

The real `Journal` runs over a disk in memory that loses its power at a random operation: also while
the journal is created and migrated, and while it recovers from the previous cut. The short tier runs
300 cuts, `--long` 20,000. With weaker SQLite settings the harness has to find lost rows.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args
from unittest import mock

import pytest

pytest.importorskip("apsw", reason="a disk that loses power needs apsw, of the extra `test`")

from ftsdk.errors import StoreError
from ftsdk.store import journal as journal_module
from ftsdk.store.journal import Journal
from ftsdk.types.job import JobSnapshot
from ftsdk.types.status import JobStatus
from tests.faults.power_loss_vfs import (
    Connection,
    CutAt,
    Disk,
    DiskVfs,
    PowerCutError,
    Totals,
    Where,
)

NOW = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
CUTS_OF_ONE_DISK = 8
KINDS = {
    *("create", "delete", "sync folder", "sync database", "sync journal"),
    *("truncate journal", "write database", "write journal"),
}
PATH = [JobStatus.SUBMITTING, JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.SUCCEEDED]


class Machine:
    """One disk through several cuts, and the rows that were acknowledged."""

    def __init__(
        self, home: Path, seed: int, vfs: DiskVfs, rewrite: Callable[[str], str], totals: Totals
    ) -> None:
        self.home, self.seed, self.vfs, self.rewrite, self.totals = home, seed, vfs, rewrite, totals
        self.chance = random.Random(seed)
        self.vfs.disk = Disk(self.chance, forgiving=self.chance.random() < 0.5)
        self.acknowledged: dict[str, JobSnapshot] = {}
        self.in_progress: JobSnapshot | None = None  # what the current call would have written
        self.numbers = itertools.count()
        self.connections: list[Connection] = []

    def connect(self, uri: str) -> Connection:
        """Replace `sqlite3.connect`. The journal has made sure before that the file exists."""
        name = uri.rpartition("/")[2].partition("?")[0]
        if name not in self.vfs.disk.names:
            self.vfs.disk.create(name)
        self.connections.append(Connection(name, self.vfs.name, self.rewrite))
        return self.connections[-1]

    def run(self) -> None:
        """Work until the power goes, check what is left, and continue with it."""
        for _ in range(CUTS_OF_ONE_DISK):
            disk = self.vfs.disk
            disk.cut_at = self.next_cut()
            try:
                self.work(Journal(self.home))
            except PowerCutError:
                pass
            finally:
                for connection in self.connections:
                    connection.close()  # what it writes now never reaches the disk
                self.connections.clear()
            assert disk.after is not None
            self.totals.cuts += 1
            self.totals.operations += disk.operations
            self.totals.cut_before[disk.cut_before] += 1
            self.vfs.disk = self.copy_of(disk.after)
            if not self.is_intact():
                return
            self.vfs.disk = disk.after  # with its hot journal: the next cut may happen in recovery

    def next_cut(self) -> CutAt:
        of = self.chance.choice(get_args(Where))
        return CutAt(self.chance.randrange(250 if of == "operations" else 30), of)

    @staticmethod
    def copy_of(disk: Disk) -> Disk:
        copy = Disk(disk.chance, disk.forgiving)
        for name, inode in disk.names.items():
            made = type(inode)(bytearray(inode.seen), bytearray(inode.durable))
            copy.names[name] = copy.durable_names[name] = made
        return copy

    # --- the work ---

    def work(self, journal: Journal) -> None:
        while True:
            moving = [j for j in self.acknowledged.values() if not j.status.is_final]
            if moving and self.chance.random() < 0.6:
                self.change(journal, self.chance.choice(moving))
            elif self.chance.random() < 0.9:
                self.add(journal)
            else:
                journal.close()

    def add(self, journal: Journal) -> None:
        number = f"{self.seed}-{next(self.numbers)}"
        new = JobSnapshot(
            id=f"ftj_{number}",
            provider="fake",
            status=JobStatus.CREATED,
            model="m",
            key=self.chance.choice((None, f"key {number}")),
            tag=f"tag-{number}",
            client_token=number,
            fingerprint="f",
            spec={"notes": "n" * self.chance.choice((10, 900, 6_000))},
            created_at=NOW,
            updated_at=NOW,
        )
        self.write(new, lambda: journal.add(new))

    def change(self, journal: Journal, old: JobSnapshot) -> None:
        at = PATH.index(old.status) + 1 if old.status in PATH else 0
        fields: dict[str, Any] = {"status": PATH[at], "message": "m" * self.chance.randrange(3_000)}
        if PATH[at] is JobStatus.QUEUED:
            fields["provider_job_id"] = f"remote-{old.id}"
        new = old.model_copy(update={**fields, "updated_at": NOW + dt.timedelta(seconds=at + 1)})
        self.write(new, lambda: journal.change(old.id, now=new.updated_at, why="w", **fields))

    def write(self, new: JobSnapshot, act: Callable[[], object]) -> None:
        self.in_progress = new
        act()
        assert self.vfs.disk.after is None, "acknowledged after the power went"
        self.acknowledged[new.id], self.in_progress = new, None
        self.totals.acknowledged += 1

    # --- the check ---

    def is_intact(self) -> bool:
        """Open the journal and compare; the row of the interrupted call may exist or not."""
        where = f"seed {self.seed}, cut {self.totals.cuts}"
        try:
            journal = Journal(self.home)
            integrity = journal.integrity()
            found = {job.id: job for job in journal.list()}
            moves = {job_id: journal.status_changes(job_id) for job_id in found}
        except (StoreError, ValueError) as error:  # ValueError: a torn snapshot
            self.totals.corrupt.append(f"{where}: {error}")
            return False
        finally:
            for connection in self.connections:
                connection.close()
            self.connections.clear()
        if integrity != "ok":
            self.totals.corrupt.append(f"{where}: {integrity}")
            return False
        expected = dict(self.acknowledged)
        if self.in_progress is not None and found.get(self.in_progress.id) == self.in_progress:
            expected[self.in_progress.id] = self.in_progress  # written, and not acknowledged
        self.in_progress = None
        self.totals.rows_checked += len(expected)
        consistent = all(moves[i] and moves[i][-1][2] is job.status for i, job in found.items())
        if found != expected or not consistent:
            self.totals.lost.append(f"{where}: {len(expected)} jobs expected, {len(found)} found")
            return False
        self.acknowledged = expected
        return True


@contextlib.contextmanager
def patched_sqlite(machine: Callable[[], Machine]) -> Iterator[None]:
    """Let the journal module connect to the machine's disk; the rest of `sqlite3` is unchanged."""
    patched = SimpleNamespace(**vars(sqlite3))
    patched.connect = lambda path, **settings: machine().connect(path)
    with mock.patch.object(journal_module, "sqlite3", patched):
        yield


def run(
    home: Path, cuts: int, rewrite: Callable[[str], str] = str, *, stop_at_lost: int = 10**9
) -> Totals:
    """Run machines until there were that many cuts, or cuts that lost rows; return the totals."""
    totals = Totals()
    vfs = DiskVfs("losing-power")
    machine: Machine
    with patched_sqlite(lambda: machine):
        for seed in itertools.count():
            if totals.cuts >= cuts or len(totals.lost) >= stop_at_lost:
                return totals
            machine = Machine(home, seed, vfs, rewrite, totals)
            machine.run()
    raise AssertionError


@pytest.mark.timeout(1_200)  # the long tier, on a busy machine
def test_no_acknowledged_row_is_lost(request: pytest.FixtureRequest, home: Path) -> None:
    cuts = 20_000 if request.config.getoption("--long") else 300
    started = time.perf_counter()
    totals = run(home, cuts)
    print(totals, f"{totals.cuts / (time.perf_counter() - started):.0f} cuts/s")
    assert not totals.lost, totals.lost[:5]
    assert not totals.corrupt, totals.corrupt[:5]
    assert totals.cuts >= cuts
    assert set(totals.cut_before) >= KINDS, "a kind of operation is never cut"


def weaker(mode: str, synchronous: str) -> Callable[[str], str]:
    """Planted bug: return a function that replaces the journal's settings in SQL."""

    def rewrite(sql: str) -> str:
        sql = sql.replace("PRAGMA journal_mode=TRUNCATE", f"PRAGMA journal_mode={mode}")
        return sql.replace("PRAGMA synchronous=EXTRA", f"PRAGMA synchronous={synchronous}")

    return rewrite


@pytest.mark.parametrize(
    ("mode", "synchronous"),
    [("DELETE", "FULL"), ("DELETE", "NORMAL"), ("TRUNCATE", "NORMAL"), ("TRUNCATE", "OFF")],
)
def test_weaker_settings_are_caught(
    request: pytest.FixtureRequest, home: Path, mode: str, synchronous: str
) -> None:
    long = request.config.getoption("--long")
    stop_at_lost = 10**9 if long else 1
    totals = run(home, 1_500, weaker(mode, synchronous), stop_at_lost=stop_at_lost)
    print(f"{mode}+{synchronous}: {totals}")
    assert totals.lost, str(totals)


@pytest.mark.parametrize("mode", ["DELETE", "PERSIST"])
def test_extra_is_enough_in_the_other_rollback_modes(
    request: pytest.FixtureRequest, home: Path, mode: str
) -> None:
    totals = run(home, 2_000 if request.config.getoption("--long") else 60, weaker(mode, "EXTRA"))
    assert not totals.lost + totals.corrupt, str(totals)


def test_the_shipped_settings_reach_sqlite(home: Path) -> None:
    vfs = DiskVfs("losing-power")
    machine = Machine(home, 0, vfs, str, Totals())
    with patched_sqlite(lambda: machine):
        journal = Journal(home)
        assert journal.read("PRAGMA journal_mode")[0][0] == "truncate"
        assert journal.read("PRAGMA synchronous")[0][0] == 3  # EXTRA
        journal.close()
