"""A plan shows its budgets, what is spent and reserved, and whether the job fits."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from ftsdk.store.leases import Lease, Leases
from ftsdk.types.cost import Cost
from ftsdk.types.status import JobStatus
from tests.faults.priced import ROWS, priced_client

PROFILES = {"prod": {"budget": {"month": "2.50", "job": "0.90"}}}


def ended(client, job, usd):
    bill = Cost(basis="billed", low=Decimal(usd), high=Decimal(usd))
    client.journal.change(
        job.id, now=client.clock.now(), why="ended", status=JobStatus.SUCCEEDED, cost=bill
    )


def lines_of(plan):
    return [
        (one.scope, f"{one.limit}", f"{one.spent}", f"{one.reserved}", f"{one.left}", one.fits)
        for one in plan.budget
    ]


def test_spent_reserved_and_left_of_the_month_and_the_profile(home, clock):
    client = priced_client(home, {"month": "10"}, profile="prod", profiles=PROFILES, clock=clock)
    assert lines_of(client.plan(ROWS, max_cost="3")) == [
        ("job", "0.90", "0", "0", "0.90", False),
        ("month", "10", "0", "0", "10", True),
        ("month of profile prod", "2.50", "0", "0", "2.50", True),
    ]
    assert not (home / "journal.db").exists()
    other = priced_client(home, {"month": "10"}, clock=clock)
    ended(other, other.create_job(ROWS, again=True), "0.40")
    prod = {"prod": {"budget": {"month": "2.50"}}}
    client = priced_client(home, {"month": "10"}, profile="prod", profiles=prod, clock=clock)
    client.create_job(ROWS, again=True)
    assert lines_of(client.plan(ROWS)) == [
        ("month", "10", "0.40", "1", "8.60", True),
        ("month of profile prod", "2.50", "0", "1", "1.50", True),
    ]
    client.create_job(ROWS, again=True)
    assert lines_of(client.plan(ROWS))[1] == (
        "month of profile prod",
        "2.50",
        "0",
        "2",
        "0.50",
        False,
    )


def test_a_job_that_fits_in_the_plan_is_sent(home, clock):
    client = priced_client(home, {"month": "3"}, clock=clock)
    fitted = 0
    while client.plan(ROWS).budget[0].fits:
        client.create_job(ROWS, again=True)
        fitted += 1
    assert fitted == 3


def test_a_deployment_is_spent_so_far_and_reserved_until_its_lease_ends(home, clock):
    client, now = priced_client(home, {"month": "100"}, clock=clock), clock.now()
    end = now + dt.timedelta(hours=4)
    Leases(client.journal).add(Lease("lease_1", "fake", "m", now, end, usd_per_hour=Decimal(6)))
    clock.advance(3600)
    [line] = client.plan(ROWS).budget
    assert (line.spent, line.reserved, line.left) == (6, 18, 76)


def test_an_unknown_cost_fits_no_budget(home, clock):
    client = priced_client(home, {"month": "100"}, clock=clock, price=None)
    assert [one.fits for one in client.plan(ROWS).budget] == [False]
    priced_client(home, None, clock=clock, price=None).create_job(ROWS)
    [line] = priced_client(home, {"month": "100"}, clock=clock).plan(ROWS).budget
    assert (line.unknown, line.fits) == (1, False)


def test_no_budget_lines_without_a_budget_or_for_free_jobs(home, clock, rows):
    assert priced_client(home, clock=clock).plan(ROWS).budget == ()
    free = priced_client(home, {"month": "1"}, clock=clock, price=Decimal(0))
    assert free.plan(ROWS).budget == ()
