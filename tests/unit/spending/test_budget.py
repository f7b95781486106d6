"""Limits by job, profile and month; an unknown price fails closed; and `forbid_spending`."""

from __future__ import annotations

import datetime as dt
import threading
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from ftsdk.client import Client
from ftsdk.config import Config
from ftsdk.errors import (
    BudgetError,
    ConfigError,
    ProviderClosed,
    Unavailable,
    UnknownJob,
)
from ftsdk.jobs.submit import submit
from ftsdk.planning.prepare import prepare
from ftsdk.spending.budget import Budget, budget_of
from ftsdk.spending.switch import forbid_spending, require_spending
from ftsdk.store.accounting import Reservation, charge_for, month_of
from ftsdk.store.journal import Journal
from ftsdk.store.reservations import Reservations
from ftsdk.types.cost import Cost
from ftsdk.types.status import JobStatus
from ftsdk.util.clock import ManualClock
from tests.faults.priced import ROWS, PricedBackend, priced_client

NOW = dt.datetime(2026, 11, 25, tzinfo=dt.UTC)


def config(data, profile=None):
    return Config(path=Path("ftsdk.toml"), data=data, profile=profile)


# --- the table -------------------------------------------------------------------------------------


def test_no_table_is_no_limit():
    assert budget_of(config({})) == Budget(where="budget in ftsdk.toml")


def test_the_file_is_for_all_and_the_profile_on_top():
    data = {
        "budget": {"job": 25, "month": "200.00", "lease_hours": 1},
        "profiles": {"prod": {"budget": {"job": "10.5", "month": 100.5}}, "dev": {}},
    }
    prod = budget_of(config(data, "prod"))
    assert prod.job == Decimal("10.5")
    assert [(str(x), x.profile) for x in prod.limits] == [
        ("$200.00 a month", None),
        ("$100.50 a month of profile prod", "prod"),
    ]
    assert prod.lease == dt.timedelta(hours=1)
    dev = budget_of(config(data, "dev"))
    assert dev.job == Decimal(25)
    assert len(dev.limits) == 1


@pytest.mark.parametrize(
    "table",
    [
        {"months": 3},
        {"month": -1},
        {"month": True},
        {"month": "much"},
        {"month": "NaN"},
        {"month": "inf"},
        {"warn_at": 2},
        7,
    ],
)
def test_an_invalid_table_is_refused(table):
    with pytest.raises(ConfigError) as caught:
        budget_of(config({"budget": table}))
    assert "[budget] in ftsdk.toml" in caught.value.where


# --- before a job ------------------------------------------------------------------------------------


def test_a_job_over_its_limit_is_refused_and_leaves_nothing(home):
    client = priced_client(home, {"job": "0.99"})
    with pytest.raises(BudgetError) as caught:
        client.create_job(ROWS)
    assert caught.value.submitted == "no"
    assert caught.value.what == (
        "The job may cost $0.50 – 1.00, over the limit of $0.99 (the budget in ftsdk.toml)"
    )
    assert client.list_jobs() == []
    assert client.backend("fake").sent == 0


def test_the_month_is_counted_with_the_high_end(home, clock):
    client = priced_client(home, {"month": "2.50"}, clock=clock)
    client.create_job(ROWS, again=True)
    client.create_job(ROWS, again=True)
    with pytest.raises(BudgetError) as caught:
        client.create_job(ROWS, again=True)
    assert caught.value.what == "The job may cost $1.00, and $0.50 of $2.50 a month is left"
    assert "$2.00 is spent or reserved in 2026-01" in caught.value.where
    assert len(client.list_jobs()) == 2
    clock.advance(31 * 24 * 3600)  # a new month
    assert client.create_job(ROWS, again=True).status is JobStatus.QUEUED


def test_a_profile_has_its_own_month(home):
    profiles = {"prod": {"budget": {"month": "1"}}, "dev": {"budget": {"month": "3"}}}
    prod = priced_client(home, {"month": "4"}, profile="prod", profiles=profiles)
    dev = priced_client(home, {"month": "4"}, profile="dev", profiles=profiles)
    prod.create_job(ROWS, again=True)
    with pytest.raises(BudgetError, match="of profile prod"):
        prod.create_job(ROWS, again=True)
    for _ in range(3):
        dev.create_job(ROWS, again=True)
    with pytest.raises(BudgetError):
        dev.create_job(ROWS, again=True)
    assert Reservations(dev.journal).spent(dev.clock.now()) == (Decimal(4), 0)
    assert Reservations(dev.journal).spent(dev.clock.now(), "prod") == (Decimal(1), 0)


def test_a_bill_under_the_estimate_gives_room_again(home, clock):
    client = priced_client(home, {"month": "1.50"}, clock=clock)
    first = client.create_job(ROWS, again=True)
    with pytest.raises(BudgetError):
        client.create_job(ROWS, again=True)
    clock.advance(10)
    first.refresh()
    billed = Cost(basis="billed", low=Decimal("0.20"), high=Decimal("0.20"))
    client.journal.change(first.id, now=clock.now(), why="a bill", cost=billed)
    client.create_job(ROWS, again=True)
    assert Reservations(client.journal).spent(clock.now()) == (Decimal("1.20"), 0)


@pytest.fixture
def over_midnight(home, monkeypatch):
    """Return a client and a job that was not sent in November; December has room for one job."""
    clock = ManualClock(dt.datetime(2026, 11, 30, 23, 30, tzinfo=dt.UTC))
    client = priced_client(home, {"month": "1.50"}, clock=clock)
    backend = client.backend("fake")

    def away(request):
        raise Unavailable("no network", submitted="no", retryable=True)

    with monkeypatch.context() as patch:
        patch.setattr(backend, "submit", away)
        with pytest.raises(Unavailable) as caught:
            client.create_job(ROWS, key="k")
    clock.advance(3600)
    return client, caught.value.job_id


SENDS = [
    lambda client, _: client.create_job(ROWS, key="k"),
    lambda client, job: client.resolve(job, send_again=True),
]


@pytest.mark.parametrize("send", SENDS)
def test_a_job_that_is_sent_in_a_later_month_counts_there(over_midnight, send):
    client, job = over_midnight
    assert send(client, job).status is JobStatus.QUEUED
    assert Reservations(client.journal).spent(client.clock.now()) == (Decimal(1), 0)
    with pytest.raises(BudgetError):
        client.create_job([*ROWS, ROWS[0]])


@pytest.mark.parametrize("send", SENDS)
def test_the_month_of_sending_needs_room(over_midnight, send):
    client, job = over_midnight
    client.create_job([*ROWS, ROWS[0]])
    with pytest.raises(BudgetError, match="reserved in 2026-12") as caught:
        send(client, job)
    assert (caught.value.job_id, caught.value.submitted) == (job, "no")
    assert client.get_job(job).status is JobStatus.CREATED
    assert client.backend("fake").sent == 1


def test_an_unsent_job_counts_nothing(home):
    client = priced_client(home, {"month": "1"})
    with pytest.raises(Exception, match="refuses"):
        client.create_job(ROWS, provider_options={"submit": "refused"})
    assert Reservations(client.journal).spent(client.clock.now()) == (Decimal(0), 0)
    client.create_job(ROWS)


def test_a_job_in_doubt_counts_its_estimate(home, clock):
    client = priced_client(home, {"month": "1"}, clock=clock)
    with pytest.raises(Exception, match="no answer"):
        client.create_job(ROWS, provider_options={"submit": "lost_request"})
    doubt = client.list_jobs()[0]
    assert doubt.status is JobStatus.IN_DOUBT
    with pytest.raises(BudgetError):
        client.create_job(ROWS)
    client.resolve(doubt.id, give_up=True)
    with pytest.raises(BudgetError):  # given up is not known to be free
        client.create_job(ROWS)
    Reservations(client.journal).settle(doubt.id, Decimal(0), "not on their page")
    client.create_job(ROWS)


def test_the_same_key_reserves_once(home):
    client = priced_client(home, {"month": "1"})
    first = client.create_job(ROWS, key="k")
    assert client.create_job(ROWS, key="k").id == first.id
    assert Reservations(client.journal).spent(client.clock.now()) == (Decimal(1), 0)


@pytest.mark.parametrize("budget", [{"job": "5"}, {"month": "5"}])
def test_an_unknown_price_with_a_budget_fails_closed(home, budget):
    client = priced_client(home, budget, price=None)
    with pytest.raises(BudgetError, match="known"):
        client.create_job(ROWS)
    assert client.list_jobs() == []


def test_an_unknown_price_without_a_budget_breaks_no_job(home):
    assert priced_client(home, price=None).create_job(ROWS).status is JobStatus.QUEUED


def test_an_earlier_job_of_unknown_price_closes_the_month_until_it_is_settled(home):
    earlier = priced_client(home, price=None).create_job(ROWS)
    client = priced_client(home, {"month": "5"})
    with pytest.raises(BudgetError) as caught:
        client.create_job(ROWS, again=True)
    assert earlier.id in caught.value.where
    assert f"ftsdk costs --settle {earlier.id}" in caught.value.hint
    Reservations(client.journal).settle(earlier.id, Decimal("4.00"), "their page")
    client.create_job(ROWS, again=True)
    with pytest.raises(BudgetError):
        client.create_job(ROWS, again=True)


def test_a_free_job_needs_no_budget(home, rows):
    data = {"provider": "fake", "model": "m", "budget": {"month": 0, "job": 0}}
    client = Client(home=home, config=config(data), env={})
    client.create_job(rows(5))


def test_a_free_job_fits_an_overspent_or_unknown_month(home):
    job = priced_client(home, {"month": "1"}).create_job(ROWS)
    Reservations(priced_client(home).journal).settle(job.id, Decimal(9), "the bill")
    free = priced_client(home, {"month": "1"}, price=Decimal(0))
    assert free.create_job(ROWS).status is JobStatus.QUEUED
    priced_client(home, price=None).create_job(ROWS)
    assert free.create_job(ROWS).status is JobStatus.QUEUED


def test_settling_a_job_without_a_reservation(home):
    client = priced_client(home)
    with pytest.raises(UnknownJob):
        Reservations(client.journal).settle("ftj_" + "0" * 26, Decimal(1), "x")


def test_a_quote_replaces_the_estimate_unless_it_is_over(home):
    client = priced_client(home, {"month": "3"})
    job, money = client.create_job(ROWS), Reservations(client.journal)
    limits = budget_of(client.config).limits
    quote = Cost(basis="quoted", low=Decimal("2.5"), high=Decimal("2.5"), source="the provider")
    money.requote(job.id, quote, limits, lambda _: None)
    assert money.spent(client.clock.now()) == (Decimal("2.5"), 0)
    over = quote.model_copy(update={"high": Decimal("3.01")})
    with pytest.raises(BudgetError):
        money.requote(job.id, over, limits, lambda _: None)
    reservation = money.get(job.id)
    assert (reservation.usd, reservation.cost.high) == (Decimal("2.5"), Decimal(1))


def weighed(
    status, *, cost=None, sent=True, known=True, free=False, high="5", settled=None, sending=False
):
    from ftsdk.types.job import JobSnapshot

    job = JobSnapshot(
        id="ftj_x", provider="p", status=status, model="m", tag="t", client_token="c",
        fingerprint="f", created_at=NOW, updated_at=NOW, cost=cost or Cost(),
        submitted_at=NOW if sent else None, provider_job_id="x" if known else None,
    )  # fmt: skip
    amount = None if high is None else Decimal(high)
    reservation = Reservation(
        "ftj_x", "2026-11", None, Cost(basis="estimated", low=amount, high=amount),
        failed_is_free=free, settled=settled,
    )  # fmt: skip
    found = charge_for(job, reservation, being_sent=sending)
    return None if found.usd is None else str(found.usd), found.final


BILL = Cost(basis="billed", low=Decimal(2), high=Decimal(2))
DEAR = Cost(basis="billed", low=Decimal(9), high=Decimal(9))
QUOTE = Cost(basis="quoted", low=Decimal(4), high=Decimal(4))


@pytest.mark.parametrize(
    ("asked", "usd", "final"),
    [
        ({"status": JobStatus.CREATED, "sent": False, "known": False}, "0", False),
        (
            {"status": JobStatus.CREATED, "sent": False, "known": False, "sending": True},
            "5",
            False,
        ),
        ({"status": JobStatus.SUBMITTING, "known": False}, "5", False),
        ({"status": JobStatus.IN_DOUBT, "known": False}, "5", False),
        ({"status": JobStatus.RUNNING}, "5", False),
        ({"status": JobStatus.RUNNING, "cost": BILL}, "5", False),  # the bill still grows
        ({"status": JobStatus.RUNNING, "cost": DEAR}, "9", False),
        ({"status": JobStatus.UNKNOWN}, "5", False),
        ({"status": JobStatus.SUCCEEDED}, "5", True),
        ({"status": JobStatus.SUCCEEDED, "cost": BILL}, "2", True),
        ({"status": JobStatus.SUCCEEDED, "cost": DEAR}, "9", True),
        (
            {"status": JobStatus.SUCCEEDED, "cost": Cost(basis="estimated", low=1, high=1)},
            "5",
            True,
        ),
        ({"status": JobStatus.FAILED}, "5", True),
        ({"status": JobStatus.FAILED, "free": True}, "0", True),
        ({"status": JobStatus.FAILED, "free": True, "cost": BILL}, "2", True),
        ({"status": JobStatus.FAILED, "free": True, "cost": QUOTE}, "0", True),
        ({"status": JobStatus.SUCCEEDED, "cost": QUOTE}, "4", True),
        ({"status": JobStatus.FAILED, "free": True, "known": False}, "5", True),  # given up
        ({"status": JobStatus.CANCELLED, "free": True}, "5", True),
        ({"status": JobStatus.CANCELLED, "sent": False, "known": False}, "0", True),
        ({"status": JobStatus.RUNNING, "high": None}, None, False),
        ({"status": JobStatus.RUNNING, "high": None, "cost": BILL}, None, False),
        ({"status": JobStatus.SUCCEEDED, "high": None}, None, True),
        ({"status": JobStatus.RUNNING, "settled": Decimal(3), "high": None}, "3", True),
    ],
)
def test_charge_of_a_job(asked, usd, final):
    assert weighed(**asked) == (usd, final)


def test_running_hours_count_once_they_exceed_the_reservation(home, clock):
    client = priced_client(home, {"month": "5"}, clock=clock)
    job = client.create_job(ROWS, provider_options={"timeline": [["running", 0]]})
    with client.journal.write() as cursor:
        cursor.execute("UPDATE reservations SET usd_per_hour = '2'")
    now = clock.now()
    client.journal.change(
        job.id, now=now, why="test", status=JobStatus.RUNNING, started_at=clock.now()
    )
    money = Reservations(client.journal)
    assert money.month(now + dt.timedelta(minutes=10)).reserved == 1
    assert money.month(now + dt.timedelta(hours=2)).reserved == 4
    clock.advance(2.5 * 3600)
    with pytest.raises(BudgetError, match=r"\$0.00 of \$5.00"):
        client.create_job(ROWS)


def test_months_are_utc():
    assert month_of(dt.datetime(2026, 12, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=2)))) == (
        "2026-11"
    )


def test_a_journal_of_the_first_schema_is_migrated(home, monkeypatch):
    from ftsdk.store import journal as module

    with monkeypatch.context() as patch:
        patch.setattr(module, "MIGRATIONS", module.MIGRATIONS[:1])
        Journal(home).close()
    assert Reservations(Journal(home)).all() == []


class ResumingBackend(PricedBackend):
    """A paid provider that also resumes ended jobs."""

    capabilities = replace(PricedBackend.capabilities, resumes_ended=True)


def test_an_ended_job_resumes_only_if_the_month_has_room(home, clock):
    client = priced_client(home, {"month": "1.50"}, clock=clock)
    client.session.use_backend("fake", ResumingBackend)
    job = client.create_job(ROWS, provider_options={"timeline": [["running", 0], ["failed", 1]]})
    clock.advance(2)
    assert job.refresh().status is JobStatus.FAILED
    money = Reservations(client.journal)
    money.settle(job.id, Decimal("0.40"), "the bill")
    other = client.create_job([*ROWS, ROWS[0]])
    with pytest.raises(BudgetError):
        job.resume()
    assert money.spent(clock.now()) == (Decimal("1.40"), 0)
    assert client.backend("fake").sent == 2
    money.settle(other.id, Decimal("0.10"), "the bill")
    job.resume()
    assert money.spent(clock.now()) == (Decimal("1.10"), 0)  # what was settled may not be all


def test_two_programs_creating_the_same_job_create_one(home, clock):
    first, second = priced_client(home, clock=clock), priced_client(home, clock=clock)
    asked = [
        prepare(client.session, ROWS, {}) for client in (first, second)
    ]  # neither sees the other yet
    made = submit(first.session, asked[0])
    said = []
    assert submit(second.session, asked[1], say=said.append).id == made.id
    assert made.id in said[0]
    assert [job.id for job in second.list_jobs()] == [made.id]
    assert second.backend("fake").sent == 0
    submit(second.session, prepare(second.session, ROWS[1:], {}), say=said.append)  # another job
    assert len(said) == 1
    assert len(second.list_jobs()) == 2


# --- the switch --------------------------------------------------------------------------------------


def test_nothing_is_created_where_spending_is_forbidden(home):
    client = priced_client(home)
    with forbid_spending(), pytest.raises(BudgetError) as caught:
        client.create_job(ROWS)
    assert caught.value.submitted == "no"
    assert client.list_jobs() == []
    client.create_job(ROWS)


def test_cancel_goes_through_and_resume_and_sending_again_do_not(home, clock):
    client = priced_client(home, clock=clock)
    with pytest.raises(Exception, match="no answer"):
        client.create_job(ROWS, provider_options={"submit": "lost_request"})
    job = client.create_job(ROWS)
    doubt = client.list_jobs(status="in_doubt")[0]
    before = client.backend("fake").sent
    with forbid_spending():
        job.cancel()
        assert job.status is JobStatus.CANCELLED
        with pytest.raises(BudgetError):
            job.resume()
        with pytest.raises(BudgetError):
            client.resolve(doubt.id, send_again=True)
        assert client.get_job(doubt.id).status is JobStatus.IN_DOUBT
        client.resolve(doubt.id, give_up=True)
    assert client.backend("fake").sent == before


def test_the_switch_applies_to_other_threads_and_nests(home):
    client, seen = priced_client(home), []

    def create():
        try:
            client.create_job(ROWS)
        except BudgetError:
            seen.append("refused")

    with forbid_spending():
        with forbid_spending():
            pass
        thread = threading.Thread(target=create)
        thread.start()
        thread.join()
    assert seen == ["refused"]
    assert client.list_jobs() == []


def test_the_variable_forbids_as_well(home):
    with pytest.raises(BudgetError) as caught:
        priced_client(home, env={"FTSDK_FORBID_SPENDING": "1"}).create_job(ROWS)
    assert "FTSDK_FORBID_SPENDING" in caught.value.hint
    priced_client(home, env={"FTSDK_FORBID_SPENDING": "0"}).create_job(ROWS)


def test_free_jobs_are_still_allowed(client, rows):
    with forbid_spending():
        client.create_job(rows(5))
        require_spending("x", "local", free=True)


# --- dates ---------------------------------------------------------------------------------------------


def closed_catalogue(home, day):
    home.mkdir(parents=True, exist_ok=True)
    (home / "prices.toml").write_text(
        f"as_of = 2025-12-01\n[providers.fake]\nno_new_jobs_from = {{ day = {day} }}\n"
    )


def test_a_past_date_is_refused_before_anything(home, client, rows):
    closed_catalogue(home, "2025-12-31")
    with pytest.raises(ProviderClosed) as caught:
        client.create_job(rows(5))
    assert caught.value.submitted == "no"
    assert "takes no new jobs since 2025-12-31" in caught.value.what
    assert client.list_jobs() == []
    with pytest.raises(ProviderClosed):
        client.plan(rows(5))


def test_a_near_date_gives_a_warning(home, client, rows):
    closed_catalogue(home, "2026-02-01")
    assert client.plan(rows(5)).warnings == (
        "the rehearsal provider takes no new jobs from 2026-02-01, in 31 days; the last safe day is 2026-01-31",
    )
    client.create_job(rows(5))


def test_another_base_url_has_its_own_dates(home, rows):
    closed_catalogue(home, "2025-12-31")
    data = {"provider": "fake", "model": "m", "base_url": "http://127.0.0.1:1"}
    client = Client(home=home, clock=ManualClock(), config=config(data), env={})
    client.create_job(rows(5))
