"""T5: no power cut takes back a row that the journal has acknowledged, or leaves it unsound.

The real `Journal` runs over a disk in memory that loses its power at a random operation: also
while it is made and migrated, and while it recovers from the cut before. The short tier plays a
few hundred cuts, `--long` 20,000. With weaker settings than the shipped ones the same harness has
to find lost rows.
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
    Tally,
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
    """One disk through several cuts, and what the user was told is safe."""

    def __init__(
        self, home: Path, seed: int, vfs: DiskVfs, rewrite: Callable[[str], str], tally: Tally
    ) -> None:
        self.home, self.seed, self.vfs, self.rewrite, self.tally = home, seed, vfs, rewrite, tally
        self.chance = random.Random(seed)
        self.vfs.disk = Disk(self.chance, forgiving=self.chance.random() < 0.5)
        self.told: dict[str, JobSnapshot] = {}
        self.wanted: JobSnapshot | None = None  # what the call under way would have written
        self.numbers = itertools.count()
        self.connections: list[Connection] = []

    def connect(self, uri: str) -> Connection:
        """In the place of `sqlite3.connect`. The journal has just made sure that there is a file."""
        name = uri.rpartition("/")[2].partition("?")[0]
        if name not in self.vfs.disk.names:
            self.vfs.disk.create(name)
        self.connections.append(Connection(name, self.vfs.name, self.rewrite))
        return self.connections[-1]

    def play(self) -> None:
        """Work until the power goes, look what is left, and go on with that."""
        for _ in range(CUTS_OF_ONE_DISK):
            disk = self.vfs.disk
            disk.cut_at = self.next_cut()
            try:
                self.work(Journal(self.home))
            except PowerCutError:
                pass
            finally:
                for connection in self.connections:
                    connection.close()  # what it still writes never reaches the disk
                self.connections.clear()
            assert disk.after is not None
            self.tally.cuts += 1
            self.tally.operations += disk.operations
            self.tally.cut_before[disk.cut_before] += 1
            self.vfs.disk = self.copy_of(disk.after)
            if not self.sound():
                return
            self.vfs.disk = disk.after  # with its hot journal: the next cut may fall in recovery

    def next_cut(self) -> CutAt:
        of = self.chance.choice(get_args(Where))
        return CutAt(self.chance.randrange(250 if of == "operations" else 30), of)

    @staticmethod
    def copy_of(disk: Disk) -> Disk:
        copy = Disk(disk.chance, disk.forgiving)
        for name, inode in disk.names.items():
            made = type(inode)(bytearray(inode.seen), bytearray(inode.safe))
            copy.names[name] = copy.safe_names[name] = made
        return copy

    # --- the work ---

    def work(self, journal: Journal) -> None:
        while True:
            moving = [j for j in self.told.values() if not j.status.is_final]
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
        self.wanted = new
        act()
        assert self.vfs.disk.after is None, "told that it is safe after the power went"
        self.told[new.id], self.wanted = new, None
        self.tally.acknowledged += 1

    # --- the look ---

    def sound(self) -> bool:
        """Open what is left and compare; what the cut call wrote may be there whole or not."""
        where = f"seed {self.seed}, cut {self.tally.cuts}"
        try:
            journal = Journal(self.home)
            told = journal.integrity()
            found = {job.id: job for job in journal.list()}
            moves = {job_id: journal.moves(job_id) for job_id in found}
        except (StoreError, ValueError) as error:  # ValueError: a torn snapshot
            self.tally.corrupt.append(f"{where}: {error}")
            return False
        finally:
            for connection in self.connections:
                connection.close()
            self.connections.clear()
        if told != "ok":
            self.tally.corrupt.append(f"{where}: {told}")
            return False
        expected = dict(self.told)
        if self.wanted is not None and found.get(self.wanted.id) == self.wanted:
            expected[self.wanted.id] = self.wanted  # it got through, and nobody was told
        self.wanted = None
        self.tally.rows_checked += len(expected)
        whole = all(moves[i] and moves[i][-1][2] is job.status for i, job in found.items())
        if found != expected or not whole:
            self.tally.lost.append(f"{where}: {len(expected)} jobs told, {len(found)} there")
            return False
        self.told = expected
        return True


@contextlib.contextmanager
def standing_in(machine: Callable[[], Machine]) -> Iterator[None]:
    """Let the journal's module connect to the machine's disk; all else of `sqlite3` stays."""
    here = SimpleNamespace(**vars(sqlite3))
    here.connect = lambda path, **settings: machine().connect(path)
    with mock.patch.object(journal_module, "sqlite3", here):
        yield


def play(
    home: Path, cuts: int, rewrite: Callable[[str], str] = str, *, stop_at_bad: int = 10**9
) -> Tally:
    """Machine after machine until so many cuts are played."""
    tally = Tally()
    vfs = DiskVfs("losing-power")
    machine: Machine
    with standing_in(lambda: machine):
        for seed in itertools.count():
            if tally.cuts >= cuts or len(tally.lost) + len(tally.corrupt) >= stop_at_bad:
                return tally
            machine = Machine(home, seed, vfs, rewrite, tally)
            machine.play()
    raise AssertionError


@pytest.mark.timeout(1_200)  # the long tier, on a busy machine
def test_no_acknowledged_row_is_lost(request: pytest.FixtureRequest, home: Path) -> None:
    cuts = 20_000 if request.config.getoption("--long") else 300
    begun = time.perf_counter()
    tally = play(home, cuts)
    print(tally, f"{tally.cuts / (time.perf_counter() - begun):.0f} cuts/s")
    assert not tally.lost, tally.lost[:5]
    assert not tally.corrupt, tally.corrupt[:5]
    assert tally.cuts >= cuts
    assert set(tally.cut_before) >= KINDS, "a kind of operation is never cut"


def weaker(mode: str, synchronous: str) -> Callable[[str], str]:
    """Planted: other settings than those that the journal asks for."""

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
    stop_at_bad = 10**9 if long else 3
    tally = play(home, 1_500, weaker(mode, synchronous), stop_at_bad=stop_at_bad)
    print(f"{mode}+{synchronous}: {tally}")
    assert tally.lost, str(tally)


@pytest.mark.parametrize("mode", ["DELETE", "PERSIST"])
def test_extra_is_enough_in_the_other_rollback_modes(
    request: pytest.FixtureRequest, home: Path, mode: str
) -> None:
    tally = play(home, 2_000 if request.config.getoption("--long") else 60, weaker(mode, "EXTRA"))
    assert not tally.lost + tally.corrupt, str(tally)


def test_the_shipped_settings_reach_sqlite(home: Path) -> None:
    vfs = DiskVfs("losing-power")
    machine = Machine(home, 0, vfs, str, Tally())
    with standing_in(lambda: machine):
        journal = Journal(home)
        assert journal.read("PRAGMA journal_mode")[0][0] == "truncate"
        assert journal.read("PRAGMA synchronous")[0][0] == 3  # EXTRA
        journal.close()
