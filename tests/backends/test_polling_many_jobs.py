"""Many jobs that end together: their provider gets at most two requests per second."""

from __future__ import annotations

import dataclasses

import pytest

from ftsdk.backends.hosted.polling_rate import Pace
from ftsdk.jobs.follow import poll_once
from ftsdk.types.cost import CostBasis
from ftsdk.types.status import JobStatus
from ftsdk.util.clock import ManualClock
from ftsdk.util.ids import client_token, new_job_id, submission_tag
from tests.faults.providers import OPENAI, REPLICATE, START, TOGETHER
from tests.faults.test_watch_many import copied

MANY = 40
POLL_S = 10.0
MOST_PER_S = 2.0
WINDOW_S = 5.0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def world(clock, home, request):
    """A provider, its double, a client, and so many jobs that run for ever."""
    provider = request.param
    pytest.importorskip(provider.needs)
    with provider.double(clock) as double, provider.client(double, home) as client:
        provider.run_forever(double)
        yield provider, double, client, jobs_of(provider, double, client)


def jobs_of(provider, double, client):
    first = provider.send(client)
    made, snapshots = provider.jobs(double), [first.snapshot]
    for number in range(MANY - 1):
        theirs = f"{str(first.provider_job_id)[:-6]}z{number:05d}"
        made[theirs] = alone(copied(made[str(first.provider_job_id)], theirs, 0))
        ours = new_job_id(client.clock.now())
        changes = {
            "id": ours, "provider_job_id": theirs, "tag": submission_tag(ours),
            "client_token": client_token(), "key": None,
        }  # fmt: skip
        snapshots.append(first.snapshot.model_copy(update=changes))
        client.journal.add(snapshots[-1])
    double.requests.clear()
    return snapshots


def alone(job):
    """The copied job with a diary of its own, where it keeps one."""
    return dataclasses.replace(job, log=[]) if hasattr(job, "log") else job


def most_in_a_window(double) -> int:
    times = [one.received_at.timestamp() for one in double.requests]
    return max(sum(at <= other < at + WINDOW_S for other in times) for at in times)


def rounds_until_all_ended(client, clock, snapshots):
    """Polls as a watcher does; gives the snapshots after each round."""
    rounds = []
    while not rounds or not all(one.status.is_final for one in rounds[-1]):
        rounds.append(poll_once(client.session, rounds[-1] if rounds else snapshots))
        assert len(rounds) < MANY
        clock.advance(POLL_S)
    return rounds


def end_all(provider, double, how) -> None:
    for identity in list(provider.jobs(double)):
        how(identity)


def ripen(provider, double) -> None:
    """Let every job have come to its good end by now."""
    made = provider.jobs(double)
    for identity, job in list(made.items()):
        made[identity] = copied(job, identity, -1e9)
    double.clock.advance(600)


several = pytest.mark.parametrize("world", [OPENAI, TOGETHER, REPLICATE], ids=str, indirect=True)


@several
def test_succeeded_jobs_are_read_from_the_list_with_their_cost(world) -> None:
    provider, double, client, snapshots = world
    ripen(provider, double)
    now = poll_once(client.session, snapshots)
    assert {one.status for one in now} == {JobStatus.SUCCEEDED}
    assert [one for one in double.requests if not one.path.endswith(provider.list_path[:-1])] == []
    alone = client.backend(provider.name).get(str(now[0].provider_job_id))
    for one in now:
        assert one.cost == alone.cost or provider is OPENAI
        assert one.cost.basis is CostBasis.BILLED or provider is OPENAI
        assert one.trained_tokens == alone.trained_tokens
        assert one.finished_at is not None


@pytest.mark.parametrize("world", [TOGETHER], ids=str, indirect=True)
def test_failed_jobs_are_reported_at_once_and_read_in_turn(world, clock) -> None:
    provider, double, client, snapshots = world
    end_all(provider, double, lambda identity: double.fail(identity, "the platform had a fault"))
    new = double.restart(str(snapshots[-1].provider_job_id))
    rounds = rounds_until_all_ended(client, clock, snapshots[:-1])
    assert {one.raw_status for one in rounds[0]} == {"error"}  # none is reported as running
    assert {one.status for one in rounds[0]} == {JobStatus.FAILED, JobStatus.FINALIZING}
    assert {one.message for one in rounds[-1]} == {"the platform had a fault"}
    assert most_in_a_window(double) <= MOST_PER_S * WINDOW_S
    assert poll_once(client.session, snapshots[-1:])[0].provider_job_id == new


@pytest.mark.parametrize("world", [REPLICATE], ids=str, indirect=True)
def test_rows_that_leave_something_out_are_read_in_turn(world, clock) -> None:
    provider, double, client, snapshots = world
    ripen(provider, double)
    shown = double._training_object
    double._training_object = lambda one: {k: v for k, v in shown(one).items() if k != "metrics"}
    first = poll_once(client.session, snapshots)
    double._training_object = shown
    assert {one.raw_status for one in first} == {"succeeded"}
    assert all(one.finished_at is None for one in first if one.status is JobStatus.FINALIZING)
    clock.advance(POLL_S)
    last = poll_once(client.session, first)
    assert {one.status for one in last} == {JobStatus.SUCCEEDED}
    assert most_in_a_window(double) <= MOST_PER_S * WINDOW_S


@several
def test_jobs_missing_from_the_list_are_read_in_turn(world, clock) -> None:
    provider, double, client, snapshots = world
    asked: set[str] = set()
    double.faults.add("set", path=provider.list_path, field=provider.lists, value=[], times=10**6)
    for _ in range(MANY):
        snapshots = poll_once(client.session, snapshots)
        asked |= {one.path.rpartition("/")[2] for one in double.requests}
        clock.advance(POLL_S)
    assert {str(one.provider_job_id) for one in snapshots} <= asked
    assert most_in_a_window(double) <= MOST_PER_S * WINDOW_S


def test_pace_waits_only_as_long_as_needed() -> None:
    clock = ManualClock()
    pace = Pace(clock, per_s=2.0)
    for _ in range(10):
        pace.count()
    assert not pace.wait(until=4.9)
    assert clock.slept == []
    assert pace.wait(until=5.0)
    assert clock.monotonic() == pytest.approx(5.0)
    pace.count()
    clock.advance(60)  # quiet time is not saved up
    pace.count()
    pace.count()
    assert not pace.wait(until=clock.monotonic() + 0.9)
