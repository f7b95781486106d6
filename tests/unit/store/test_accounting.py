"""What a job counts for in a month, and the limits of a month: each rule, each bound."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ftsdk.errors import BudgetError
from ftsdk.store.accounting import (
    Charge,
    Month,
    Reservation,
    charge_for,
    month_bounds,
    month_of,
    months_of,
)
from ftsdk.store.job_rows import UnreadableJob
from ftsdk.store.journal import Journal
from ftsdk.store.leases import Lease, Leases, leases_in_month
from ftsdk.store.limits import Limit, check_lease, check_limits
from ftsdk.store.open_costs import profiles_with_costs
from ftsdk.store.reservations import Reservations, reservation_hook
from ftsdk.types.cost import Cost
from ftsdk.types.job import JobSnapshot

NOW = dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


def job(**more: Any) -> JobSnapshot:
    base = {
        "id": "ftj_1", "provider": "fake", "status": "running", "model": "m", "tag": "t",
        "client_token": "c", "fingerprint": "f", "spec": {}, "dataset": {}, "method": "sft",
        "created_at": NOW, "updated_at": NOW, "submitted_at": NOW, "provider_job_id": "p1",
    }  # fmt: skip
    return JobSnapshot.model_validate({**base, **more})


def cost(basis: str, usd: str | None) -> Cost:
    return Cost.model_validate({"basis": basis, "low": usd, "high": usd})


def reserved(usd: str | None = "10", **more: Any) -> Reservation:
    return Reservation("ftj_1", "2026-11", None, cost("estimated", usd), **more)


@pytest.mark.parametrize(
    ("first", "last", "months"),
    [
        ("2026-11-30T23:59:59+00:00", "2026-11-30T23:59:59+00:00", ["2026-11"]),
        ("2026-11-30T23:59:59+00:00", "2026-12-01T00:00:00+00:00", ["2026-11", "2026-12"]),
        ("2026-12-31T00:00:00+00:00", "2027-01-01T00:00:00+00:00", ["2026-12", "2027-01"]),
        ("2027-01-31T00:00:00+00:00", "2027-03-01T00:00:00+00:00", ["2027-01", "2027-02", "2027-03"]),
        ("2026-12-01T00:30:00+01:00", "2026-12-01T01:30:00+01:00", ["2026-11", "2026-12"]),
    ],
)  # fmt: skip
def test_the_months_of_a_time(first: str, last: str, months: list[str]) -> None:
    begin, end = (dt.datetime.fromisoformat(one) for one in (first, last))
    assert list(months_of(begin, end)) == months
    assert (month_of(begin), month_of(end)) == (months[0], months[-1])


@pytest.mark.parametrize(
    ("month", "days"),
    [("2026-02", 28), ("2028-02", 29), ("2026-11", 30), ("2026-12", 31), ("2027-01", 31)],
)
def test_the_bounds_of_a_month(month: str, days: int) -> None:
    first, after = month_bounds(month)
    assert (first.day, first.hour, first.tzinfo) == (1, 0, dt.UTC)
    assert after - first == dt.timedelta(days=days)
    assert month_of(first) == month
    assert month_of(after - dt.timedelta(microseconds=1)) == month


@pytest.mark.parametrize(
    ("snapshot", "reservation", "charge"),
    [
        # settled by a person: before everything else
        ({}, reserved(settled=Decimal(3)), (Decimal(3), True, "settled by hand", True)),
        (
            {"status": "succeeded", "cost": cost("billed", "9")},
            reserved(settled=Decimal(0), settled_why="refunded"),
            (Decimal(0), True, "refunded", True),
        ),
        # ended
        (
            {"status": "failed", "submitted_at": None, "provider_job_id": None},
            reserved(),
            (Decimal(0), True, "never sent", True),
        ),
        (
            {"status": "failed", "submitted_at": None, "provider_job_id": "p1"},
            reserved(),
            (Decimal(10), True, "as estimated; no bill is known", False),
        ),
        (
            {"status": "failed", "provider_job_id": None},
            reserved(failed_is_free=True),
            (Decimal(10), True, "as estimated; no bill is known", False),
        ),
        (
            {"status": "succeeded", "cost": cost("billed", "0")},
            reserved(),
            (Decimal(0), True, "billed", True),
        ),
        (
            {"status": "failed", "cost": cost("billed", "2")},
            reserved(failed_is_free=True),
            (Decimal(2), True, "billed", True),
        ),
        (
            {"status": "failed"},
            reserved(failed_is_free=True),
            (Decimal(0), True, "failed jobs are free here", True),
        ),
        ({"status": "failed"}, reserved(), (Decimal(10), True, "as estimated; no bill is known", False)),
        (
            {"status": "cancelled"},
            reserved(failed_is_free=True),
            (Decimal(10), True, "as estimated; no bill is known", False),
        ),
        (
            {"status": "succeeded", "cost": cost("quoted", "4")},
            reserved(),
            (Decimal(4), True, "quoted", False),
        ),
        (
            {"status": "succeeded", "cost": cost("estimated", "4")},
            reserved(quoted=Decimal(6)),
            (Decimal(6), True, "as quoted; no bill is known", False),
        ),
        ({"status": "succeeded"}, None, (None, True, "as estimated; no bill is known", False)),
        # running
        ({}, None, (None, False, "reserved", False)),
        ({}, reserved(None), (None, False, "reserved", False)),
        ({}, reserved(), (Decimal(10), False, "reserved", False)),
        ({}, reserved(quoted=Decimal(7)), (Decimal(7), False, "reserved, as quoted", False)),
        ({"cost": cost("billed", "10")}, reserved(), (Decimal(10), False, "reserved", False)),
        ({"cost": cost("billed", "10.01")}, reserved(), (Decimal("10.01"), False, "billed so far", False)),
        ({"cost": cost("quoted", "11")}, reserved(), (Decimal(11), False, "quoted so far", False)),
        ({"cost": cost("estimated", "11")}, reserved(), (Decimal(10), False, "reserved", False)),
    ],
)  # fmt: skip
def test_what_a_job_counts_for(
    snapshot: dict[str, Any], reservation: Reservation | None, charge: tuple[Any, ...]
) -> None:
    assert dataclasses.astuple(charge_for(job(**snapshot), reservation, NOW)) == charge


UNSENT = {"status": "created", "submitted_at": None, "provider_job_id": None}


def test_a_job_that_is_not_sent_counts_nothing_until_it_is_being_sent() -> None:
    unsent = charge_for(job(**UNSENT), reserved())
    assert dataclasses.astuple(unsent) == (Decimal(0), False, "not sent", False)
    assert charge_for(job(**UNSENT), reserved(), NOW, being_sent=True).usd == 10
    assert charge_for(job(status="in_doubt"), reserved()).usd == 10
    assert charge_for(job(status="submitting"), reserved()).usd == 10


def test_a_job_that_cannot_be_read_counts_what_is_reserved() -> None:
    unreadable = UnreadableJob("ftj_1", "fake", "running", NOW, "why", "hint")
    for reservation, usd in ((reserved(), 10), (reserved(quoted=Decimal(3)), 3), (None, None)):
        charge = charge_for(unreadable, reservation, NOW)
        assert (charge.usd, charge.final, charge.is_known) == (usd, False, False)
    settled = charge_for(unreadable, reserved(settled=Decimal(2)), NOW)
    assert (settled.usd, settled.final) == (2, True)


@pytest.mark.parametrize(
    ("cap", "rate", "more", "is_capped"),
    [
        ("5", "2", {}, True),
        (None, "2", {}, False),
        ("5", None, {}, False),
        ("5", "2", {"status": "succeeded"}, False),
        ("5", "2", {"status": "in_doubt", "provider_job_id": None}, False),
    ],
)
def test_jobs_with_a_cap_and_a_price_by_the_hour_are_watched(
    journal: Journal, cap: str | None, rate: str | None, more: dict[str, Any], is_capped: bool
) -> None:
    amounts = {"cap": cap, "usd_per_hour": rate}
    made = Reservation(
        "", "", None, cost("estimated", "9"),
        **{name: None if one is None else Decimal(one) for name, one in amounts.items()},
    )  # fmt: skip
    journal.add(job(**more), reservation_hook(made, ()))
    found = [(one.id, reservation.cap) for one, reservation in Reservations(journal).capped()]
    assert found == ([("ftj_1", Decimal(5))] if is_capped else [])
    assert profiles_with_costs(journal) == ([None] if is_capped else [])


@pytest.mark.parametrize(
    ("hours", "charge"),
    [
        (-1, (Decimal(10), False, "reserved", False)),
        (5, (Decimal(10), False, "reserved", False)),  # exactly what is reserved
        (5.5, (Decimal("11.000000"), False, "its hours so far", False)),
    ],
)
def test_a_job_by_the_hour_counts_its_hours_once_they_are_more(
    hours: float, charge: tuple[Any, ...]
) -> None:
    started = job(started_at=NOW - hours * HOUR)
    by_hour = reserved(usd_per_hour=Decimal(2))
    assert dataclasses.astuple(charge_for(started, by_hour, NOW)) == charge
    assert charge_for(started, by_hour).usd == 10  # without a time, no hours
    assert charge_for(job(), by_hour, NOW).usd == 10  # not started
    assert charge_for(started, reserved(), NOW).usd == 10  # not billed by the hour


def test_a_month_adds_each_charge_to_its_own_sum() -> None:
    total = Month()
    for charge in (
        Charge(Decimal(3), True, ""),
        Charge(Decimal(4), False, ""),
        Charge(None, True, ""),
        Charge(None, False, ""),
        Charge(Decimal("0.5"), True, ""),
    ):
        total = total.plus(charge)
    assert total == Month(Decimal("3.5"), Decimal(4), 2)


# --- the limits ---


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path / "home")
    yield made
    made.close()


def add(journal: Journal, number: int, usd: str | None, profile: str | None = None, **more: Any):
    made = Reservation("", "", profile, cost("estimated", usd))
    snapshot = job(
        id=f"ftj_{number}", tag=f"t{number}", client_token=f"c{number}",
        fingerprint=f"f{number}", provider_job_id=f"p{number}", **more,
    )  # fmt: skip
    journal.add(snapshot, reservation_hook(made, ()))


def lease(number: int, rate: str | None, start: dt.datetime, hours: float, profile=None) -> Lease:
    return Lease(
        id=f"l{number}", provider="fake", model="m", started_at=start, ends_at=start + hours * HOUR,
        state="open", job_id="ftj_1", profile=profile, deployment_id=None,
        usd_per_hour=None if rate is None else Decimal(rate),
    )  # fmt: skip


def refusal(journal: Journal, limit: Limit, amount: str | None, **more: Any) -> BudgetError | None:
    usd = None if amount is None else Decimal(amount)
    try:
        with journal.write() as cursor:
            check_limits(cursor, [limit], NOW, usd, "job", **more)
    except BudgetError as error:
        return error
    return None


def test_a_month_is_full_at_its_limit_and_not_before(journal: Journal) -> None:
    add(journal, 1, "7.50")
    limit = Limit(Decimal(10), "[budget]")
    assert refusal(journal, limit, "2.50") is None
    error = refusal(journal, limit, "2.51")
    assert error is not None
    assert error.submitted == "no"
    assert error.what == "The job may cost $2.51, and $2.50 of $10.00 a month is left"
    assert error.where == "[budget]; $7.50 is spent or reserved in 2026-11"
    over = refusal(journal, Limit(Decimal(5), "[budget]"), "0.01")
    assert over is not None
    assert "$0.00 of $5.00 a month is left" in over.what


def test_zero_always_fits_and_an_unknown_amount_never(journal: Journal) -> None:
    add(journal, 1, "7.50")
    limit = Limit(Decimal(5), "[budget]")
    assert refusal(journal, limit, "0") is None
    error = refusal(journal, limit, None)
    assert error is not None
    assert "the cost of this job is unknown" in error.what
    with journal.write() as cursor:
        check_limits(cursor, [], NOW, None, "job")  # no limit, nothing to exceed


def test_a_limit_counts_its_month_its_profile_and_not_the_job_itself(journal: Journal) -> None:
    add(journal, 1, "6", "prod")
    add(journal, 2, "3")
    add(journal, 3, "50", created_at=NOW - dt.timedelta(days=30), submitted_at=None)
    both, prod = Limit(Decimal(10), "w"), Limit(Decimal(10), "w", "prod")
    assert (str(both), str(prod)) == ("$10.00 a month", "$10.00 a month of profile prod")
    assert refusal(journal, both, "1") is None
    assert refusal(journal, both, "1.01") is not None
    assert refusal(journal, prod, "4") is None
    assert refusal(journal, prod, "4.01") is not None
    assert refusal(journal, both, "7", excluding="ftj_1") is None
    assert refusal(journal, both, "7.01", excluding="ftj_1") is not None
    assert refusal(journal, both, "10", month="2026-12") is None
    assert refusal(journal, both, "10.01", month="2026-12") is not None
    assert refusal(journal, Limit(Decimal(60), "w"), "10", month="2026-10") is None
    assert refusal(journal, Limit(Decimal(60), "w"), "10.01", month="2026-10") is not None


def test_an_unknown_job_or_deployment_closes_the_month(journal: Journal) -> None:
    limit = Limit(Decimal(100), "w")
    add(journal, 1, None)
    error = refusal(journal, limit, "1")
    assert error is not None
    assert (error.what, error.where) == (
        "The budget is $100.00 a month, and the cost of an earlier job is unknown",
        "w; job ftj_1",
    )
    assert refusal(journal, limit, "1", excluding="ftj_1") is None
    Reservations(journal).settle("ftj_1", Decimal(0), "free")
    assert refusal(journal, limit, "100") is None
    Leases(journal).add(lease(1, None, NOW, 1))
    error = refusal(journal, limit, "1")
    assert error is not None
    assert (error.what, error.where) == (
        "The budget is $100.00 a month, and the cost of a deployment is unknown",
        "w; fake, m",
    )


def test_a_lease_is_checked_in_each_of_its_months(journal: Journal) -> None:
    start = dt.datetime(2026, 11, 30, 22, tzinfo=dt.UTC)
    new = lease(1, "6", start, 4)  # $12 in November, $12 in December
    add(journal, 1, "5", created_at=NOW + dt.timedelta(days=10))

    def fits(usd: str, before: Lease | None = None) -> bool:
        try:
            with journal.write() as cursor:
                check_lease(cursor, [Limit(Decimal(usd), "w")], start, new, before)
        except BudgetError:
            return False
        return True

    assert fits("17")
    assert not fits("16.99")  # December
    shorter = lease(1, "6", start, 3)
    Leases(journal).add(shorter)
    assert fits("17", shorter)
    assert not fits("16.99", shorter)  # $6 more in December, $6 and $5 there already


def test_the_leases_of_a_month(journal: Journal) -> None:
    add(journal, 1, "1")
    leases = Leases(journal)
    leases.add(lease(1, "1", NOW, 1))
    leases.add(lease(2, "1", NOW - dt.timedelta(days=31), 1, "prod"))
    leases.add(lease(3, "1", NOW + dt.timedelta(days=1), 1))
    leases.mark_closed("l2", NOW - dt.timedelta(days=30), "over")  # both in October

    def of(month: str, profile: str | None = None) -> list[str]:
        with journal.write() as cursor:
            return sorted(one.id for one in leases_in_month(cursor, month, profile))

    assert of("2026-09") == []
    assert of("2026-10") == ["l2"]
    assert of("2026-11") == ["l1"]
    assert of("2026-12") == ["l1", "l3"]  # an open lease may go on
    assert profiles_with_costs(journal) == [None]  # that of "prod" is closed
    leases.add(lease(4, "1", NOW, 1, "prod"))
    assert profiles_with_costs(journal) == [None, "prod"]
    assert of("2026-10", "prod") == ["l2"]
    assert of("2026-10", "other") == []


def test_the_totals_of_a_month_with_leases(journal: Journal) -> None:
    add(journal, 1, "10")
    add(journal, 2, "4", "prod")
    leases = Leases(journal)
    leases.add(lease(1, "6", NOW - HOUR, 2, "prod"))
    reservations = Reservations(journal)
    assert reservations.month(NOW) == Month(Decimal("6.000000"), Decimal("20.000000"), 0)
    assert reservations.month(NOW, "prod") == Month(Decimal("6.000000"), Decimal("10.000000"), 0)
    assert reservations.month(NOW, "other") == Month()
    assert reservations.spent(NOW) == (Decimal("26.000000"), 0)
    leases.add(lease(2, None, NOW, 2))
    assert reservations.spent(NOW) == (Decimal("26.000000"), 1)


def test_an_open_lease_goes_on_after_its_end(journal: Journal) -> None:
    add(journal, 1, "10")
    leases, reservations = Leases(journal), Reservations(journal)
    leases.add(lease(1, "6", NOW - HOUR, 2, "prod"))
    december = Month(Decimal("4464.000000"), Decimal(0), 0)  # 31 days: an open lease goes on
    assert reservations.month(NOW + dt.timedelta(days=40)) != Month()
    assert reservations.month(dt.datetime(2027, 1, 1, tzinfo=dt.UTC)) == Month()
    leases.mark_closed("l1", dt.datetime(2027, 1, 1, tzinfo=dt.UTC), "over")
    assert reservations.month(dt.datetime(2026, 12, 31, tzinfo=dt.UTC)) == december


def test_a_lease_is_over_at_its_end() -> None:
    one = lease(1, "6", NOW, 2)
    assert not one.is_over(NOW + 2 * HOUR - dt.timedelta(microseconds=1))
    assert one.is_over(NOW + 2 * HOUR)
    assert not replace(one, state="closed").is_over(NOW + 3 * HOUR)
    assert replace(one, state="opening").is_over(NOW + 2 * HOUR)


@pytest.mark.parametrize(
    ("now", "closed", "cost", "charge"),
    [
        (-1, None, "0", "12"),
        (0, None, "0", "12"),
        (1, None, "6", "12"),
        (2, None, "12", "12"),
        (3, None, "18", "18"),
        (3, 1, "6", "6"),
    ],
)
def test_a_lease_costs_its_hours_and_counts_whole_while_it_is_open(
    now: float, closed: float | None, cost: str, charge: str
) -> None:
    one = lease(1, "6", NOW, 2)
    if closed is not None:
        one = replace(one, state="closed", closed_at=NOW + closed * HOUR)
    at = NOW + now * HOUR
    assert (one.cost(at), one.charge(at)) == (Decimal(cost), Decimal(charge))
    assert replace(one, usd_per_hour=None).cost(at) is None


def test_a_change_of_a_reservation_changes_that_one(journal: Journal) -> None:
    add(journal, 1, "10")
    add(journal, 2, "4")
    found = Reservations(journal)
    found.set_cap("ftj_1", Decimal("2.5"))
    found.settle("ftj_1", Decimal(3), "bill")
    asked: list[Reservation] = []
    quoted = found.requote(
        "ftj_1", Cost(basis="quoted", high=Decimal(8), source="API"), (), asked.append
    )
    first, second = found.get("ftj_1"), found.get("ftj_2")
    assert [quoted] == asked == [first]
    assert first is not None
    assert (first.cap, first.settled, first.settled_why) == (Decimal("2.5"), Decimal(3), "bill")
    assert (first.quoted, first.quoted_source, first.usd) == (Decimal(8), "API", Decimal(8))
    assert first.cost.high == Decimal(10)
    assert second == Reservation("ftj_2", "2026-11", None, cost("estimated", "4"))
    found.set_cap("ftj_1", None)
    again = found.get("ftj_1")
    assert again is not None
    assert again.cap is None
    assert found.get("ftj_9") is None
    assert found.requote("ftj_9", Cost(), (), asked.append) is None
    assert len(asked) == 1


def test_a_refused_quote_keeps_the_old_reservation(journal: Journal) -> None:
    add(journal, 1, "10")
    add(journal, 2, "4")
    found, limit = Reservations(journal), Limit(Decimal(14), "w")
    before = found.get("ftj_2")
    with pytest.raises(BudgetError):
        found.requote("ftj_2", Cost(high=Decimal("4.01")), [limit], lambda _: None)
    assert found.get("ftj_2") == before
    assert found.requote("ftj_2", Cost(high=Decimal(4)), [limit], lambda _: None)
    with pytest.raises(BudgetError, match="unknown"):
        found.requote("ftj_2", Cost(), [limit], lambda _: None)


def test_an_ended_job_is_reserved_again_in_the_month_of_its_resumption(journal: Journal) -> None:
    add(journal, 1, "10")
    found, later = Reservations(journal), NOW + dt.timedelta(days=1)
    found.settle("ftj_1", Decimal(3), "bill")
    with pytest.raises(BudgetError):
        found.reopen("ftj_1", later, [Limit(Decimal("9.99"), "w")])
    assert found.get("ftj_1").settled == 3
    found.reopen("ftj_1", later, [Limit(Decimal(10), "w")])
    reopened = found.get("ftj_1")
    assert (reopened.month, reopened.settled, reopened.settled_why) == ("2026-12", None, "")
    found.reopen("ftj_9", later, [Limit(Decimal(0), "w")])  # a job without a reservation


def test_an_accepted_job_stays_in_its_month(journal: Journal) -> None:
    add(journal, 1, "10")
    add(journal, 2, "4")
    found, later = Reservations(journal), NOW + dt.timedelta(days=1)
    with journal.write() as cursor:
        cursor.execute("UPDATE jobs SET provider_job_id = NULL WHERE id = 'ftj_2'")
    none_left = [Limit(Decimal("3.99"), "w")]
    found.carry_over("ftj_1", later, none_left, None)
    assert found.get("ftj_1").month == "2026-11"
    found.carry_over("ftj_2", NOW, none_left, None)  # it is there already
    with pytest.raises(BudgetError):
        found.carry_over("ftj_2", later, none_left, None)
    with pytest.raises(BudgetError):
        found.carry_over("ftj_2", NOW, [Limit(Decimal("3.99"), "w", "prod")], "prod")
    assert (found.get("ftj_2").month, found.get("ftj_2").profile) == ("2026-11", None)
    found.carry_over("ftj_2", NOW, [Limit(Decimal(4), "w", "prod")], "prod")
    assert (found.get("ftj_2").month, found.get("ftj_2").profile) == ("2026-11", "prod")
    found.carry_over("ftj_2", later, [Limit(Decimal(4), "w")], "prod")
    assert [found.get(f"ftj_{n}").month for n in (1, 2)] == ["2026-11", "2026-12"]
