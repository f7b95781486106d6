"""A refusal for pace: waited for as the provider asks, looked for, sent again, and safe to kill."""

from __future__ import annotations

import pytest

from ftsdk.errors import BudgetError, NeedsDecision, RateLimited, Unavailable
from ftsdk.session import Horizon
from ftsdk.types.status import JobStatus
from tests.faults.priced import ROWS, PricedBackend, priced_client


class Killed(BaseException):
    """The process ended."""


@pytest.fixture
def client(home, clock):
    client = priced_client(home, clock=clock)
    yield client
    client.close()


@pytest.fixture
def replies(monkeypatch):
    """Return a list of what the next create calls raise; None accepts, as every later call does."""
    waiting, submit = [], PricedBackend.submit

    def call(self, request):
        reply = waiting.pop(0) if waiting else None
        if reply is not None:
            self.sent += 1
            raise reply
        return submit(self, request)

    monkeypatch.setattr(PricedBackend, "submit", call)
    return waiting


def slow_down(seconds=None, submitted="no", **facts):
    return RateLimited(
        "too many requests", hint="wait", submitted=submitted, retry_after_s=seconds, **facts
    )


def at_provider(client):
    return len(list((client.home / "fake").glob("fake-*.json")))


def test_it_waits_as_long_as_the_provider_asks(client, clock, replies, caplog):
    replies += [slow_down(7), slow_down(120), slow_down(0)]
    job = client.create_job(ROWS)
    assert (job.status, client.backend("fake").sent, at_provider(client)) == ("queued", 4, 1)
    assert clock.slept == [7, 120, 2]
    assert caplog.messages[0] == f"too many requests; job {job.id} is sent again in 7 s"
    assert [change[2] for change in client.journal.status_changes(job.id)] == [
        "created", "submitting", "created", "submitting", "created", "submitting", "created",
        "submitting", "queued",
    ]  # fmt: skip
    assert job.snapshot.error is None


def test_without_a_time_it_backs_off(client, clock, replies):
    replies += [slow_down() for _ in range(9)]
    client.create_job(ROWS)
    assert clock.slept == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


@pytest.mark.parametrize(
    ("asked", "waits"), [([300], [300]), ([300.5], []), ([299, 1], [299, 1]), ([299, 1.5], [299])]
)
def test_the_deadline(client, clock, replies, asked, waits):
    replies += [slow_down(seconds) for seconds in asked]
    if sum(asked) <= 300:
        client.create_job(ROWS)
    else:
        with pytest.raises(RateLimited) as caught:
            client.create_job(ROWS)
        error = caught.value
        job = client.get_job(str(error.job_id))
        assert (error.submitted, job.status) == ("no", JobStatus.CREATED)
        assert f"make the same call again: it sends job {job.id}" in error.hint
        assert client.create_job(ROWS).id == job.id
    assert clock.slept == waits
    assert at_provider(client) == 1


@pytest.mark.parametrize("key", [None, "k"])
def test_a_process_killed_while_it_waits_leaves_a_job_that_the_next_call_sends(
    client, home, clock, replies, monkeypatch, key
):
    replies.append(slow_down(60))
    with monkeypatch.context() as patch:
        patch.setattr(clock, "sleep", lambda _: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            client.create_job(ROWS, key=key)
    [left] = client.list_jobs()
    assert (left.status, left.snapshot.submitted_at) == (JobStatus.CREATED, None)
    again = priced_client(home, clock=clock)
    looked = looks(monkeypatch)
    assert again.create_job(ROWS, key=key).id == left.id
    assert len(looked) == 1  # before it was sent
    assert at_provider(again) == 1


def looks(monkeypatch):
    """Return the list of tags that are looked for."""
    find, tags = PricedBackend.find, []

    def counted(self, request):
        tags.append(request.tag)
        return find(self, request)

    monkeypatch.setattr(PricedBackend, "find", counted)
    return tags


def test_it_looks_before_it_sends_again(client, replies, monkeypatch):
    """A refusal that was not true: the job is found by its tag, and is not sent again."""
    submit = PricedBackend.submit

    def liar(self, request):
        if not replies:
            submit(self, request)
            replies.append(slow_down(1))
        return submit(self, request)

    monkeypatch.setattr(PricedBackend, "submit", liar)
    monkeypatch.setattr(PricedBackend, "_new", _new_each_time(PricedBackend._new))
    job = client.create_job(ROWS)
    assert (job.status.is_remote, at_provider(client)) == (True, 1)


def _new_each_time(new):
    """Return `new` without the idempotency token of `fake`."""
    from dataclasses import replace

    numbers = iter(range(100))

    def made(self, request, options):
        return new(self, replace(request, client_token=f"{next(numbers):032x}"), options)

    return made


def test_nothing_is_sent_again_while_the_list_cannot_be_read(client, clock, replies, monkeypatch):
    replies.append(slow_down(1))
    reads = [Unavailable("down") for _ in range(4)]
    find = PricedBackend.find
    monkeypatch.setattr(
        PricedBackend, "find", lambda self, request: raise_next(reads) or find(self, request)
    )
    job = client.create_job(ROWS)
    assert (job.status, client.backend("fake").sent) == ("queued", 2)
    assert clock.slept == [1, 1, 2, 4, 8]


def raise_next(errors):
    if errors:
        raise errors.pop()


@pytest.mark.parametrize("kind", [slow_down, Unavailable])
def test_what_may_have_arrived_is_never_sent_again(client, replies, kind):
    """A 503, or a 429 that is not the provider's own: the job exists, and its answer was lost."""
    client.session.horizon = Horizon(while_creating_s=0)
    client.session.use_backend("fake", Unsafe)
    replies.append(kind(submitted="maybe") if kind is slow_down else kind("x", submitted="maybe"))
    with pytest.raises((RateLimited, Unavailable, NeedsDecision)) as caught:
        client.create_job(ROWS)
    assert caught.value.submitted == "maybe"
    for _ in range(3):
        client.clock.advance(300)
        with pytest.raises((RateLimited, Unavailable, NeedsDecision)):
            client.create_job(ROWS)
    assert (replies, client.backend("fake").sent) == ([], 1)


class Unsafe(PricedBackend):
    """A provider without idempotency tokens."""

    from dataclasses import replace as _replace

    capabilities = _replace(PricedBackend.capabilities, resend_is_safe=False)


def test_a_refusal_that_waiting_does_not_help_is_final(client, clock, replies):
    replies.append(slow_down(5, retryable=False))
    with pytest.raises(RateLimited) as caught:
        client.create_job(ROWS)
    assert client.get_job(str(caught.value.job_id)).status is JobStatus.FAILED
    assert clock.slept == []


def test_an_upload_is_waited_for_as_well(client, clock, monkeypatch):
    errors = [slow_down(9)]
    monkeypatch.setattr(PricedBackend, "prepare", lambda *_: raise_next(errors))
    assert client.create_job(ROWS).status is JobStatus.QUEUED
    assert clock.slept == [9]


def test_a_job_that_is_cancelled_meanwhile_is_not_sent(client, home, clock, replies, monkeypatch):
    replies.append(slow_down(9))
    other = priced_client(home, clock=clock)
    with monkeypatch.context() as patch:
        patch.setattr(clock, "sleep", lambda _: other.list_jobs()[0].cancel())
        with pytest.raises(NeedsDecision, match="was cancelled"):
            client.create_job(ROWS)
    assert (client.backend("fake").sent, at_provider(client)) == (1, 0)


def test_money_that_is_spent_meanwhile_is_not_spent_twice(home, clock, replies, monkeypatch):
    """While a job waits it is reserved; after its process was killed it is not, and is checked."""
    client = priced_client(home, {"month": "1.50"}, clock=clock)
    other = priced_client(home, {"month": "1.50"}, clock=clock)
    replies.append(slow_down(9))

    def sleep(_):
        with pytest.raises(BudgetError):
            other.create_job(ROWS[1:])
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(clock, "sleep", sleep)
        with pytest.raises(Killed):
            client.create_job(ROWS)
    assert other.create_job(ROWS[1:]).status is JobStatus.QUEUED
    with pytest.raises(BudgetError) as caught:
        client.create_job(ROWS)
    assert caught.value.submitted == "no"
    assert at_provider(client) == 1


def test_sending_again_by_decision_waits_as_well(client, clock, replies):
    client.session.horizon = Horizon(while_creating_s=0)
    client.session.use_backend("fake", Unsafe)
    replies += [Unavailable("lost", submitted="maybe"), slow_down(11)]
    with pytest.raises(Unavailable) as caught:
        client.create_job(ROWS)
    job = client.resolve(str(caught.value.job_id), send_again=True)
    assert (job.status, at_provider(client), clock.slept) == ("queued", 1, [11])


def test_a_job_in_doubt_stays_in_doubt_when_sending_again_is_refused_for_too_long(client, replies):
    client.session.horizon = Horizon(while_creating_s=0)
    client.session.use_backend("fake", Unsafe)
    replies += [Unavailable("lost", submitted="maybe"), slow_down(1000)]
    with pytest.raises(Unavailable) as caught:
        client.create_job(ROWS)
    with pytest.raises(RateLimited) as again:
        client.resolve(str(caught.value.job_id), send_again=True)
    assert again.value.submitted == "maybe"
    assert "make the same call" not in again.value.hint
    assert client.get_job(str(caught.value.job_id)).status is JobStatus.IN_DOUBT


def test_a_cancelled_asynchronous_create_stops_waiting(client, clock, replies, monkeypatch):
    import asyncio

    from ftsdk.async_client import AsyncClient

    replies.append(slow_down(200))
    awaited = AsyncClient(home=client.home, config=client.config, env={}, clock=clock)
    awaited._sync.session.use_backend("fake", client.backend("fake"))

    async def main():
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(awaited.create_job(ROWS))
        sleep = clock.sleep

        def cancelling(seconds):
            if len(clock.slept) == 3:
                loop.call_soon_threadsafe(task.cancel)
                while not task.cancelling():
                    pass
                import time

                time.sleep(0.05)
            sleep(seconds)

        monkeypatch.setattr(clock, "sleep", cancelling)
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        return caught.value.job_id

    job_id = asyncio.run(main())
    assert 4 <= len(clock.slept) < 200
    assert client.get_job(job_id).status is JobStatus.CREATED
    assert client.create_job(ROWS).id == job_id


def test_the_month_is_checked_again_in_the_moment_of_sending(home, clock, replies, monkeypatch):
    """Another job takes the last room after the first check of a job that was never sent."""
    from ftsdk.jobs.submitter import Submitter

    client = priced_client(home, {"month": "1.50"}, clock=clock)
    other = priced_client(home, {"month": "1.50"}, clock=clock)
    replies.append(Unavailable("no network", submitted="no", retryable=True))
    with pytest.raises(Unavailable):
        client.create_job(ROWS)
    real = Submitter.continue_submission

    def after_another(self, job_id, **facts):
        monkeypatch.undo()
        assert other.create_job(ROWS[1:]).status is JobStatus.QUEUED
        return real(self, job_id, **facts)

    monkeypatch.setattr(Submitter, "continue_submission", after_another)
    with pytest.raises(BudgetError) as caught:
        client.create_job(ROWS)
    assert caught.value.submitted == "no"
    assert at_provider(client) == 1
