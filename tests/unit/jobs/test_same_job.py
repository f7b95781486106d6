"""Without a key, the very same job is given back where a second one might cost something."""

from __future__ import annotations

import logging
import threading

import anyio
import pytest

from ftsdk.async_client import AsyncClient
from ftsdk.errors import NeedsDecision, Unavailable
from ftsdk.session import Horizon
from ftsdk.types.status import JobStatus
from tests.faults.priced import ROWS, PricedBackend, priced_client


@pytest.fixture
def client(home, clock):
    client = priced_client(home, clock=clock)
    yield client
    client.close()


def at_provider(client):
    return len(list((client.home / "fake").glob("fake-*.json")))


def test_the_same_script_run_twice_pays_once(client, home, clock, caplog):
    first = client.create_job(ROWS)
    with caplog.at_level(logging.WARNING, "ftsdk"):
        second = priced_client(home, clock=clock).create_job(ROWS)
    assert (second.id, at_provider(client)) == (first.id, 1)
    [warning] = caplog.messages
    assert first.id in warning
    assert "again=True" in warning
    assert "a key" in warning


def test_after_ten_minutes_another_job_is_created(client, clock):
    first = client.create_job(ROWS)
    clock.advance(600)
    assert client.create_job(ROWS).id == first.id
    clock.advance(1)
    assert client.create_job(ROWS).id != first.id
    assert at_provider(client) == 2


@pytest.mark.parametrize("how", [{"again": True}, {"key": "second"}, {"seed": 1}, {"name": "b"}])
def test_saying_otherwise_creates_another(client, caplog, how):
    first = client.create_job(ROWS)
    second = client.create_job(ROWS, **how)
    assert (second.id != first.id, at_provider(client)) == (True, 2)
    assert caplog.messages == []


def test_tags_and_the_cap_do_not_make_another_job(client):
    first = client.create_job(ROWS)
    assert client.create_job(ROWS, tags={"a": "b"}, max_cost="5").id == first.id


def test_a_job_with_a_key_counts(client):
    first = client.create_job(ROWS, key="k")
    assert client.create_job(ROWS).id == first.id


@pytest.mark.parametrize("ended", ["failed", "cancelled"])
def test_a_failed_or_cancelled_job_is_created_again(client, clock, ended):
    options = {"timeline": [["running", 0], ["failed", 1]]} if ended == "failed" else {}
    first = client.create_job(ROWS, provider_options=options)
    if ended == "cancelled":
        first.cancel()
    clock.advance(5)
    assert first.refresh().status == ended
    assert client.create_job(ROWS, provider_options=options).id != first.id


def test_what_costs_nothing_is_created_again(client):
    client.session.use_backend("fake", _free)
    assert client.create_job(ROWS).id != client.create_job(ROWS).id


def _free(context):
    from ftsdk.backends.fake import FakeBackend

    return FakeBackend(context)


@pytest.mark.parametrize("days", [0, 30])
def test_a_job_in_doubt_is_looked_for_and_never_sent_beside(client, clock, monkeypatch, days):
    client.session.horizon = Horizon(while_creating_s=0)
    submit = PricedBackend.submit

    def lost(self, request):
        submit(self, request)
        raise Unavailable("no answer", submitted="maybe")

    monkeypatch.setattr(PricedBackend, "submit", lost)
    monkeypatch.setattr(PricedBackend, "find", lambda *_: [])
    with pytest.raises(Unavailable) as caught:
        client.create_job(ROWS)
    clock.advance(days * 86_400 + 661)
    with pytest.raises(NeedsDecision) as again:
        client.create_job(ROWS)
    assert (again.value.job_id, at_provider(client)) == (caught.value.job_id, 1)
    monkeypatch.undo()
    assert client.create_job(ROWS).id == caught.value.job_id
    assert at_provider(client) == 1


class Killed(BaseException):
    """The process ended."""


@pytest.mark.parametrize("where", ["prepare", "submit", "after"])
@pytest.mark.parametrize("hours", [0, 48])
def test_a_run_that_was_killed_while_creating_is_carried_on(
    client, clock, monkeypatch, where, hours
):
    submit = PricedBackend.submit

    def die(self, request):
        if where == "after":
            submit(self, request)
        raise Killed

    name = "prepare" if where == "prepare" else "submit"
    monkeypatch.setattr(PricedBackend, name, die)
    with pytest.raises(Killed):
        client.create_job(ROWS)
    [left] = client.list_jobs()
    monkeypatch.undo()
    clock.advance(hours * 3600)
    if where == "submit":  # nobody can know that it did not arrive
        with pytest.raises(NeedsDecision) as undecided:
            client.create_job(ROWS)
        assert undecided.value.job_id == left.id
    else:
        assert client.create_job(ROWS).id == left.id
        assert at_provider(client) == 1
    assert len(client.list_jobs()) == 1


def test_a_refusal_met_by_another_process_does_not_count(client, home, clock, monkeypatch):
    """The job that was found is refused while this call waits for it: this call sends its own."""
    from ftsdk.jobs.submitter import Submitter

    other = priced_client(home, clock=clock)
    created = other.journal
    continue_submission = Submitter.continue_submission

    def refused_meanwhile(self, job_id, **options):
        created.change(job_id, now=clock.now(), why="refused", status=JobStatus.FAILED)
        return continue_submission(self, job_id, **options)

    monkeypatch.setattr(PricedBackend, "prepare", lambda *_: (_ for _ in ()).throw(Killed))
    with pytest.raises(Killed):
        other.create_job(ROWS)
    monkeypatch.undo()
    monkeypatch.setattr(Submitter, "continue_submission", refused_meanwhile)
    job = client.create_job(ROWS)
    assert job.status is JobStatus.QUEUED
    assert sorted(one.status for one in client.list_jobs()) == ["failed", "queued"]


@pytest.mark.parametrize("shared", [True, False])
def test_eight_threads_at_once_make_one_job(home, shared):
    one = priced_client(home)
    start, made = threading.Barrier(8), []

    def run():
        client = one if shared else priced_client(home)
        start.wait()
        made.append(client.create_job(ROWS).id)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(made) == 8
    assert len(set(made)) == 1
    assert at_provider(one) == 1


def test_the_asynchronous_client_has_the_same_guard(home, monkeypatch):
    sync = priced_client(home)

    async def create():
        client = AsyncClient(home=home, config=sync.config, env={})
        client._sync.session.use_backend("fake", sync.backend("fake"))
        jobs = []
        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(_append, client, jobs)
        jobs.append(await client.create_job(ROWS, again=True))
        return [job.id for job in jobs]

    ids = anyio.run(create)
    assert len(set(ids[:4])) == 1
    assert len(set(ids)) == at_provider(sync) == 2


async def _append(client, jobs):
    jobs.append(await client.create_job(ROWS))
