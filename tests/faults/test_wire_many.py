"""Many faulted submissions and reads over real sockets: one create call for one job, reads recover.

The short tier plays some; `--long` plays 10,000 of each kind for each provider.
"""

from __future__ import annotations

import contextlib
import functools
import random

import pytest

from ftsdk.backends.hosted import RetryBudget
from ftsdk.errors import FtsdkError, RateLimited, Unavailable
from ftsdk.util.clock import ManualClock
from tests.faults.providers import PROVIDERS, START, each_provider
from tests.faults.test_wire_create import plant_retries
from tests.faults.wire_world import READS, World

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
def endless(monkeypatch):
    """Retries are counted elsewhere; here each read is to recover."""
    monkeypatch.setattr(RetryBudget, "take", lambda self: True)


def play(provider, home, count):
    with provider.double(ManualClock(START)) as double:
        world = World(provider, double, home)
        for _ in range(count):
            world.one()
        tally = world.told()
        world.client.close()
        assert double.violations == []
        assert max(double.clock.slept, default=0) <= LONGEST_S
    return tally


@each_provider()
def test_one_create_call_for_one_job(provider, memory, count, endless, record_property):
    tally = play(provider, memory, count)
    record_property("tally", str(tally))
    print(f"{provider}: {tally}")
    assert (tally.sent_twice, tally.made_twice, tally.lost) == (0, 0, 0)
    assert tally.faults >= count * 0.95
    assert tally.creates <= tally.submissions
    assert tally.submissions == tally.adopted + tally.refused + tally.in_doubt
    assert min(tally.adopted, tally.refused, tally.in_doubt) > count * 0.05


@each_provider()
def test_the_harness_catches_repeated_create_calls(provider, memory, endless, monkeypatch):
    plant_retries(monkeypatch)
    tally = play(provider, memory, 60)
    assert tally.sent_twice
    assert tally.made_twice


def readings(provider, client, job):
    """Every way to ask for something of a job, and how the answer is judged."""
    backend = client.backend(provider.name)
    able = backend.capabilities
    identity = str(job.provider_job_id)
    ways = [
        lambda: job.refresh().status.is_remote,
        lambda: backend.get(identity).provider_job_id == identity,
        lambda: identity in [one.provider_job_id for one in backend.list()],
        lambda: [one.provider_job_id for one in backend.get_many([identity])] == [identity],
    ]
    if able.has_events:
        ways.append(lambda: job.events() is not None)
    if able.has_metrics:
        ways.append(lambda: job.metrics() is not None)
    if able.has_checkpoints:
        ways.append(lambda: job.checkpoints() is not None)
    if able.has_logs:
        ways.append(lambda: job.logs() is not None)
    return ways


@each_provider()
def test_reads_recover(provider, memory, count, endless, record_property):
    chance = random.Random(1)
    with provider.double(ManualClock(START)) as double:
        provider.never_ends(double)
        client = provider.client(double, memory)
        job = provider.send(client)
        ways = readings(provider, client, job)
        begun = len(double.requests)
        shown = double.faults.triggered
        for _ in range(count):
            for _ in range(chance.randint(1, 2)):
                name, facts = chance.choice(READS)
                double.faults.add(name, method="GET", **facts)
            assert chance.choice(ways)()
            double.faults.clear()
        faults = double.faults.triggered - shown
        asked = list(double.requests)[begun:]
        assert job.refresh().provider_job_id == job.provider_job_id
        client.close()
    told = f"{count} reads, {faults} faults, {len(asked)} requests: all recovered"
    record_property("tally", told)
    print(f"{provider}: {told}")
    assert {one.method for one in asked} == {"GET"}
    assert faults > count
    assert max(double.clock.slept) <= LONGEST_S


@each_provider()
@pytest.mark.parametrize("told", RETRY_AFTERS)
def test_no_sleep_is_longer_than_two_minutes(provider, told, home):
    """Whatever `Retry-After` says, on a read as on the create call."""
    with provider.double(ManualClock(START)) as double:
        client = provider.client(double, home)
        clock = double.clock
        job = provider.send(client, seed=1)
        asks = {"status": 429, "retry_after": told}
        began = clock.monotonic()
        double.faults.add("status", method="GET", times=None, **asks)
        with pytest.raises(RateLimited):
            client.backend(provider.name).get(str(job.provider_job_id))
        double.faults.clear()
        assert clock.monotonic() - began <= 185
        provider.spoil(double, "status", **asks)
        with pytest.raises(FtsdkError) as caught:
            provider.send(client, seed=2)
        assert caught.value.submitted == "maybe"
        assert max(clock.slept, default=0) <= LONGEST_S
        assert set(provider.creates(double).values()) == {1}
        client.close()


def test_the_retry_budget_of_the_process_holds_in_an_outage(home, request):
    """All three are out at once; every call of every client draws from one budget."""
    calls = 10_000 if request.config.getoption("--long") else 1_000
    here = [one for one in PROVIDERS if one.is_here()]
    if not here:
        pytest.skip("no provider's package is installed")
    clock, failed = ManualClock(START), 0
    with contextlib.ExitStack() as stack:
        doubles, asks = [], []
        for provider in here:
            double = stack.enter_context(provider.double(clock))
            provider.never_ends(double)
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
        f"{calls} calls in an outage of {len(here)} providers: {retries} retries, {retries / calls:.1%}"
    )
    assert failed == calls
    # A share of the calls, and what calls before the outage had put by.
    assert 0 < retries <= 0.15 * calls + 100
    pauses = clock.slept[-retries:]
    assert len({round(one, 6) for one in pauses}) > len(pauses) / 2, "no jitter"
    assert max(clock.slept) <= LONGEST_S
