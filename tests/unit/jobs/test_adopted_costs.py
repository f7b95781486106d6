"""Adopted jobs count in the ledger, and in the budget of the month in which they were made."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from ftsdk.errors import BudgetError
from ftsdk.spending.ledger import ledger
from ftsdk.store.reservations import Reservations
from ftsdk.types.cost import Cost
from ftsdk.types.job import RemoteJob
from ftsdk.types.status import JobStatus
from tests.faults.priced import ROWS, priced_client


@pytest.fixture
def client(home, clock):
    return priced_client(home, {"month": "3"}, clock=clock)


def elsewhere(client, *, cost=None, status=JobStatus.SUCCEEDED, made=None, tag=None):
    """Create a job at the provider outside of ftsdk."""
    bill = Cost() if cost is None else Cost(basis="billed", low=Decimal(cost), high=Decimal(cost))
    remote = RemoteJob(
        provider_job_id="theirs-1", status=status, raw_status=str(status), model="m", tag=tag,
        created_at=made or client.clock.now(), cost=bill,
    )  # fmt: skip
    client.backend("fake").get = lambda _: remote
    return client.adopt_job("fake", "theirs-1")


def test_the_bill_of_an_adopted_job_counts_in_this_month(client):
    job = elsewhere(client, cost="2.50")
    [line] = ledger(client.session)
    assert (line.id, line.actual, line.counted) == (job.id, Decimal("2.50"), Decimal("2.50"))
    with pytest.raises(BudgetError, match=r"\$0.50 of \$3.00"):
        client.create_job(ROWS)


def test_an_adopted_job_of_an_earlier_month_counts_there(client):
    elsewhere(client, cost="2.50", made=client.clock.now() - dt.timedelta(days=40))
    assert Reservations(client.journal).spent(client.clock.now()) == (Decimal(0), 0)
    client.create_job(ROWS)


def test_adopting_is_never_refused_and_an_unknown_cost_closes_the_budget_until_settled(client):
    job = elsewhere(client, status=JobStatus.RUNNING)
    assert Reservations(client.journal).spent(client.clock.now()) == (Decimal(0), 1)
    with pytest.raises(BudgetError) as caught:
        client.create_job(ROWS)
    assert f"--settle {job.id}" in caught.value.hint
    Reservations(client.journal).settle(job.id, Decimal(1), "by hand")
    client.create_job(ROWS)


def test_an_adopted_job_over_the_limit_is_still_added(client):
    elsewhere(client, cost="300")
    assert Reservations(client.journal).spent(client.clock.now()) == (Decimal(300), 0)


def test_a_job_found_by_its_tag_keeps_its_reservation(client):
    from ftsdk.errors import Unavailable

    backend = client.backend("fake")
    send, backend.find = backend.submit, lambda _: []

    def lost(request):
        send(request)
        raise Unavailable("no answer", submitted="maybe", retryable=True)

    backend.submit = lost
    with pytest.raises(Unavailable):
        client.create_job(ROWS)
    [job] = client.list_jobs()
    assert job.status is JobStatus.IN_DOUBT
    adopted = elsewhere(client, status=JobStatus.RUNNING, tag=job.snapshot.tag)
    assert adopted.id == job.id
    assert Reservations(client.journal).spent(client.clock.now()) == (Decimal(1), 0)


def test_a_free_job_counts_nothing(home, clock, rows):
    from ftsdk.client import Client
    from ftsdk.config import Config

    config = Config(data={"provider": "fake", "model": "m", "budget": {"month": "1"}})
    client = Client(home=home, clock=clock, config=config, env={})
    elsewhere(client, status=JobStatus.RUNNING)
    assert Reservations(client.journal).spent(clock.now()) == (Decimal(0), 0)
