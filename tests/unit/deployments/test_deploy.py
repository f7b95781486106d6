"""A deployment has a lease: recorded first, counted, listed, and ended when it is over."""

from __future__ import annotations

import datetime as dt
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal

import pytest

from ftsdk.deployments.deploy import deploy, price_of, undeploy
from ftsdk.errors import (
    BudgetError,
    NotFound,
    NotReady,
    Rejected,
    Unavailable,
    UnknownJob,
    Unsupported,
    UsageError,
    WaitTimeout,
)
from ftsdk.jobs.spending_guard import enforce, running_cost_notices
from ftsdk.spending.ledger import ledger, totals
from ftsdk.spending.switch import forbid_spending
from ftsdk.store.accounting import Reservation
from ftsdk.store.export import forgettable
from ftsdk.store.leases import Lease, Leases
from ftsdk.store.reservations import Reservations, reservation_hook
from ftsdk.types.cost import Cost
from ftsdk.types.status import JobStatus
from ftsdk.util.clock import ManualClock
from tests.faults.priced import ROWS, PricedBackend, priced_client


class DeployingBackend(PricedBackend):
    """A paid provider whose models need a deployment at $6 an hour."""

    capabilities = replace(PricedBackend.capabilities, can_deploy=True)
    hourly = Decimal(6)

    def __init__(self, context):
        super().__init__(context)
        self.deployed_ids = set()
        self.fails = None

    def model(self, provider_job_id):
        handle = super().model(provider_job_id)
        cost = Cost(basis="quoted", hosting_usd_per_hour=self.hourly)
        return handle.model_copy(update={"running_cost": cost})

    def deploy(self, handle, **options):
        if self.fails:
            raise self.fails
        self.options = options
        self.deployed_ids.add(handle.id)
        return handle.model_copy(update={"callable_now": True})

    def undeploy(self, handle):
        if self.fails:
            raise self.fails
        self.deployed_ids.discard(handle.id)
        return handle


@pytest.fixture
def made(home):
    def make(budget=None):
        clock = ManualClock()
        client = priced_client(home, budget, clock=clock)
        client.session.use_backend("fake", DeployingBackend)
        job = client.create_job(ROWS)
        clock.advance(10)
        job.refresh()
        return client, job, clock

    return make


def test_a_lease_lasts_for_its_time_then_ends(made):
    client, job, clock = made()
    handle, lease = deploy(client.session, job.id, hours=2, options={"config": "c"})
    backend = client.backend("fake")
    assert handle.callable_now
    assert backend.options == {"config": "c"}
    assert lease.state == "open"
    assert lease.ends_at - lease.started_at == dt.timedelta(hours=2)
    assert [str(n) for n in enforce(client.session)] == [
        f"{handle.id} at fake costs $6.00 an hour; 2 h 00 min left"
    ]
    clock.advance(3600)
    assert lease.cost(clock.now()) == Decimal(6)
    clock.advance(3601)
    notices = enforce(client.session)
    assert [n.kind for n in notices] == ["ended"]
    assert "about $12.00 in all" in notices[0].text
    assert backend.deployed_ids == set()
    assert enforce(client.session) == []
    assert Leases(client.journal).list()[0].why == "the lease was over"


def test_a_closed_lease_keeps_its_first_time_and_reason(made):
    client, job, clock = made()
    _, lease = deploy(client.session, job.id, hours=2)
    leases = Leases(client.journal)
    assert leases.record_failure(lease.id, "no answer").why == "no answer"
    assert leases.mark_open(lease.id, "d1").why == ""
    closed = leases.mark_closed(lease.id, clock.now(), "the first reason")
    ended = clock.now()
    clock.advance(60)
    later = (
        leases.mark_closed(lease.id, clock.now(), "another reason"),
        leases.record_failure(lease.id, "a late failure"),
        leases.mark_open(lease.id, "d2"),
        leases.extend(lease.id, clock.now() + dt.timedelta(hours=9)),
    )
    for one in (*later, *leases.list()):
        assert one == closed
        assert (one.why, one.closed_at, one.deployment_id) == ("the first reason", ended, "d1")


def test_a_lease_is_two_hours_unless_the_budget_sets_it(made):
    client, job, _ = made({"lease_hours": 0.5})
    _, lease = deploy(client.session, job.id)
    assert lease.ends_at - lease.started_at == dt.timedelta(minutes=30)


def test_a_second_deploy_extends_the_first(made):
    client, job, clock = made()
    _, first = deploy(client.session, job.id, hours=1)
    clock.advance(1800)
    _, second = deploy(client.session, job.id, hours=1)
    assert second.id == first.id
    assert second.ends_at - first.ends_at == dt.timedelta(minutes=30)
    assert len(Leases(client.journal).list()) == 1


def test_the_whole_lease_counts_against_the_month_and_less_once_it_is_closed(made):
    client, job, clock = made({"month": "13.00"})  # the job itself holds $1
    with pytest.raises(BudgetError) as caught:
        deploy(client.session, job.id, hours=2.1)
    assert caught.value.what.startswith("The deployment may cost $12.60")
    assert client.backend("fake").deployed_ids == set()
    assert Leases(client.journal).list() == []
    deploy(client.session, job.id, hours=2)
    with pytest.raises(BudgetError):
        client.create_job(ROWS, again=True)
    clock.advance(600)
    undeploy(client.session, job.id)
    assert Reservations(client.journal).spent(clock.now()) == (Decimal(2), 0)
    client.create_job(ROWS, again=True)


def test_a_lease_is_extended_only_as_far_as_the_month_has_room(made):
    client, job, _ = made({"month": "20.00"})  # the job itself holds $1
    _, lease = deploy(client.session, job.id, hours=2)
    with pytest.raises(BudgetError, match=r"may cost \$12\.00, and \$7\.00 of \$20\.00"):
        deploy(client.session, job.id, hours=4)
    assert Leases(client.journal).list() == [lease]
    assert deploy(client.session, job.id, hours=3)[1].ends_at - lease.ends_at == dt.timedelta(
        hours=1
    )


def test_concurrent_deploys_start_one_deployment(made):
    client, job, _ = made({"month": "14.00"})  # room for one lease of two hours
    with ThreadPoolExecutor(8) as pool:
        leases = list(pool.map(lambda _: deploy(client.session, job.id, hours=2)[1].id, range(8)))
    [lease] = Leases(client.journal).list()
    assert set(leases) == {lease.id}


def test_a_failed_extension_keeps_the_earlier_lease(made):
    client, job, _ = made()
    _, lease = deploy(client.session, job.id, hours=2)
    for failure in (Unavailable("no network", submitted="no"), Rejected("too long")):
        client.backend("fake").fails = failure
        with pytest.raises(type(failure)):
            deploy(client.session, job.id, hours=5)
        assert Leases(client.journal).list(running=True) == [lease]


def test_a_lease_counts_in_each_month_for_its_hours_there(home):
    clock = ManualClock(dt.datetime(2026, 11, 30, 21, 59, 50, tzinfo=dt.UTC))
    client = priced_client(home, {"month": "13.00"}, clock=clock)
    client.session.use_backend("fake", DeployingBackend)
    job = client.create_job(ROWS)  # $1
    clock.advance(10)
    job.refresh()
    with pytest.raises(BudgetError, match=r"\$18\.00, and \$13\.00") as caught:
        deploy(client.session, job.id, hours=5)  # $12 of November, and $18 of December
    assert "$0.00 is spent or reserved in 2026-12" in caught.value.where
    deploy(client.session, job.id, hours=4)
    assert Reservations(client.journal).spent(clock.now()) == (Decimal(13), 0)
    clock.advance(2 * 3600)
    assert Reservations(client.journal).spent(clock.now()) == (Decimal(12), 0)
    months = [(line.key, line.counted) for line in totals(ledger(client.session), "month")]
    assert months == [("2026-12", 12), ("2026-11", 13)]
    client.create_job([*ROWS, ROWS[0]])
    with pytest.raises(BudgetError):
        client.create_job([*ROWS, ROWS[1]])


def test_the_options_of_a_deployment_are_part_of_its_price(made):
    client, job, _ = made({"month": "20.00"})

    class ByReplica(DeployingBackend):
        def deployment_usd_per_hour(self, handle, *, replicas=1):
            return self.hourly * replicas

    client.session.use_backend("fake", ByReplica)
    assert price_of(client.session, job.id, {"replicas": 3}) == 18
    with pytest.raises(BudgetError, match=r"may cost \$36\.00"):
        deploy(client.session, job.id, options={"replicas": 3})
    _, lease = deploy(client.session, job.id, hours=1, options={"replicas": 3})
    assert lease.usd_per_hour == 18
    assert price_of(client.session, job.id) == 18  # the price of its lease


def test_an_unknown_price_of_hosting_fails_closed_with_a_budget(made):
    client, job, _ = made({"month": "13.00"})
    client.backend("fake").hourly = None
    with pytest.raises(BudgetError, match="unknown"):
        deploy(client.session, job.id)


def test_spending_forbidden_means_no_deploy_but_undeploy(made):
    client, job, clock = made()
    deploy(client.session, job.id)
    clock.advance(7201)
    with forbid_spending():
        with pytest.raises(BudgetError):
            deploy(client.session, job.id)
        assert [n.kind for n in enforce(client.session)] == ["ended"]


def test_a_refusal_closes_the_lease_and_doubt_leaves_it_open(made):
    client, job, clock = made()
    backend = client.backend("fake")
    backend.fails = Rejected("no such hardware")
    with pytest.raises(Rejected):
        deploy(client.session, job.id)
    assert [x.state for x in Leases(client.journal).list()] == ["closed"]
    backend.fails = Unavailable("no answer", submitted="maybe")
    with pytest.raises(Unavailable):
        deploy(client.session, job.id)
    assert "it may not be running" in running_cost_notices(client.session)[0].text
    clock.advance(7201)
    notices = enforce(client.session)  # the provider is still away
    assert notices[0].kind == "not_ended"
    assert "may STILL COST $6.00 an hour" in notices[0].text
    backend.fails = None
    _, lease = deploy(client.session, job.id, hours=1)
    assert (lease.state, lease.why) == ("open", "")  # what was in the way is past
    clock.advance(3601)
    assert [n.kind for n in enforce(client.session)] == ["ended"]


def test_a_crash_before_the_answer_leaves_a_lease(made):
    client, job, clock = made()
    backend = client.backend("fake")
    backend.fails = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        deploy(client.session, job.id)
    assert [x.state for x in Leases(client.journal).list(running=True)] == ["opening"]
    backend.fails = None
    clock.advance(7201)
    assert [n.kind for n in enforce(client.session)] == ["ended"]


def test_a_job_is_not_forgotten_while_its_model_is_deployed(made):
    client, job, clock = made()
    deploy(client.session, job.id, hours=24 * 31)
    clock.advance(400 * 24 * 3600)
    year = dt.timedelta(days=365)
    assert forgettable(client.journal, year, clock.now()) == []
    enforce(client.session)
    assert client.backend("fake").deployed_ids == set()
    assert [one.id for one in forgettable(client.journal, year, clock.now())] == [job.id]


def test_a_lease_without_its_job_is_never_called_undeployed(made):
    client, job, clock = made()
    _, lease = deploy(client.session, job.id)
    with client.journal.write() as cursor:
        cursor.execute("DELETE FROM jobs")
    clock.advance(7201)
    [notice] = enforce(client.session)
    assert notice.kind == "not_ended"
    assert "may STILL COST" in notice.text
    assert client.backend("fake").deployed_ids == {lease.model}


@pytest.mark.parametrize("hours", [0, -1, 1000])
def test_invalid_hours_are_refused(made, hours):
    client, job, _ = made()
    with pytest.raises(UsageError):
        deploy(client.session, job.id, hours=hours)


def test_backends_that_cannot_deploy_refuse(home):
    client = priced_client(home)
    job = client.create_job(ROWS)
    with pytest.raises(Unsupported):
        deploy(client.session, job.id)
    with pytest.raises(UnknownJob):
        undeploy(client.session, "lease_nothing")


# --- caps of jobs billed by the hour -----------------------------------------------------------------


def running(client, clock, *, cap, rate, look=True):
    timeline = [["queued", 0], ["running", 100], ["succeeded", 10**6]]
    job = client.create_job(ROWS, provider_options={"timeline": timeline})
    reserved = Reservations(client.journal).get(job.id)
    with client.journal.write() as cursor:
        cursor.execute("DELETE FROM reservations WHERE job_id = ?", (job.id,))
        again = Reservation(
            job.id, reserved.month, None, reserved.cost, Decimal(rate), Decimal(cap)
        )
        reservation_hook(again, (), client.journal.is_being_sent)(cursor, job.snapshot)
    clock.advance(3600)
    if look:
        assert job.refresh().status is JobStatus.RUNNING
    return job


def test_a_job_near_its_cap_gives_one_warning_and_is_cancelled_at_it(home):
    clock = ManualClock()
    client = priced_client(home, clock=clock)
    job = running(client, clock, cap=10, rate=10)
    assert enforce(client.session) == []  # an hour in the queue is no hour of training
    clock.advance(0.85 * 3600)
    assert [n.kind for n in enforce(client.session)] == ["near_cap"]
    assert enforce(client.session) == []
    clock.advance(0.16 * 3600)
    with forbid_spending():
        notices = enforce(client.session)
    assert [n.kind for n in notices] == ["stopped"]
    assert "its cap is $10.00: cancelled" in notices[0].text
    assert job.refresh().status is JobStatus.CANCELLED
    assert enforce(client.session) == []


def test_enforce_refreshes_jobs_itself(home):
    clock = ManualClock()
    client = priced_client(home, clock=clock)
    job = running(client, clock, cap=10, rate=10, look=False)
    assert client.get_job(job.id).status is JobStatus.QUEUED
    assert enforce(client.session) == []
    assert client.get_job(job.id).status is JobStatus.RUNNING
    clock.advance(3600)
    assert [n.kind for n in enforce(client.session)] == ["stopped"]


def test_hours_count_from_when_the_provider_says_it_began(home):
    clock = ManualClock()
    client = priced_client(home, clock=clock)
    backend, get = client.backend("fake"), client.backend("fake").get
    job = running(client, clock, cap=10, rate=10, look=False)
    began = clock.now() - dt.timedelta(minutes=54)
    backend.get = lambda one: get(one).model_copy(update={"started_at": began})
    assert [n.text for n in enforce(client.session)] == [
        f"{job.id} has cost about $9.00; it is cancelled at $10.00, in 6 min"
    ]


def test_a_job_that_ended_unobserved_is_not_reported_as_cancelled(home):
    clock = ManualClock()
    client = priced_client(home, clock=clock)
    job = running(client, clock, cap=10, rate=10)
    clock.advance(10**6)
    assert enforce(client.session) == []
    assert client.get_job(job.id).status is JobStatus.SUCCEEDED


def test_an_unreachable_provider_is_checked_by_the_journal(home):
    clock = ManualClock()
    client = priced_client(home, clock=clock)
    job = running(client, clock, cap=10, rate=10)
    clock.advance(3600)
    backend = client.backend("fake")
    get, calls = backend.get, []

    def once_away(one):
        calls.append(one)
        if len(calls) == 1:
            raise Unavailable("no connection", retryable=True)
        return get(one)

    backend.get = once_away
    assert [n.kind for n in enforce(client.session)] == ["stopped"]
    assert client.get_job(job.id).status is JobStatus.CANCELLED


def test_the_warning_names_what_is_left(home):
    clock = ManualClock()
    client = priced_client(home, {"warn_at": 0.5}, clock=clock)
    job = running(client, clock, cap=30, rate=10)
    clock.advance(2 * 3600)
    assert [str(n) for n in enforce(client.session)] == [
        f"{job.id} has cost about $20.00; it is cancelled at $30.00, in 1 h 00 min"
    ]


def test_the_bill_so_far_counts_where_it_is_higher(home):
    clock = ManualClock()
    client = priced_client(home, clock=clock)
    job = running(client, clock, cap=10, rate=1)
    bill = Cost(basis="billed", low=Decimal(11), high=Decimal(11))
    client.journal.change(job.id, now=clock.now(), why="billed so far", cost=bill)
    assert [n.kind for n in enforce(client.session)] == ["stopped"]


def test_a_failed_cancellation_gives_a_notice(home, monkeypatch):
    clock = ManualClock()
    client = priced_client(home, clock=clock)
    running(client, clock, cap=1, rate=10)
    clock.advance(3600)

    def away(_):
        raise Unavailable("no connection")

    monkeypatch.setattr(client.backend("fake"), "cancel", away)
    notices = enforce(client.session)
    assert notices[0].kind == "not_ended"
    assert "FAILED: no connection" in notices[0].text


def test_a_job_deploys_its_model_and_ends_it(made):
    client, job, _ = made()
    assert job.deploy(hours=1).callable_now
    assert len(Leases(client.journal).list(running=True)) == 1
    assert job.undeploy() is job
    assert Leases(client.journal).list(running=True) == []
    assert client.backend("fake").deployed_ids == set()


def test_so_does_the_model_itself(made):
    client, job, _ = made()
    model = job.result()
    served = model.deploy(hours=1)
    assert served.callable_now
    assert len(Leases(client.journal).list(running=True)) == 1
    served.undeploy()
    assert Leases(client.journal).list(running=True) == []
    with pytest.raises(NotReady, match="only data"):
        pickle.loads(pickle.dumps(model)).deploy(hours=1)  # our own bytes


def test_a_model_is_waited_for_while_its_deployment_starts(made, monkeypatch):
    client, job, clock = made()
    backend = client.backend("fake")
    began = clock.monotonic()

    def starting(provider_job_id):
        age = clock.monotonic() - began
        state = {"callable_now": age >= 60, "is_starting": bool(backend.deployed_ids) and age < 60}
        return DeployingBackend.model(backend, provider_job_id).model_copy(update=state)

    monkeypatch.setattr(backend, "model", starting)
    with pytest.raises(NotReady, match="no deployment of it is starting") as idle:
        job.result().wait()
    assert f"ftsdk deploy {job.id}" in idle.value.hint
    served = job.deploy(hours=1).made_by(job)
    with pytest.raises(WaitTimeout, match="it continues, and so does its cost") as late:
        job.callable_result(timeout=10)
    assert late.value.job_id == job.id
    assert len(Leases(client.journal).list(running=True)) == 1
    assert served.wait().callable_now
    assert 60 <= clock.monotonic() - began < 70


def test_one_failed_read_does_not_end_the_waiting_for_a_deployment(made, monkeypatch):
    client, job, clock = made()
    backend = client.backend("fake")
    job.deploy(hours=1)
    errors, model = [Unavailable("down"), NotFound("not yet")], DeployingBackend.model

    def read(provider_job_id):
        if errors:
            raise errors.pop()
        return model(backend, provider_job_id)

    monkeypatch.setattr(backend, "model", read)
    began = clock.monotonic()
    assert job.callable_result().callable_now
    assert clock.monotonic() - began == 10
    errors += [NotFound("gone")] * 99
    with pytest.raises(NotFound):
        job.callable_result()


def test_a_waiting_caller_sees_the_warning_and_the_cancellation(home):
    clock = ManualClock()
    client = priced_client(home, clock=clock)
    job = running(client, clock, cap=1, rate=36)
    messages = [e.message for e in job.stream(events=False) if e.kind == "warning"]
    assert len(messages) == 2
    assert "it is cancelled at $1.00" in messages[0]
    assert "its cap is $1.00: cancelled" in messages[1]
    assert job.status is JobStatus.CANCELLED


def cancels(client, monkeypatch):
    """Record the jobs that the provider is asked to cancel."""
    backend, asked = client.backend("fake"), []
    real = backend.cancel
    monkeypatch.setattr(backend, "cancel", lambda one: asked.append(one) or real(one))
    return asked


def test_refreshing_a_job_over_its_cap_only_warns(home, monkeypatch, caplog):
    clock = ManualClock()
    client = priced_client(home, clock=clock)
    job = running(client, clock, cap=10, rate=10)
    asked = cancels(client, monkeypatch)
    clock.advance(0.9 * 3600)
    assert job.refresh().status is JobStatus.RUNNING
    assert caplog.messages == []  # only the guard warns near the cap
    clock.advance(0.2 * 3600)
    for _ in range(3):
        assert job.refresh().status is JobStatus.RUNNING
    (message,) = caplog.messages
    assert message.startswith(
        f"{job.id} has cost about $11.00 and its cap is $10.00; refreshing does not"
    )
    assert message.endswith(f"job.wait(), `ftsdk watch {job.id}` and job.cancel() do")
    with pytest.raises(NotReady):
        client.get_job(job.id).result()
    assert asked == []
    job.wait()
    assert (len(asked), job.status) == (1, JobStatus.CANCELLED)


def test_waiting_for_a_job_cancels_it_at_its_cap_in_any_profile(home, monkeypatch):
    clock = ManualClock()
    client = priced_client(home, clock=clock)
    job = running(client, clock, cap=1, rate=36)
    other = running(client, clock, cap=1, rate=36)
    for one in (job, other):
        client.journal.change(one.id, now=clock.now(), why="made elsewhere", profile="prod")
    asked = cancels(client, monkeypatch)
    job.wait()
    assert asked == [job.provider_job_id]
    assert other.refresh().status is JobStatus.RUNNING


class WithoutDeploy(PricedBackend):
    """A backend whose record says that it deploys, and that has no such method."""

    capabilities = replace(PricedBackend.capabilities, can_deploy=True)


class WithoutUndeploy(WithoutDeploy):
    """A backend that could start a deployment and never end it."""

    def deploy(self, handle, **options):
        raise AssertionError("it was deployed")


class WithOneOption(DeployingBackend):
    """A backend whose `deploy` names its options."""

    def deploy(self, handle, *, replicas=1):
        return super().deploy(handle, replicas=replicas)


@pytest.mark.parametrize(
    ("backend", "options", "missing"),
    [
        (WithoutDeploy, {}, "deploy"),
        (WithoutUndeploy, {}, "undeploy"),
        (WithOneOption, {"hardware": "h200"}, "hardware"),
    ],
)
def test_what_could_not_be_deployed_or_ended_leaves_no_lease(home, backend, options, missing):
    with priced_client(home, clock=ManualClock()) as client:
        client.session.use_backend("fake", backend)
        job = client.create_job(ROWS).wait()
        with pytest.raises(Unsupported, match=missing) as caught:
            job.deploy(hours=1, options=options)
        assert caught.value.submitted == "no"
        assert Leases(client.journal).list() == []


def test_a_lease_that_is_opening_where_nothing_can_be_deployed_can_be_closed(home):
    clock = ManualClock()
    with priced_client(home, clock=clock) as client:
        client.session.use_backend("fake", WithoutDeploy)
        job = client.create_job(ROWS).wait()
        now = clock.now()
        Leases(client.journal).add(
            Lease("lease_1", "fake", "m", now, now + dt.timedelta(hours=1), job_id=job.id)
        )
        clock.advance(7200)
        assert [notice.kind for notice in enforce(client.session)] == ["ended"]
        assert [lease.state for lease in Leases(client.journal).list()] == ["closed"]
