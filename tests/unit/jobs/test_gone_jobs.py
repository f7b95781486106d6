"""A job that its provider no longer has: the others are refreshed, and it can be forgotten."""

from __future__ import annotations

import pytest

from ftsdk.backends.fake import FakeBackend
from ftsdk.errors import NotFound, Unavailable, UsageError
from ftsdk.jobs.actions import refresh_many
from ftsdk.types.status import JobStatus

LONG = {"timeline": [["running", 0], ["succeeded", 100]]}


@pytest.fixture
def jobs(client, rows):
    return [client.create_job(rows(count), provider_options=LONG) for count in range(3, 10)]


@pytest.fixture
def gone(monkeypatch):
    """Return a set; `fake` answers 404 for the provider's ids in it."""
    ids, get = set(), FakeBackend.get

    def answer(self, provider_job_id):
        if provider_job_id in ids:
            raise NotFound("fake has no such job", where="the test")
        return get(self, provider_job_id)

    monkeypatch.setattr(FakeBackend, "get", answer)
    return ids


@pytest.mark.parametrize("missing", [(0,), (6,), (1, 3), (0, 1, 2, 3, 4, 5, 6)])
def test_a_gone_job_does_not_keep_the_others_from_being_refreshed(
    client, jobs, gone, clock, missing
):
    gone |= {jobs[index].provider_job_id for index in missing}
    clock.advance(200)
    errors = {}
    now = refresh_many(client.session, [job.snapshot for job in jobs], errors)
    assert set(errors) == {jobs[index].id for index in missing}
    ended = [snapshot.status is JobStatus.SUCCEEDED for snapshot in now]
    assert ended == [index not in missing for index in range(7)]


def test_without_a_place_for_errors_the_others_are_journaled_first(client, jobs, gone, clock):
    gone.add(jobs[0].provider_job_id)
    clock.advance(200)
    with pytest.raises(NotFound) as caught:
        refresh_many(client.session, [job.snapshot for job in jobs])
    assert caught.value.job_id == jobs[0].id
    assert f"ftsdk resolve {jobs[0].id} --give-up" in caught.value.hint
    assert client.get_job(jobs[1].id).status is JobStatus.SUCCEEDED


def test_an_outage_is_not_a_missing_job(client, jobs, monkeypatch):
    def down(self, provider_job_id):
        raise Unavailable("no connection", retryable=True)

    monkeypatch.setattr(FakeBackend, "get", down)
    errors = {}
    with pytest.raises(Unavailable):
        refresh_many(client.session, [job.snapshot for job in jobs], errors)
    with pytest.raises(Unavailable):
        client.resolve(jobs[0].id, give_up=True)
    assert errors == {}


def test_a_gone_job_can_be_given_up_and_an_existing_one_cannot(client, jobs, gone):
    gone.add(jobs[0].provider_job_id)
    assert client.resolve(jobs[0].id, give_up=True).status is JobStatus.FAILED
    with pytest.raises(UsageError, match="nothing to decide"):
        client.resolve(jobs[1].id, give_up=True)
    assert jobs[1].refresh().status is not JobStatus.FAILED


@pytest.fixture
def blinks(monkeypatch):
    """Return a list of what the next reads of `fake` raise; None lets one through."""
    waiting, get = [], FakeBackend.get

    def answer(self, provider_job_id):
        error = waiting.pop(0) if waiting else None
        if error is not None:
            raise error
        return get(self, provider_job_id)

    monkeypatch.setattr(FakeBackend, "get", answer)
    return waiting


@pytest.mark.parametrize("errors", [[1], [1, 1], [None, 1, None, 1, 1], [None, None, 1]])
def test_one_404_does_not_end_waiting(client, rows, blinks, errors):
    job = client.create_job(rows(3), provider_options=LONG)
    blinks += [error and NotFound("not yet listed") for error in errors]
    assert job.wait(timeout=3600).status is JobStatus.SUCCEEDED
    assert blinks == []


def test_one_404_does_not_end_the_asynchronous_waiting(client, rows, blinks):
    import asyncio

    from ftsdk.async_client import AsyncFineTuneJob

    job = client.create_job(rows(3), provider_options=LONG)
    blinks += [None, NotFound("not yet listed")]
    assert asyncio.run(AsyncFineTuneJob(job).wait()).status is JobStatus.SUCCEEDED


def test_a_job_that_stays_away_is_gone_after_two_minutes(client, rows, gone, clock):
    job = client.create_job(rows(3), provider_options=LONG)
    gone.add(job.provider_job_id)
    began = clock.monotonic()
    with pytest.raises(NotFound) as caught:
        job.wait()
    assert caught.value.job_id == job.id
    assert "--give-up" in caught.value.hint
    assert 120 < clock.monotonic() - began < 140


def test_a_job_that_another_process_is_sending_is_waited_for(client, rows, clock, monkeypatch):
    from ftsdk.util.locks import job_lock

    monkeypatch.setattr(
        FakeBackend, "prepare", lambda *_: (_ for _ in ()).throw(Unavailable("x", submitted="no"))
    )
    with pytest.raises(Unavailable) as caught:
        client.create_job(rows(3), provider_options=LONG)
    monkeypatch.undo()
    job = client.get_job(str(caught.value.job_id))
    sleep = clock.sleep

    with job_lock(client.home, job.id, wait_s=0, clock=clock) as locked:
        assert locked

        def sent_meanwhile(seconds):
            monkeypatch.undo()
            sleep(seconds)
            client.session.journal.change(
                job.id, now=clock.now(), why="t", status=JobStatus.CANCELLED
            )

        monkeypatch.setattr(clock, "sleep", sent_meanwhile)
        assert job.wait().status is JobStatus.CANCELLED
