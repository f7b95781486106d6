"""The journal: settings, file modes, transitions, keys, ids, and errors of unusable files."""

from __future__ import annotations

import datetime as dt
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from ftsdk.errors import JournalDamaged, JournalTooNew, StoreError, UnknownJob
from ftsdk.store.duplicates import KeyTaken
from ftsdk.store.journal import Journal
from ftsdk.store.migrations import MIGRATIONS
from ftsdk.types.job import JobSnapshot
from ftsdk.types.status import ALLOWED_TRANSITIONS, JobStatus
from ftsdk.util.ids import client_token, new_job_id, submission_tag

NOW = dt.datetime(2026, 11, 25, tzinfo=dt.UTC)


def snapshot(**fields: Any) -> JobSnapshot:
    job_id = fields.pop("id", new_job_id(NOW))
    return JobSnapshot(
        **{
            "id": job_id,
            "provider": "fake",
            "status": JobStatus.CREATED,
            "model": "m",
            "tag": submission_tag(job_id),
            "client_token": client_token(),
            "fingerprint": "f",
            "created_at": NOW,
            "updated_at": NOW,
            **fields,
        }
    )


def test_settings_that_survive_a_power_cut(home: Path) -> None:
    journal = Journal(home)
    connection = journal._connection()
    assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "truncate"
    assert connection.execute("PRAGMA synchronous").fetchone()[0] == 3  # EXTRA
    assert connection.execute("PRAGMA foreign_keys").fetchone()[0] == 1


def is_closed(connection: sqlite3.Connection) -> bool:
    try:
        connection.execute("SELECT 1")
    except sqlite3.ProgrammingError:
        return True
    return False


def test_nobody_has_to_close_a_connection(home: Path) -> None:
    """The garbage collector would close it too, but since Python 3.13 with a warning."""
    journal = Journal(home)
    mine, others = journal._connection(), []
    worker = threading.Thread(target=lambda: others.append(journal._connection()))
    worker.start()
    worker.join()
    assert is_closed(others[0])
    assert not is_closed(mine)
    assert journal._connection() is mine
    journal = worker = None  # nobody refers to it any more
    assert is_closed(mine)


def test_a_journal_opens_again_after_it_was_closed(home: Path) -> None:
    journal = Journal(home)
    mine = journal._connection()
    journal.close()
    journal.close()
    assert is_closed(mine)
    journal.add(snapshot())
    assert len(journal.list()) == 1


def test_only_the_owner_can_read_it(home: Path) -> None:
    old = os.umask(0)
    try:
        Journal(home).add(snapshot())
    finally:
        os.umask(old)
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    for path in home.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_a_wide_file_mode_is_fixed_at_opening(home: Path) -> None:
    Journal(home).close()
    (home / "journal.db").chmod(0o666)
    Journal(home)
    assert stat.S_IMODE((home / "journal.db").stat().st_mode) == 0o600


def test_a_job_round_trips_through_the_journal(home: Path) -> None:
    job = snapshot(key="k", name="n", tags={"a": "b"}, spec={"x": [1, None]})
    Journal(home).add(job)
    assert Journal(home).get(job.id) == job


def test_a_key_belongs_to_one_job(home: Path) -> None:
    journal, first = Journal(home), snapshot(key="k")
    journal.add(first)
    with pytest.raises(KeyTaken) as caught:
        journal.add(snapshot(key="k"))
    assert caught.value.existing == first
    journal.add(snapshot())
    journal.add(snapshot())  # without a key, as many as one likes


@pytest.mark.parametrize("old", list(JobStatus))
@pytest.mark.parametrize("new", list(JobStatus))
def test_only_allowed_transitions_are_written(home: Path, old: JobStatus, new: JobStatus) -> None:
    journal, job = Journal(home), snapshot(status=old)
    journal.add(job)
    changed = journal.change(job.id, now=NOW, why="test", status=new, message="moved")
    allowed = new is old or new in ALLOWED_TRANSITIONS[old]
    assert changed.status is (new if allowed else old)
    assert journal.get(job.id) == changed
    assert (changed.message == "moved") is allowed


def test_only_resume_leaves_a_final_status() -> None:
    assert ALLOWED_TRANSITIONS[JobStatus.SUCCEEDED] == frozenset()
    assert ALLOWED_TRANSITIONS[JobStatus.FAILED] == {JobStatus.QUEUED}
    assert not JobStatus.UNKNOWN.is_final
    assert {s for s in JobStatus if s.is_final} == {"succeeded", "failed", "cancelled"}


def test_status_changes_are_kept_in_order(home: Path) -> None:
    journal, job = Journal(home), snapshot()
    journal.add(job)
    journal.change(job.id, now=NOW, why="sending", status=JobStatus.SUBMITTING)
    journal.change(job.id, now=NOW, why="accepted", status=JobStatus.QUEUED, raw_status="Q")
    assert [(m[1], m[2], m[3], m[4]) for m in journal.status_changes(job.id)] == [
        (None, "created", "", "journaled"),
        ("created", "submitting", "", "sending"),
        ("submitting", "queued", "Q", "accepted"),
    ]


def test_only_from_leaves_other_statuses_unchanged(home: Path) -> None:
    journal, job = Journal(home), snapshot(status=JobStatus.RUNNING)
    journal.add(job)
    changed = journal.change(
        job.id,
        now=NOW,
        why="late",
        only_from=frozenset({JobStatus.CREATED}),
        status=JobStatus.CANCELLED,
    )
    assert changed.status is JobStatus.RUNNING


def test_short_ids_work_when_they_are_unique(home: Path) -> None:
    journal = Journal(home)
    one, two = (
        snapshot(id="ftj_01AAAAAAAAAAAAAAAAAAAAAAAA"),
        snapshot(id="ftj_01AAAAAAAAAAAAAAAAAAAAAAAB"),
    )
    journal.add(one)
    assert journal.get("ftj_01AAAA").id == one.id
    assert journal.get("ftj_01aaaa").id == one.id
    journal.add(two)
    with pytest.raises(UnknownJob, match="Several"):
        journal.get("ftj_01AAAA")
    for bad in ("ftj_", "ftj_01%", "x' OR '1'='1", "../../etc", "ftj_01BBBB"):
        with pytest.raises(UnknownJob):
            journal.get(bad)


def test_a_newer_schema_is_refused(home: Path) -> None:
    Journal(home).close()
    raw = sqlite3.connect(home / "journal.db")
    raw.execute(f"PRAGMA user_version={len(MIGRATIONS) + 1}")
    raw.commit()
    raw.close()
    with pytest.raises(JournalTooNew, match=f"schema {len(MIGRATIONS) + 1}"):
        Journal(home)


def test_each_old_schema_is_migrated(home: Path) -> None:
    for version in range(len(MIGRATIONS)):
        path = home / str(version)
        path.mkdir(parents=True)
        raw = sqlite3.connect(path / "journal.db", isolation_level=None)
        for statements in MIGRATIONS[:version]:
            for statement in statements:
                raw.execute(statement)
        raw.execute(f"PRAGMA user_version={version}")
        raw.close()
        journal = Journal(path)
        journal.add(snapshot())
        assert journal.integrity() == "ok"


def test_a_file_that_is_not_a_database_is_reported_and_kept(home: Path) -> None:
    home.mkdir()
    (home / "journal.db").write_bytes(b"hello, I am a text file" * 100)
    with pytest.raises(JournalDamaged):
        Journal(home)
    assert (home / "journal.db").read_bytes().startswith(b"hello")


def test_another_programs_database_is_refused(home: Path) -> None:
    home.mkdir()
    raw = sqlite3.connect(home / "journal.db")
    raw.execute("PRAGMA application_id=77")
    raw.execute("CREATE TABLE t (x)")
    raw.commit()
    raw.close()
    with pytest.raises(StoreError, match="other program"):
        Journal(home)


def test_a_symbolic_link_is_refused(home: Path, tmp_path: Path) -> None:
    home.mkdir()
    (home / "journal.db").symlink_to(tmp_path / "elsewhere.db")
    with pytest.raises(StoreError, match="symbolic link"):
        Journal(home)
    assert not (tmp_path / "elsewhere.db").exists()


def test_an_unusable_home_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError) as caught:
        Journal(tmp_path / "file" / "home")
    assert "FTSDK_HOME" in caught.value.hint


def test_threads_share_one_journal(home: Path) -> None:
    journal, faults = Journal(home), []

    def work() -> None:
        try:
            for _ in range(25):
                job = snapshot()
                journal.add(job)
                journal.change(job.id, now=NOW, why="x", status=JobStatus.SUBMITTING)
        except StoreError as error:
            faults.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    assert len(journal.list(status=frozenset({JobStatus.SUBMITTING}))) == 100


def test_a_read_only_journal_creates_nothing(home: Path) -> None:
    with pytest.raises(StoreError):
        Journal(home, read_only=True)
    assert not home.exists()


@pytest.mark.parametrize(("version", "enough"), [((3, 36, 9), False), ((3, 37, 0), True)])
def test_the_oldest_sqlite_that_is_enough(
    home: Path, monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int], enough: bool
) -> None:
    monkeypatch.setattr("sqlite3.sqlite_version_info", version)
    if enough:
        Journal(home).close()
        return
    with pytest.raises(StoreError, match=r"needs 3\.37"):
        Journal(home)


CUT_SHORT = """
import os, sys
from pathlib import Path
from ftsdk.store.journal import Journal
journal = Journal(Path(sys.argv[1]))
connection = journal._connection()
connection.execute("PRAGMA cache_size=1")  # so that SQLite writes pages before the commit
connection.execute("BEGIN IMMEDIATE")
for _ in range(200):
    connection.execute("UPDATE jobs SET snapshot = snapshot || ' '")
connection.execute("CREATE TABLE junk AS SELECT zeroblob(100000) AS b")
os._exit(9)
"""


def cut_short(home: Path) -> None:
    subprocess.run([sys.executable, "-c", CUT_SHORT, str(home)], check=False)
    assert (home / "journal.db-journal").stat().st_size > 0


def test_an_interrupted_write_is_rolled_back_and_the_file_checked(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = snapshot()
    Journal(home).add(job)
    checks: list[str] = []
    real = Journal.integrity
    monkeypatch.setattr(Journal, "integrity", lambda self: checks.append("") or real(self))
    Journal(home).close()
    assert checks == []
    cut_short(home)
    assert Journal(home).get(job.id) == job
    assert len(checks) == 1
    Journal(home).close()
    assert len(checks) == 1


def test_damage_after_an_interrupted_write_is_reported(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Journal(home).add(snapshot())
    cut_short(home)
    monkeypatch.setattr(Journal, "integrity", lambda _: "row 1 missing from index")
    for _ in range(2):  # every opening reports it, not only the first
        with pytest.raises(JournalDamaged, match="missing from index"):
            Journal(home)
    assert len(Journal(home, read_only=True).list()) == 1
    monkeypatch.undo()
    Journal(home).close()
    assert not (home / "journal.db-unchecked").exists()


def test_a_read_only_journal_reports_an_interrupted_write(home: Path) -> None:
    Journal(home).add(snapshot())
    cut_short(home)
    with pytest.raises(StoreError, match="a read-only command cannot roll it back") as caught:
        Journal(home, read_only=True)
    assert "ftsdk list" in caught.value.hint
    Journal(home).close()
    assert len(Journal(home, read_only=True).list()) == 1


def test_a_backup_is_consistent_while_others_write(home: Path, tmp_path: Path) -> None:
    journal = Journal(home)
    done = threading.Event()

    def write() -> None:
        while not done.is_set():
            journal.add(snapshot())

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(5):
            copy = tmp_path / str(number)
            copy.mkdir(mode=0o700)
            journal.backup(copy / "journal.db")
            found = Journal(copy)
            assert found.integrity() == "ok"
            assert all(found.status_changes(job.id) for job in found.list())
    finally:
        done.set()
        writer.join()


def test_an_sqlite_that_is_too_old_is_reported(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqlite3.sqlite_version_info", (3, 34, 1))
    monkeypatch.setattr("sqlite3.sqlite_version", "3.34.1")
    with pytest.raises(StoreError, match=r"links SQLite 3\.34\.1; the journal needs 3\.37"):
        Journal(home)
    assert not home.exists()
