"""Exactly-once submission on the fake provider: every outcome of a create call."""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ftsdk.backends.fake import FakeBackend
from ftsdk.client import Client
from ftsdk.dataset import Dataset
from ftsdk.errors import (
    AuthError,
    DatasetError,
    FtsdkError,
    NeedsDecision,
    Rejected,
    StoreError,
    Unavailable,
    UsageError,
)
from ftsdk.jobs.kept_rows import keep_dataset
from ftsdk.jobs.submit import age_of
from ftsdk.session import Horizon
from ftsdk.types.status import JobStatus
from ftsdk.util.clock import ManualClock

Rows = Callable[[int], list[dict[str, Any]]]


def at_provider(client: Client) -> int:
    folder = client.home / "fake"
    return len(list(folder.glob("fake-*.json")))


def test_accepted(client: Client, rows: Rows) -> None:
    job = client.create_job(rows(5))
    assert job.status is JobStatus.QUEUED
    assert job.provider_job_id
    assert [m[2] for m in client.journal.status_changes(job.id)] == [
        "created",
        "submitting",
        "queued",
    ]


def test_a_refusal_is_final_and_nothing_was_sent(client: Client, rows: Rows) -> None:
    with pytest.raises(Rejected) as caught:
        client.create_job(rows(5), provider_options={"submit": "refused"})
    assert caught.value.submitted == "no"
    job = client.get_job(str(caught.value.job_id))
    assert job.status is JobStatus.FAILED
    assert at_provider(client) == 0


def test_not_sent_goes_back_and_the_same_key_sends_it(client: Client, rows: Rows) -> None:
    with pytest.raises(Unavailable) as caught:
        client.create_job(rows(5), key="k", provider_options={"submit": "not_sent"})
    assert client.get_job(str(caught.value.job_id)).status is JobStatus.CREATED
    backend = client.backend("fake")
    real = FakeBackend.submit
    try:
        FakeBackend.submit = lambda self, request: self._job(self._new(request, {}))  # type: ignore[method-assign]
        job = client.create_job(rows(5), key="k", provider_options={"submit": "not_sent"})
    finally:
        FakeBackend.submit = real  # type: ignore[method-assign]
    assert job.id == caught.value.job_id
    assert job.status is JobStatus.QUEUED
    assert at_provider(client) == 1
    assert backend is client.backend("fake")


def test_a_job_whose_answer_was_lost_is_found_by_its_tag(client: Client, rows: Rows) -> None:
    job = client.create_job(rows(5), provider_options={"submit": "lost"})
    assert job.status is JobStatus.QUEUED
    assert at_provider(client) == 1
    assert [m[2] for m in client.journal.status_changes(job.id)] == [
        "created",
        "submitting",
        "in_doubt",
        "queued",
    ]


def test_a_late_job_is_found_later(client: Client, rows: Rows, clock: ManualClock) -> None:
    options = {"submit": "lost", "visible_after_s": 90}
    with pytest.raises(Unavailable) as caught:
        client.create_job(rows(5), provider_options=options)
    assert caught.value.submitted == "maybe"
    assert "reconcile" in caught.value.hint
    job = client.get_job(str(caught.value.job_id))
    assert job.refresh().status is JobStatus.IN_DOUBT
    clock.advance(90)
    assert client.reconcile()[0].status is not JobStatus.IN_DOUBT
    assert job.refresh().status.is_remote
    assert at_provider(client) == 1


@pytest.mark.parametrize(
    ("horizon", "pauses"),
    [
        (Horizon(), [0.5, 1, 2, 4, 8]),  # 15.5 s in all
        (Horizon(while_creating_s=15.5), [0.5, 1, 2, 4, 8]),
        (Horizon(while_creating_s=15.6), [0.5, 1, 2, 4, 8, 16]),
        (Horizon(while_creating_s=100, longest_pause_s=30), [0.5, 1, 2, 4, 8, 16, 30, 30, 30]),
        (Horizon(first_pause_s=3, while_creating_s=12, longest_pause_s=4), [3, 4, 4, 4]),
        (Horizon(while_creating_s=0), []),
    ],
)
def test_the_search_after_a_lost_answer_pauses_twice_as_long_each_time(
    client: Client, rows: Rows, clock: ManualClock, monkeypatch: pytest.MonkeyPatch,
    horizon: Horizon, pauses: list[float],
) -> None:  # fmt: skip
    searches = []
    real = FakeBackend.find

    def find(self: FakeBackend, request: Any) -> Any:
        searches.append(clock.now())
        return real(self, request)

    monkeypatch.setattr(FakeBackend, "find", find)
    client.session.horizon = horizon
    clock.slept.clear()
    with pytest.raises(Unavailable) as caught:
        client.create_job(rows(5), provider_options={"submit": "lost_request"})
    assert clock.slept == pauses
    assert len(searches) == len(pauses) + 1
    searches.clear()
    clock.slept.clear()
    client.reconcile(str(caught.value.job_id))  # without a create call it looks once
    assert (len(searches), clock.slept) == (1, [])


def test_a_request_that_never_came_needs_a_decision(
    client: Client, rows: Rows, clock: ManualClock
) -> None:
    with pytest.raises(Unavailable) as caught:
        client.create_job(rows(5), provider_options={"submit": "lost_request"})
    job = client.get_job(str(caught.value.job_id))
    clock.advance(700)
    with pytest.raises(NeedsDecision) as asked:
        job.refresh()
    assert asked.value.exit_code == 7
    assert "--give-up" in asked.value.hint
    assert at_provider(client) == 0
    given_up = client.resolve(job.id, give_up=True)
    assert given_up.status is JobStatus.FAILED


def test_adopting_by_decision(client: Client, rows: Rows, clock: ManualClock) -> None:
    other = client.create_job(rows(3))
    client.journal.change(other.id, now=clock.now(), why="t", provider_job_id=None)
    with pytest.raises(Unavailable) as caught:
        client.create_job(rows(5), provider_options={"submit": "lost_request"})
    job = client.resolve(str(caught.value.job_id), adopt=str(other.provider_job_id))
    assert job.provider_job_id == other.provider_job_id
    with pytest.raises(UsageError, match="nothing to decide"):
        client.resolve(job.id, give_up=True)
    with pytest.raises(UsageError, match="exactly one"):
        client.resolve(job.id)


def test_a_job_whose_submitter_was_killed_is_found(
    client: Client, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    real = FakeBackend.submit

    def die(self: FakeBackend, request: Any) -> Any:
        real(self, request)
        raise Killed

    monkeypatch.setattr(FakeBackend, "submit", die)
    with pytest.raises(Killed):
        client.create_job(rows(5), key="k")
    monkeypatch.setattr(FakeBackend, "submit", real)
    job = client.create_job(rows(5), key="k")
    assert job.status is JobStatus.QUEUED
    assert at_provider(client) == 1


def test_the_same_key_is_the_same_job(client: Client, rows: Rows) -> None:
    first = client.create_job(rows(5), key="k")
    assert client.create_job(rows(5), key="k", tags={"a": "b"}).id == first.id
    with pytest.raises(UsageError, match="already belongs to another job") as caught:
        client.create_job(rows(6), key="k")
    assert (caught.value.job_id, caught.value.tag) == (first.id, first.snapshot.tag)
    with pytest.raises(UsageError):
        client.create_job(rows(5), key="k", seed=3)
    with pytest.raises(UsageError):
        client.create_job(rows(5), key="")
    assert at_provider(client) == 1


@pytest.mark.parametrize(
    ("key", "fits"),
    [
        ("k", True),
        ("k" * 255, True),
        ("k" * 256, False),
        ("", False),
        ("a\nb", False),
        ("a b", True),
    ],
)
def test_a_key_has_1_to_255_printable_characters(
    client: Client, rows: Rows, key: str, fits: bool
) -> None:
    if fits:
        assert client.create_job(rows(5), key=key).snapshot.key == key
        return
    with pytest.raises(UsageError, match="1 to 255 printable characters") as caught:
        client.create_job(rows(5), key=key)
    assert caught.value.where == "the argument key="
    assert client.list_jobs() == []


@pytest.mark.parametrize(
    ("tag", "found"),
    [
        ("team", ["b", "a"]),
        ("team=ops", ["a"]),
        (("team", "ops"), ["a"]),
        (("team", ""), ["b", "a"]),
        ("team=", ["b", "a"]),
        ("team=nobody", []),
        ("nobody", []),
        ("url=x=y", ["b"]),
    ],
)
def test_jobs_are_found_by_tag(
    client: Client, rows: Rows, clock: ManualClock, tag: Any, found: list[str]
) -> None:
    client.create_job(rows(5), name="a", tags={"team": "ops"})
    clock.advance(1)
    client.create_job(rows(6), name="b", tags={"team": "dev", "url": "x=y"})
    clock.advance(1)
    client.create_job(rows(7), name="c")
    assert [job.snapshot.name for job in client.list_jobs(tag=tag)] == found
    assert [job.snapshot.name for job in client.list_jobs(tag=tag, limit=1)] == found[:1]
    assert len(client.list_jobs(limit=2)) == 2


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "just now"),
        (29, "just now"),
        (31, "1 min ago"),
        (600, "10 min ago"),
        (119 * 60 + 29, "119 min ago"),
        (119 * 60 + 31, "2 h ago"),
        (7199 + 3600, "3 h ago"),
    ],
)
def test_how_long_ago_a_job_was_made(
    client: Client, rows: Rows, clock: ManualClock, seconds: int, words: str
) -> None:
    job = client.create_job(rows(5)).snapshot
    made = job.submitted_at or job.created_at
    assert age_of(job, made + dt.timedelta(seconds=seconds)) == words


def test_bad_rows_never_reach_the_journal(client: Client) -> None:
    with pytest.raises(DatasetError) as caught:
        client.create_job([{"messages": [{"role": "user", "content": "hi"}]}])
    assert caught.value.exit_code == 3
    assert caught.value.report.faults
    assert client.list_jobs() == []


def test_cancel_before_sending_sends_nothing(client: Client, rows: Rows) -> None:
    with pytest.raises(Unavailable) as caught:
        client.create_job(rows(5), provider_options={"submit": "not_sent"})
    job = client.get_job(str(caught.value.job_id)).cancel()
    assert job.status is JobStatus.CANCELLED
    assert at_provider(client) == 0


def test_adopting_a_lost_job_by_hand_resolves_it(
    client: Client, rows: Rows, clock: ManualClock
) -> None:
    with pytest.raises(Unavailable) as caught:
        client.create_job(rows(5), provider_options={"submit": "lost", "visible_after_s": 500})
    [path] = (client.home / "fake").glob("fake-*.json")
    adopted = client.adopt_job("fake", path.stem)
    assert adopted.id == caught.value.job_id
    assert [job.id for job in client.list_jobs()] == [adopted.id]
    clock.advance(600)
    assert client.reconcile() == []


def test_kept_rows_are_never_replaced(home: Path, rows: Rows) -> None:
    dataset = Dataset.load(rows(3))
    kept = keep_dataset(home, dataset)
    before = kept.stat()
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: keep_dataset(home, dataset), range(32))) == {kept}
    kept.unlink()
    with ThreadPoolExecutor(8) as pool:  # all at once, and nothing there yet
        inodes = set(pool.map(lambda _: keep_dataset(home, dataset).stat().st_ino, range(32)))
    assert len(inodes) == 1
    assert before.st_mode & 0o777 == 0o600
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]


# --- what an exception of a submit says --------------------------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "submitted"),
    [("refused", "no"), ("not_sent", "no"), ("lost", "maybe"), ("lost_not_arrived", "maybe")],
)
def test_each_exception_names_the_job_its_tag_and_whether_it_was_sent(
    client: Client, rows: Rows, behaviour: str, submitted: str
) -> None:
    client.session.horizon = Horizon(while_creating_s=0.0)
    client.backend("fake").find = lambda _: []  # type: ignore[method-assign]
    with pytest.raises(FtsdkError) as caught:
        client.create_job(rows(5), provider_options={"submit": behaviour})
    error = caught.value
    job = client.get_job(str(error.job_id))
    assert (error.tag, error.submitted) == (job.snapshot.tag, submitted)
    assert error.to_dict()["tag"] == job.snapshot.tag


def test_a_journal_that_fails_after_the_answer_says_that_it_was_sent(
    client: Client, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = client.journal.change

    def full(job_id: str, **more: Any) -> Any:
        if more.get("why") == "accepted":
            raise StoreError("The disk is full")
        return change(job_id, **more)

    monkeypatch.setattr(client.journal, "change", full)
    with pytest.raises(StoreError) as caught:
        client.create_job(rows(5))
    assert caught.value.submitted == "yes"
    assert caught.value.tag == client.get_job(str(caught.value.job_id)).snapshot.tag


def test_a_foreign_exception_gets_a_note(
    client: Client, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(request: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(client.backend("fake"), "submit", broken)
    with pytest.raises(ZeroDivisionError) as caught:
        client.create_job(rows(5))
    [job] = client.list_jobs()
    [note] = caught.value.__notes__
    assert note.startswith(f"job {job.id}, tag {job.snapshot.tag}; it may have been sent")
    assert f"`ftsdk reconcile {job.id}`" in note


# --- hints after which nobody pays twice ---------------------------------------------------------


def full_disk_after(monkeypatch: pytest.MonkeyPatch, client: Client, *statuses: str) -> None:
    """Let every write of a job with one of these statuses fail as SQLite fails on a full disk."""
    change = client.journal.change

    def failing(job_id: str, **options: Any) -> Any:
        if client.journal.get(job_id).status in statuses:
            with client.journal._errors():
                raise sqlite3.OperationalError("database or disk is full")
        return change(job_id, **options)

    monkeypatch.setattr(client.journal, "change", failing)


def test_a_full_disk_after_acceptance_names_the_id_and_reconcile(
    client: Client, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    full_disk_after(monkeypatch, client, "submitting")
    with pytest.raises(StoreError) as caught:
        client.create_job(rows(5))
    error, [remote] = caught.value, client.backend("fake").list()
    assert error.submitted == "yes"
    assert remote.provider_job_id in error.where
    assert f"ftsdk reconcile {error.job_id}" in error.hint
    assert "same command again" not in error.hint
    monkeypatch.undo()
    [found] = client.reconcile(error.job_id)
    assert found.provider_job_id == remote.provider_job_id
    assert at_provider(client) == 1


def test_a_full_disk_after_a_lost_answer_names_reconcile(
    client: Client, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    full_disk_after(monkeypatch, client, "submitting")
    with pytest.raises(StoreError) as caught:
        client.create_job(rows(5), provider_options={"submit": "lost"})
    assert caught.value.submitted == "maybe"
    assert f"ftsdk reconcile {caught.value.job_id}" in caught.value.hint
    assert "same command again" not in caught.value.hint


def test_a_full_disk_while_adopting_names_the_id(
    client: Client, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    full_disk_after(monkeypatch, client, "in_doubt")
    with pytest.raises(StoreError) as caught:
        client.create_job(rows(5), provider_options={"submit": "lost"})
    [remote] = client.backend("fake").list()
    assert remote.provider_job_id in caught.value.where
    assert f"ftsdk reconcile {caught.value.job_id}" in caught.value.hint


def test_an_error_while_looking_keeps_its_hint_and_names_reconcile(
    client: Client, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: FakeBackend, request: object) -> Any:
        raise AuthError("the key was revoked", hint="make a new key")

    monkeypatch.setattr(FakeBackend, "find", refused)
    with pytest.raises(AuthError) as caught:
        client.create_job(rows(5), provider_options={"submit": "lost"})
    assert caught.value.hint.startswith("make a new key; then `ftsdk reconcile ftj_")


def test_a_full_disk_before_sending_says_nothing_of_reconcile(
    client: Client, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    full_disk_after(monkeypatch, client, "created")
    with pytest.raises(StoreError) as caught:
        client.create_job(rows(5))
    assert (caught.value.submitted, at_provider(client)) == ("no", 0)
    assert "reconcile" not in caught.value.hint


# --- a refusal leaves the key usable --------------------------------------------------------------


def refused_once(
    monkeypatch: pytest.MonkeyPatch, error: FtsdkError, method: str = "submit"
) -> None:
    """Let the first call of this method of `fake` raise an error."""
    real, errors = getattr(FakeBackend, method), [error]

    def call(self: FakeBackend, request: Any) -> Any:
        if errors:
            raise errors.pop()
        return real(self, request)

    monkeypatch.setattr(FakeBackend, method, call)


@pytest.mark.parametrize("method", ["prepare", "submit"])
def test_a_refused_job_leaves_its_key_to_the_next(
    client: Client, rows: Rows, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    refused_once(monkeypatch, AuthError("401", submitted="no"), method)
    with pytest.raises(AuthError) as caught:
        client.create_job(rows(5), key="k")
    job = client.create_job(rows(5), key="k")
    assert (job.status, job.snapshot.key) == (JobStatus.QUEUED, "k")
    old = client.get_job(str(caught.value.job_id))
    assert (old.status, old.snapshot.key) == (JobStatus.FAILED, None)
    assert client.create_job(rows(5), key="k").id == job.id
    assert at_provider(client) == 1


def test_a_refused_job_keeps_its_key_from_other_rows(
    client: Client, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused_once(monkeypatch, Rejected("no", submitted="no"))
    with pytest.raises(Rejected):
        client.create_job(rows(5), key="k")
    with pytest.raises(UsageError, match="already belongs"):
        client.create_job(rows(4), key="k")


def test_a_key_of_a_job_that_failed_at_the_provider_returns_that_job(
    client: Client, rows: Rows, clock: ManualClock
) -> None:
    options = {"timeline": [["running", 0], ["failed", 1]]}
    job = client.create_job(rows(5), key="k", provider_options=options)
    clock.advance(5)
    assert job.refresh().status is JobStatus.FAILED
    assert client.create_job(rows(5), key="k", provider_options=options).id == job.id
    assert at_provider(client) == 1


def test_a_key_of_a_job_given_up_needs_a_decision(client: Client, rows: Rows) -> None:
    options = {"submit": "lost_request"}
    with pytest.raises(Unavailable) as caught:
        client.create_job(rows(5), key="k", provider_options=options)
    client.resolve(str(caught.value.job_id), give_up=True)
    with pytest.raises(NeedsDecision, match="was given up") as asked:
        client.create_job(rows(5), key="k", provider_options=options)
    assert (asked.value.submitted, at_provider(client)) == ("maybe", 0)


def test_a_key_of_a_job_cancelled_before_it_was_sent_needs_a_decision(
    client: Client, rows: Rows
) -> None:
    options = {"submit": "not_sent"}
    with pytest.raises(Unavailable) as caught:
        client.create_job(rows(5), key="k", provider_options=options)
    client.get_job(str(caught.value.job_id)).cancel()
    with pytest.raises(NeedsDecision, match="was cancelled") as asked:
        client.create_job(rows(5), key="k", provider_options=options)
    assert asked.value.submitted == "no"
