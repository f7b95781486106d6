"""The create call over real sockets: whatever fails, it is sent once and its job is found."""

from __future__ import annotations

import threading
import urllib.request

import pytest

from ftsdk.errors import BackendError, FtsdkError, NeedsDecision
from ftsdk.session import Horizon
from ftsdk.types.status import JobStatus
from ftsdk.util.clock import ManualClock, SystemClock
from tests.faults.providers import START, each_provider

DELAY_S = 90.0
# Each may happen before the provider handles the call, or after it: then only the answer is lost.
BEFORE_OR_AFTER = [
    ("close", {}), ("reset", {}), ("html", {}), ("empty", {}), ("hang", {}),
    ("redirect", {"value": "http://127.0.0.1:9/"}),
    *(("status", {"status": s}) for s in (408, 409, 425, 429, 500, 502, 503, 504, 529)),
]  # fmt: skip
# These change an answer, so the provider has handled the call.
CHANGED_ANSWERS = [
    ("cut", {}), ("drop", {"field": "id"}), ("rename", {"field": "id", "value": "job_id"}),
    ("set", {"field": "id", "value": None}), ("set", {"field": "id", "value": ""}),
    ("set", {"field": "id", "value": 7}), ("set", {"field": "id", "value": "../../x"}),
    ("set", {"field": "id", "value": "x" * 10_000}), ("set", {"field": "id", "value": "a\nb"}),
]  # fmt: skip
ACTED = [(name, {**facts, "acted": True}) for name, facts in BEFORE_OR_AFTER] + CHANGED_ANSWERS
ONLY_ONE_PROCESS = [("close", {"acted": True}), ("hang", {"acted": True}), ("cut", {})]


class AlarmClock(ManualClock):
    """A manual clock that calls a function at a given time."""

    def __init__(self):
        super().__init__(START)
        self._due = []

    def call_after(self, seconds, function):
        self._due.append((self.monotonic() + seconds, function))

    def advance(self, seconds):
        super().advance(seconds)
        for due in [one for one in self._due if one[0] <= self.monotonic()]:
            self._due.remove(due)
            due[1]()


def case_id(value):
    """Return the test id of a case."""
    if isinstance(value, dict):
        return "-".join(str(one)[:12] for one in value.values() if one is not True) or "plain"
    return None


@pytest.fixture
def clock():
    return AlarmClock()


def hide(provider, double, clock):
    """Leave all jobs out of lists for the next 90 seconds."""
    double.faults.add(
        "set", method="GET", path=provider.list_path, field=provider.lists, value=[], times=None
    )
    clock.call_after(DELAY_S, double.faults.clear)


def timeout_for(behaviour):
    """Return the client's timeout in seconds: short where no answer comes."""
    return 0.4 if behaviour == "hang" else 10


def assert_one_create_and_one_job(provider, double, job):
    assert list(provider.creates(double).values()) == [1]
    (made,) = provider.jobs(double)
    assert job.provider_job_id == made
    assert job.status.is_remote
    assert set(provider.creates(double)) == {job.snapshot.tag}


@each_provider()
@pytest.mark.parametrize(("behaviour", "facts"), ACTED, ids=case_id)
def test_create_waits_and_adopts_a_job_that_is_listed_after_90_seconds(
    provider, behaviour, facts, clock, home
):
    with provider.double(clock) as double:
        horizon = Horizon(while_creating_s=200)
        client = provider.client(double, home, horizon=horizon, timeout_s=timeout_for(behaviour))
        began = clock.monotonic()
        provider.inject(double, behaviour, **facts)
        hide(provider, double, clock)
        job = provider.send(client, key="k")
        assert DELAY_S <= clock.monotonic() - began < DELAY_S + 60
        assert_one_create_and_one_job(provider, double, job)
        assert max(clock.slept) <= 120
        client.close()


@each_provider()
@pytest.mark.parametrize(("behaviour", "facts"), ACTED, ids=case_id)
def test_a_later_process_adopts_a_job_that_is_listed_after_90_seconds(
    provider, behaviour, facts, clock, home
):
    """Create stops looking, is run again, and then the user waits for the job."""
    with provider.double(clock) as double:
        client = provider.client(double, home, timeout_s=timeout_for(behaviour))
        provider.inject(double, behaviour, **facts)
        hide(provider, double, clock)
        with pytest.raises(FtsdkError) as caught:
            provider.send(client, key="k")
        assert caught.value.submitted == "maybe"
        client.close()
        client = provider.client(double, home)
        with pytest.raises(FtsdkError) as again:
            provider.send(client, key="k")
        assert again.value.job_id == caught.value.job_id
        job = client.get_job(str(caught.value.job_id))
        assert job.status is JobStatus.IN_DOUBT
        assert clock.monotonic() < DELAY_S
        assert [one.id for one in client.reconcile()] == [job.id]
        job.wait(timeout=3600)
        assert_one_create_and_one_job(provider, double, job)
        assert job.status is JobStatus.SUCCEEDED
        assert provider.send(client, key="k").id == job.id
        assert_one_create_and_one_job(provider, double, job)
        client.close()


@each_provider()
@pytest.mark.parametrize(("behaviour", "facts"), BEFORE_OR_AFTER, ids=case_id)
def test_a_call_that_never_arrived_is_not_sent_again_automatically(
    provider, behaviour, facts, clock, home
):
    with provider.double(clock) as double:
        client = provider.client(double, home, timeout_s=timeout_for(behaviour))
        provider.inject(double, behaviour, **facts)
        with pytest.raises(FtsdkError) as caught:
            provider.send(client, key="k")
        assert caught.value.submitted == "maybe"
        job = client.get_job(str(caught.value.job_id))
        for _ in range(12):
            clock.advance(60)
            try:
                job.refresh()
            except NeedsDecision:
                continue
            assert job.status is JobStatus.IN_DOUBT
        with pytest.raises(NeedsDecision):
            provider.send(client, key="k")
        assert list(provider.creates(double).values()) == [1]
        assert not provider.jobs(double)
        job = client.resolve(job.id, send_again=True)
        assert job.provider_job_id in provider.jobs(double)
        assert list(provider.creates(double).values()) == [2]
        client.close()


@each_provider()
@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 410, 413, 415, 422, 451])
def test_a_definite_refusal_is_final_and_sent_once(provider, status, clock, home):
    with provider.double(clock) as double:
        client = provider.client(double, home)
        provider.inject(double, "status", status=status)
        with pytest.raises(FtsdkError) as caught:
            provider.send(client, key="k")
        assert caught.value.submitted == "no"
        assert client.get_job(str(caught.value.job_id)).status is JobStatus.FAILED
        assert list(provider.creates(double).values()) == [1]
        client.close()


@each_provider()
def test_a_refused_connection_sends_nothing(provider, clock, home):
    with provider.double(clock) as double:
        client = provider.client(double, home)
        with double.down(), pytest.raises(BackendError) as caught:
            provider.send(client, key="k")
        assert caught.value.submitted == "no"
        assert client.get_job(str(caught.value.job_id)).status is JobStatus.CREATED
        job = provider.send(client, key="k")
        assert job.id == caught.value.job_id
        assert_one_create_and_one_job(provider, double, job)
        client.close()


@each_provider()
def test_a_slow_answer_is_accepted(provider, clock, home):
    with provider.double(clock) as double:
        client = provider.client(double, home)
        provider.inject(double, "drip", pause_s=0.0002)
        assert_one_create_and_one_job(provider, double, provider.send(client, key="k"))
        client.close()


@each_provider()
def test_of_two_jobs_with_the_same_tag_one_is_adopted_and_the_other_reported(provider, clock, home):
    """The provider or a proxy made the second one; ftsdk can only report it."""
    with provider.double(clock) as double:
        client = provider.client(double, home)
        provider.inject(double, "close", acted=True)
        hide(provider, double, clock)
        with pytest.raises(FtsdkError) as caught:
            provider.send(client, key="k")
        (sent,) = double.asked("POST", provider.create)
        clock.advance(5)
        replay(double, sent)
        first, second = provider.jobs(double)
        clock.advance(DELAY_S)
        (job,) = client.reconcile(caught.value.job_id)
        assert job.provider_job_id == first
        assert second in job.snapshot.message
        assert provider.send(client, key="k").provider_job_id == first
        client.close()


def replay(double, request):
    """Send the same request again, from outside ftsdk."""
    copied = ("authorization", "content-type")
    again = urllib.request.Request(
        double.origin + request.path,
        data=request.body,
        headers={name: request.headers[name] for name in copied},
    )
    with urllib.request.urlopen(again, timeout=10) as answer:
        answer.read()


@each_provider()
def test_an_answer_with_the_id_of_another_job_is_not_accepted(provider, clock, home):
    with provider.double(clock) as double:
        client = provider.client(double, home)
        first = provider.send(client, seed=1)
        provider.inject(double, "set", field="id", value=first.provider_job_id)
        with pytest.raises(FtsdkError) as caught:
            provider.send(client, seed=2)
        assert caught.value.submitted == "maybe"
        (second,) = client.reconcile()
        assert second.id == caught.value.job_id
        assert second.provider_job_id not in (None, first.provider_job_id)
        assert set(provider.creates(double).values()) == {1}
        client.close()


@each_provider()
@pytest.mark.parametrize(("behaviour", "facts"), ONLY_ONE_PROCESS, ids=case_id)
def test_eight_at_once_with_one_key_send_one_create(provider, behaviour, facts, home):
    results = []
    with provider.double(SystemClock()) as double:
        provider.inject(double, behaviour, **facts)
        start = threading.Barrier(8)

        def run():
            client = provider.client(double, home, timeout_s=2)
            start.wait()
            job = provider.send(client, key="k")
            results.append((job.id, job.provider_job_id))
            client.close()

        threads = [threading.Thread(target=run) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(results) == 8
        assert len(set(results)) == 1
        assert list(provider.creates(double).values()) == [1]
        assert len(provider.jobs(double)) == 1


@each_provider()
def test_the_harness_catches_a_create_call_that_is_repeated(provider, clock, home, monkeypatch):
    """Planted bug: a call without an answer is repeated, as the SDKs do by default."""
    plant_retries(monkeypatch)
    with provider.double(clock) as double:
        client = provider.client(double, home)
        provider.inject(double, "close", acted=True)
        provider.send(client, key="k")
        assert list(provider.creates(double).values()) == [2]
        assert len(provider.jobs(double)) == 2
        client.close()


def plant_retries(monkeypatch):
    """Let the HTTP clients repeat a request that got no answer."""
    for name in ("httpx", "httpx2"):
        try:
            module = __import__(name)
        except ImportError:
            continue
        monkeypatch.setattr(module.HTTPTransport, "handle_request", _again(module))


def _again(module):
    real = module.HTTPTransport.handle_request

    def handle_request(self, request):
        try:
            return real(self, request)
        except module.TransportError:
            return real(self, request)

    return handle_request
