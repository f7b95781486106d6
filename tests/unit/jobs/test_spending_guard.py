"""The guard of caps and leases: each bound from both sides, each text, each pause between checks."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ftsdk.errors import ConfigError, JournalLocked, Unavailable
from ftsdk.jobs import spending_guard
from ftsdk.jobs.job import FineTuneJob
from ftsdk.jobs.spending_guard import Notice, SpendingGuard, enforce, over_cap, running_cost_notices
from ftsdk.store.accounting import Reservation
from ftsdk.store.leases import Lease, Leases
from ftsdk.store.reservations import Reservations, reservation_hook
from ftsdk.types.cost import Cost
from ftsdk.types.status import JobStatus
from ftsdk.util.clock import ManualClock
from tests.faults.priced import ROWS, priced_client

HOUR = dt.timedelta(hours=1)
Make = Callable[..., tuple[Any, FineTuneJob, ManualClock]]


@pytest.fixture
def make(home: Path) -> Make:
    """Return a function that makes a running job with a cap and a price by the hour."""

    def made(
        cap: str | None = "10", rate: str | None = "10", budget: Any = None, profile: Any = None
    ) -> Any:
        clock = ManualClock()
        client = priced_client(home, budget, clock=clock, profile=profile, profiles={"p": {}})
        timeline = [["running", 0], ["succeeded", 10**7]]
        job = client.create_job(ROWS, provider_options={"timeline": timeline})
        reserved = Reservations(client.journal).get(job.id)
        assert reserved is not None
        usd = [None if value is None else Decimal(value) for value in (rate, cap)]
        with client.journal.write() as cursor:
            cursor.execute("DELETE FROM reservations WHERE job_id = ?", (job.id,))
            again = Reservation(job.id, reserved.month, None, reserved.cost, *usd)
            reservation_hook(again, ())(cursor, job.snapshot)
        job.refresh()
        return client, job, clock

    return made


def kinds(notices: list[Notice]) -> list[str]:
    return [notice.kind for notice in notices]


# --- caps ---


@pytest.mark.parametrize(
    ("minutes", "warn_at", "kind", "text"),
    [
        (47.9, None, None, ""),
        (48, None, "near_cap", "has cost about $8.00; it is cancelled at $10.00, in 12 min"),
        (29.9, 0.5, None, ""),
        (30, 0.5, "near_cap", "has cost about $5.00; it is cancelled at $10.00, in 30 min"),
        (59.9, None, "near_cap", "has cost about $9.98; it is cancelled at $10.00, in 0 min"),
        (60, None, "stopped", "has cost about $10.00 and its cap is $10.00: cancelled"),
        (61, None, "stopped", "has cost about $10.17 and its cap is $10.00: cancelled"),
    ],
)
def test_a_job_is_warned_about_at_a_share_of_its_cap_and_cancelled_at_it(
    make: Make, minutes: float, warn_at: float | None, kind: str | None, text: str
) -> None:
    client, job, clock = make(budget=None if warn_at is None else {"warn_at": warn_at})
    clock.advance(minutes * 60)
    notices = enforce(client.session)
    assert kinds(notices) == ([] if kind is None else [kind])
    assert all(text in notice.text and notice.job_id == job.id for notice in notices)
    ended = JobStatus.CANCELLED if kind == "stopped" else JobStatus.RUNNING
    assert client.get_job(job.id).status is ended


@pytest.mark.parametrize(
    ("cap", "rate", "minutes", "over"),
    [
        ("10", "10", 59.9, False),
        ("10", "10", 60, True),
        (None, "10", 600, False),
        ("10", None, 600, False),
    ],
)
def test_a_running_job_over_its_cap_is_reported_without_being_asked_to_end(
    make: Make, cap: str | None, rate: str | None, minutes: float, over: bool
) -> None:
    client, job, clock = make(cap, rate)
    clock.advance(minutes * 60)
    said = over_cap(client.session, job.snapshot)
    assert (said is not None) == over
    assert (
        said is None or "has cost about $10.00 and its cap is $10.00; refreshing does not" in said
    )
    assert client.get_job(job.id).status is JobStatus.RUNNING
    queued = job.snapshot.model_copy(update={"status": JobStatus.QUEUED})
    assert over_cap(client.session, queued) is None


def test_a_job_without_a_reservation_has_no_cap(make: Make) -> None:
    client, job, clock = make()
    clock.advance(7200)
    with client.journal.write() as cursor:
        cursor.execute("DELETE FROM reservations")
    assert over_cap(client.session, job.snapshot) is None
    assert enforce(client.session) == []


@pytest.mark.parametrize(
    ("basis", "usd", "minutes", "spent"),
    [
        ("billed", "9", 6, "9.00"),  # the bill so far is higher
        ("billed", "1", 54, "9.00"),  # the hours are higher
        ("estimated", "50", 54, "9.00"),  # no bill
    ],
)
def test_the_higher_of_bill_and_hours_counts(
    make: Make, basis: str, usd: str, minutes: float, spent: str
) -> None:
    client, _, clock = make()
    backend = client.backend("fake")
    real, cost = backend.get, Cost(basis=basis, low=Decimal(usd), high=Decimal(usd))
    backend.get = lambda one: real(one).model_copy(update={"cost": cost})
    clock.advance(minutes * 60)
    (notice,) = enforce(client.session)
    assert f"has cost about ${spent};" in notice.text


def test_only_the_own_profile_and_what_is_watched_is_checked(make: Make) -> None:
    client, job, clock = make(profile="p")
    with client.journal.write() as cursor:
        cursor.execute("UPDATE reservations SET profile = 'other'")
    client.journal.change(job.id, now=clock.now(), why="t", profile="other")
    clock.advance(3600)
    assert enforce(client.session, own_profile=True) == []
    assert kinds(enforce(client.session, own_profile=True, watched=[job.id])) == ["stopped"]


# --- leases ---


def lease(client: Any, *, rate: str | None = "6", minutes: float = 60, **more: Any) -> Lease:
    now = client.session.clock.now()
    made = Lease(
        id="l1", provider="fake", model="m", started_at=now, job_id=None,
        ends_at=now + dt.timedelta(minutes=minutes),
        usd_per_hour=None if rate is None else Decimal(rate), **more,
    )  # fmt: skip
    Leases(client.journal).add(made)
    return made


@pytest.mark.parametrize(
    ("rate", "minutes", "texts"),
    [
        ("6", 60, ["m at fake costs $6.00 an hour; 1 h 00 min left"]),
        ("6", 59, ["m at fake costs $6.00 an hour; 59 min left"]),
        ("6", 59.99, ["m at fake costs $6.00 an hour; 59 min left"]),
        ("6", 125, ["m at fake costs $6.00 an hour; 2 h 05 min left"]),
        ("6", 0.5, ["m at fake costs $6.00 an hour; 0 min left"]),
        ("6", 0, []),  # it is over
        ("0", 60, []),  # it is free
        (None, 60, ["m at fake costs money; 1 h 00 min left"]),
    ],
)
def test_an_open_deployment_is_reported_with_its_price_and_time(
    make: Make, rate: str | None, minutes: float, texts: list[str]
) -> None:
    client, _, _ = make()
    lease(client, rate=rate, minutes=minutes)
    doubt = " (requested; it may not be running)"
    assert [n.text for n in running_cost_notices(client.session)] == [t + doubt for t in texts]
    Leases(client.journal).mark_open("l1", "d1")
    assert [n.text for n in running_cost_notices(client.session)] == texts


def test_the_deployments_of_another_profile_are_not_reported_as_ones_own(make: Make) -> None:
    client, _, _ = make(profile="p")
    lease(client, profile="other")
    assert len(running_cost_notices(client.session)) == 1
    assert running_cost_notices(client.session, own_profile=True) == []


# --- the guard ---


def test_the_guard_checks_every_30_seconds(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    client, job, clock = make()
    checks: list[Any] = []
    found = [Notice("costs", "c"), Notice("near_cap", "n", job.id)]
    monkeypatch.setattr(
        spending_guard, "enforce", lambda session, **how: checks.append(how) or found
    )
    guard = SpendingGuard(client.session, [job.id])
    assert kinds(guard.check()) == ["near_cap"]
    clock.advance(29.9)
    assert guard.check() == []
    clock.advance(0.1)
    assert kinds(guard.check()) == ["near_cap"]
    assert checks == [{"own_profile": True, "watched": [job.id]}] * 2


def test_trouble_is_reported_once_until_it_changes(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, _, clock = make()
    trouble: list[Exception | None] = [
        JournalLocked("busy"), ConfigError("no file"), ConfigError("no file"), ConfigError("bad"),
        None, ConfigError("bad"),
    ]  # fmt: skip

    def check(*_: Any, **__: Any) -> list[Notice]:
        error = trouble.pop(0)
        if error is not None:
            raise error
        return []

    monkeypatch.setattr(spending_guard, "enforce", check)
    guard = SpendingGuard(client.session)
    said = []
    for _ in range(6):
        said.append([(n.kind, n.text) for n in guard.check()])
        clock.advance(30)
    text = "Deployments and caps could not be checked and may COST MONEY: "
    assert said == [
        [], [("not_ended", text + "no file")], [], [("not_ended", text + "bad")],
        [], [("not_ended", text + "bad")],
    ]  # fmt: skip


def test_notices_become_warnings_of_a_job(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    client, job, clock = make()
    found = [
        Notice("ended", "e", None, "l1"),
        Notice("near_cap", "n", job.id),
        Notice("stopped", "s"),
    ]
    monkeypatch.setattr(spending_guard, "enforce", lambda *_, **__: found)
    events = SpendingGuard(client.session).events(7)
    stamp = f"{clock.now():%H%M%S}"
    assert [(e.id, e.seq, e.kind, e.message) for e in events] == [
        (f"ended-l1-{stamp}", 7, "warning", "e"),
        (f"near_cap-{job.id}-{stamp}", 7, "warning", "n"),
        (f"stopped-all-{stamp}", 7, "warning", "s"),
    ]


def test_a_job_that_cannot_be_refreshed_is_checked_as_it_was(make: Make) -> None:
    client, job, clock = make()
    backend = client.backend("fake")

    def away(_: str) -> Any:
        raise Unavailable("no connection", retryable=True)

    backend.get = away
    clock.advance(48 * 60)
    assert kinds(enforce(client.session)) == ["near_cap"]
    clock.advance(12 * 60)
    (notice,) = enforce(client.session)
    assert notice.kind in ("not_ended", "stopped")
    assert job.id in notice.text
