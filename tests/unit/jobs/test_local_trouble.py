"""Trouble on this machine (a full disk, a broken price file) does not end waiting; it is reported."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ftsdk.backends.fake import FakeBackend
from ftsdk.catalogue.load import load_catalogue, load_last_catalogue
from ftsdk.client import Client
from ftsdk.errors import ConfigError, StoreError
from ftsdk.jobs.spending_guard import SpendingGuard
from ftsdk.store.journal import Journal
from ftsdk.types.events import Event
from ftsdk.types.status import JobStatus

Rows = Callable[[int], list[dict[str, Any]]]


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    """Return `{"full": False}`; while it is True, no write to the journal succeeds."""
    state, real = {"full": False}, Journal.write

    @contextlib.contextmanager
    def write(self: Journal) -> Iterator[sqlite3.Cursor]:
        if state["full"]:
            with self._errors():
                raise sqlite3.OperationalError("database or disk is full")
        with real(self) as cursor:
            yield cursor

    monkeypatch.setattr(Journal, "write", write)
    return state


def test_wait_ends_with_the_job_although_the_disk_is_full(
    client: Client, rows: Rows, disk: dict[str, bool], caplog: pytest.LogCaptureFixture
) -> None:
    job = client.create_job(rows(4))
    disk["full"] = True
    with caplog.at_level(logging.WARNING, "ftsdk"):
        job.wait(timeout=3600)
    assert job.status is JobStatus.SUCCEEDED
    assert job.result().id
    [warning] = [r.message for r in caplog.records if "cannot be journaled" in r.message]
    assert "database or disk is full" in warning, "said once, not at every poll"
    assert client.get_job(job.id).status is not JobStatus.SUCCEEDED
    disk["full"] = False
    assert client.get_job(job.id).refresh().status is JobStatus.SUCCEEDED
    assert client.get_job(job.id).status is JobStatus.SUCCEEDED, "the next refresh journals it"


def test_wait_goes_on_while_the_journal_cannot_be_read(
    client: Client, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = client.create_job(rows(4))

    def unreadable(self: Journal, job_id: str) -> None:
        raise StoreError("The journal's folder cannot be used: Stale file handle")

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "get", unreadable)
        job.wait(timeout=3600)
    assert job.status is JobStatus.SUCCEEDED
    assert client.get_job(job.id).status is JobStatus.SUCCEEDED


@pytest.mark.parametrize("error", [StoreError, ConfigError])
def test_wait_warns_of_local_trouble_and_goes_on(
    error: type[Exception],
    client: Client,
    rows: Rows,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    polls = 0
    real = FakeBackend.get

    def get(self: FakeBackend, identity: str) -> Any:
        nonlocal polls
        polls += 1
        if 2 <= polls <= 900:
            raise error("no space left on device")
        return real(self, identity)

    monkeypatch.setattr(FakeBackend, "get", get)
    seen: list[Event] = []
    job = client.create_job(rows(4))
    polls = 0
    with caplog.at_level(logging.WARNING, "ftsdk"):
        job.wait(on_event=seen.append)
    assert job.status is JobStatus.SUCCEEDED
    warnings = [event.message for event in seen if event.kind == "warning"]
    assert "the job cannot be read now, and waiting goes on: no space left on device" in warnings
    assert sum("waiting goes on" in record.message for record in caplog.records) == 1
    assert len([w for w in warnings if "waiting goes on" in w]) == 1


def test_trouble_before_anything_was_read_is_raised(
    client: Client, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    def get(self: FakeBackend, identity: str) -> Any:
        raise ConfigError("prices.toml is not TOML")

    job = client.create_job(rows(4))
    monkeypatch.setattr(FakeBackend, "get", get)
    with pytest.raises(ConfigError, match="TOML"):
        job.wait()


def test_a_guard_that_cannot_check_says_so_once(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> list[Any]:
        raise StoreError("The journal cannot be used: database or disk is full")

    monkeypatch.setattr("ftsdk.jobs.spending_guard.enforce", fails)
    guard = SpendingGuard(client.session, every_s=0)
    [notice] = guard.check()
    assert (notice.kind, "disk is full" in notice.text) == ("not_ended", True)
    assert guard.check() == []
    assert [event.id.split("-")[:2] for event in SpendingGuard(client.session).events(3)] == [
        ["not_ended", "all"]
    ]


def test_the_last_prices_are_used_while_the_file_is_broken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = tmp_path / "prices.toml"
    own.write_text("as_of = ")
    with pytest.raises(ConfigError):
        load_last_catalogue(tmp_path)
    own.write_text("as_of = 2031-01-02\n")
    before = load_catalogue(tmp_path)
    own.write_text("as_of = ")
    with caplog.at_level(logging.WARNING, "ftsdk"):
        assert load_last_catalogue(tmp_path) == before
        assert load_last_catalogue(tmp_path) == before
    assert [r.message for r in caplog.records if "Your price file" in r.message][1:] == []
    assert len(caplog.records) == 1
    with pytest.raises(ConfigError):
        load_catalogue(tmp_path)  # a new job is not planned with old prices
