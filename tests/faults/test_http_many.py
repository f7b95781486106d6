"""Many submissions and reads with faults, over real sockets: one create call a job, and reads recover.

The short tier runs 120 of each kind for each provider, `--long` 10,000.
"""

from __future__ import annotations

import contextlib
import functools
import random

import pytest

from ftsdk.backends.hosted import RetryBudget
from ftsdk.errors import FtsdkError, RateLimited, Unavailable
from ftsdk.util.clock import ManualClock
from tests.faults.http_world import READS, World
from tests.faults.providers import PROVIDERS, START, each_provider
from tests.faults.test_http_create import plant_retries

pytestmark = pytest.mark.timeout(5400)
LONGEST_S = 120
RETRY_AFTERS = (
    "0", "1", "7", "119", "120", "121", "86400", "1e9", "-1", "nan", "inf", "soon", "", "²",
    "Mon, 23 Nov 2020 00:00:00 GMT", "Sun, 23 Nov 2031 00:00:00 GMT", "Mon, 99 Nov 9999",
)  # fmt: skip


@pytest.fixture
def count(request):
    return 10_000 if request.config.getoption("--long") else 120


@pytest.fixture
def unlimited_retries(monkeypatch):
    """Switch the retry budget off: here every read must recover."""
    monkeypatch.setattr(RetryBudget, "take", lambda self: True)


def run(provider, home, count):
    with provider.double(ManualClock(START)) as double:
        world = World(provider, double, home)
        for _ in range(count):
            world.one()
        totals = world.finish()
        world.client.close()
        assert double.violations == []
        assert max(double.clock.slept, default=0) <= LONGEST_S
    return totals


@each_provider()
def test_one_create_call_for_one_job(provider, memory, count, unlimited_retries, record_property):
    totals = run(provider, memory, count)
    record_property("totals", str(totals))
    print(f"{provider}: {totals}")
    assert (totals.sent_twice, totals.made_twice, totals.lost) == (0, 0, 0)
    assert totals.faults >= count * 0.95
    assert totals.creates <= totals.submissions + totals.made_anew
    assert totals.submissions == totals.adopted + totals.refused + totals.in_doubt
    assert min(totals.adopted, totals.refused, totals.in_doubt) > count * 0.05


@each_provider()
def test_the_harness_catches_repeated_create_calls(
    provider, memory, unlimited_retries, monkeypatch
):
    plant_retries(monkeypatch)
    totals = run(provider, memory, 60)
    assert totals.sent_twice
    assert totals.made_twice


def reads_of(provider, client, job):
    """Return one function for each read of a job; it returns whether the answer is right."""
    backend = client.backend(provider.name)
    capabilities = backend.capabilities
    identity = str(job.provider_job_id)
    reads = [
        lambda: job.refresh().status.is_remote,
        lambda: backend.get(identity).provider_job_id == identity,
        lambda: identity in [one.provider_job_id for one in backend.list()],
        lambda: [one.provider_job_id for one in backend.get_many([identity])] == [identity],
    ]
    if capabilities.has_events:
        reads.append(lambda: job.events() is not None)
    if capabilities.has_metrics:
        reads.append(lambda: job.metrics() is not None)
    if capabilities.has_checkpoints:
        reads.append(lambda: job.checkpoints() is not None)
    if capabilities.has_logs:
        reads.append(lambda: job.logs() is not None)
    return reads


@each_provider()
def test_reads_recover(provider, memory, count, unlimited_retries, record_property):
    chance = random.Random(1)
    with provider.double(ManualClock(START)) as double:
        provider.run_forever(double)
        client = provider.client(double, memory)
        job = provider.send(client)
        reads = reads_of(provider, client, job)
        first = len(double.requests)
        before = double.faults.triggered
        for _ in range(count):
            for _ in range(chance.randint(1, 2)):
                name, facts = chance.choice(READS)
                double.faults.add(name, method="GET", **facts)
            assert chance.choice(reads)()
            double.faults.clear()
        faults = double.faults.triggered - before
        asked = list(double.requests)[first:]
        assert job.refresh().provider_job_id == job.provider_job_id
        client.close()
    summary = f"{count} reads, {faults} faults, {len(asked)} requests: all recovered"
    record_property("totals", summary)
    print(f"{provider}: {summary}")
    assert {one.method for one in asked} == {"GET"}
    assert faults > count
    assert max(double.clock.slept) <= LONGEST_S


@each_provider()
@pytest.mark.parametrize("retry_after", RETRY_AFTERS)
def test_no_sleep_is_longer_than_two_minutes(provider, retry_after, home):
    """Whatever `Retry-After` says, on a read and on the create call."""
    with provider.double(ManualClock(START)) as double:
        client = provider.client(double, home)
        clock = double.clock
        job = provider.send(client, seed=1)
        facts = {"status": 429, "retry_after": retry_after}
        began = clock.monotonic()
        double.faults.add("status", method="GET", times=None, **facts)
        with pytest.raises(RateLimited):
            client.backend(provider.name).get(str(job.provider_job_id))
        double.faults.clear()
        assert clock.monotonic() - began <= 185
        provider.inject(double, "status", **facts)
        with pytest.raises(FtsdkError) as caught:
            provider.send(client, seed=2)
        assert caught.value.submitted == "maybe"
        assert max(clock.slept, default=0) <= LONGEST_S
        assert set(provider.creates(double).values()) == {1}
        client.close()


def test_the_retry_budget_of_the_process_limits_retries_in_an_outage(home, request):
    """All providers fail at once; every call of every client draws from one budget."""
    calls = 10_000 if request.config.getoption("--long") else 1_000
    installed = [one for one in PROVIDERS if one.is_installed()]
    if not installed:
        pytest.skip("no provider's package is installed")
    clock, failed = ManualClock(START), 0
    with contextlib.ExitStack() as stack:
        doubles, asks = [], []
        for provider in installed:
            double = stack.enter_context(provider.double(clock))
            provider.run_forever(double)
            client = provider.client(double, home / provider.name)
            stack.callback(client.close)
            job = provider.send(client)
            doubles.append(double)
            get = client.backend(provider.name).get
            asks.append(functools.partial(get, str(job.provider_job_id)))
        before = sum(len(one.requests) for one in doubles)
        for double in doubles:
            double.faults.add("status", method="GET", status=503, times=None)
        for number in range(calls):
            try:
                asks[number % len(asks)]()
            except Unavailable:
                failed += 1
        retries = sum(len(one.requests) for one in doubles) - before - calls
    print(
        f"{calls} calls in an outage of {len(installed)} providers: {retries} retries, {retries / calls:.1%}"
    )
    assert failed == calls
    # A share of the calls, plus what calls before the outage added to the budget.
    assert 0 < retries <= 0.15 * calls + 100
    pauses = clock.slept[-retries:]
    assert len({round(one, 6) for one in pauses}) > len(pauses) / 2, "no jitter"
    assert max(clock.slept) <= LONGEST_S
