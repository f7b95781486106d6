"""A provider's quote is reserved instead of the estimate, checked again, and both are shown."""

from __future__ import annotations

import contextlib
from decimal import Decimal
from pathlib import Path

import pytest

from ftsdk.backends.base import Context
from ftsdk.errors import BudgetError, Unavailable, UsageError
from ftsdk.jobs.submit import submit
from ftsdk.planning.prepare import prepare
from ftsdk.spending.ledger import line_of
from ftsdk.store.reservations import Reservations
from ftsdk.types.cost import Cost
from ftsdk.types.status import JobStatus
from tests.faults.priced import ROWS, PricedBackend, priced_client


class QuotingBackend(PricedBackend):
    """Estimated at $1 by the catalogue; the provider quotes `quoted` (None: no quote)."""

    quoted: Decimal | None = Decimal("1.25")

    def quote(self, request):
        amount = self.quoted
        basis = "unknown" if amount is None else "quoted"
        return Cost(basis=basis, low=amount, high=amount, source="asked the provider")


def quoting(home: Path, budget: dict | None = None, *, quoted: str | None = "1.25"):
    client = priced_client(home, budget)
    backend = QuotingBackend(Context(home=client.home, clock=client.clock))
    backend.quoted = None if quoted is None else Decimal(quoted)
    client.session.use_backend("fake", backend)
    return client, backend


def test_the_quote_is_reserved_and_the_estimate_is_kept(home):
    client, backend = quoting(home)
    job = client.create_job(ROWS)
    assert backend.sent == 1
    assert (job.cost.basis, job.cost.high) == ("quoted", Decimal("1.25"))
    assert "$0.25 above our estimate of $0.50 – 1.00" in job.cost.assumptions
    line = line_of(client.session, job.snapshot)
    assert (line.high, line.quoted, line.quote_off) == (
        Decimal(1),
        Decimal("1.25"),
        Decimal("0.25"),
    )
    assert (line.counted, line.why) == (Decimal("1.25"), "reserved, as quoted")


@pytest.mark.parametrize(
    ("budget", "given", "message"),
    [
        ({}, {"max_cost": "1.20"}, r"quotes \$1.25, over the limit of \$1.20"),
        ({"job": "1.20"}, {}, r"quotes \$1.25, over the limit of \$1.20"),
        ({"month": "1.20"}, {}, r"may cost \$1.25, and \$1.20 of \$1.20 a month is left"),
    ],
)
def test_a_quote_over_a_limit_sends_and_counts_nothing(home, budget, given, message):
    client, backend = quoting(home, budget)
    with pytest.raises(BudgetError, match=message) as caught:
        client.create_job(ROWS, **given)
    assert backend.sent == 0
    assert caught.value.submitted == "no"
    [job] = client.list_jobs()
    assert job.status is JobStatus.FAILED
    assert Reservations(client.journal).spent(client.clock.now()) == (Decimal(0), 0)


def test_the_month_is_checked_again_with_the_quote(home):
    client, backend = quoting(home, {"month": "3"}, quoted="2")
    client.create_job(ROWS)
    with pytest.raises(BudgetError, match=r"may cost \$2.00, and \$1.00 of \$3.00"):
        client.create_job(ROWS, again=True)
    assert backend.sent == 1


def test_a_lower_quote_leaves_more_for_others(home):
    client, backend = quoting(home, {"month": "2"}, quoted="0.40")
    for _ in range(3):
        client.create_job(ROWS, again=True)
    with pytest.raises(BudgetError):
        client.create_job(ROWS, again=True)  # 1.20 is reserved, and the estimate is up to 1.00
    assert backend.sent == 3


def test_no_quote_fails_closed_where_there_is_a_budget(home):
    client, backend = quoting(home, {"month": "30"}, quoted=None)
    with pytest.raises(BudgetError, match="gives no quote"):
        client.create_job(ROWS)
    assert backend.sent == 0
    free, other = quoting(home / "other", quoted=None)
    assert free.create_job(ROWS).cost.high == Decimal(1)
    assert other.sent == 1


def test_a_confirmation_is_for_the_amount_shown(home):
    client, backend = quoting(home)
    prepared = prepare(client.session, ROWS, {})
    with pytest.raises(
        BudgetError, match=r"over the limit of \$1.00 \(the confirmed amount\)"
    ) as caught:
        submit(client.session, prepared, agreed=Decimal(1))
    assert "--max-cost 1.25" in caught.value.hint
    assert backend.sent == 0
    submit(client.session, prepared, agreed=Decimal(2))
    assert backend.sent == 1


def test_the_bill_takes_precedence_over_the_quote(home):
    client, _ = quoting(home)
    job = client.create_job(ROWS)
    bill = Cost(basis="billed", low=Decimal("1.10"), high=Decimal("1.10"))
    client.journal.change(
        job.id, now=client.clock.now(), why="ended", status=JobStatus.SUCCEEDED, cost=bill
    )
    line = line_of(client.session, client.journal.get(job.id))
    assert (line.quoted, line.actual, line.counted) == (
        Decimal("1.25"),
        Decimal("1.10"),
        Decimal("1.10"),
    )


def test_a_journal_from_before_quotes_is_migrated(home):
    """A journal of the schema before quotes opens, and its reservations have none."""
    import sqlite3

    from ftsdk.store import migrations
    from ftsdk.store.journal import Journal

    before, kept = migrations.MIGRATIONS[:2], migrations.MIGRATIONS
    path = home / "journal.db"
    home.mkdir()
    with sqlite3.connect(path) as old:
        for number, statements in enumerate(before, 1):
            for statement in statements:
                old.execute(statement)
            old.execute(f"PRAGMA user_version={number}")
    old.close()
    assert len(kept) > 2
    assert Reservations(Journal(home)).all() == []
    client = priced_client(home)
    assert Reservations(client.journal).get(client.create_job(ROWS).id).quoted is None


# --- a new cap under the key of a job that was never sent ---------------------------------------


class Unreachable(QuotingBackend):
    """Quotes, and refuses the connection of the first create call."""

    def submit(self, request):
        if self.sent == 0:
            self.sent += 1
            raise Unavailable("connection refused", submitted="no", retryable=True)
        return super().submit(request)


def unsent_job(home: Path, **options):
    """A client whose job with the key `k1` is journaled and was never sent; quotes are $40 now."""
    client, _ = quoting(home)
    backend = Unreachable(Context(home=client.home, clock=client.clock))
    client.session.use_backend("fake", backend)
    with pytest.raises(Unavailable):
        client.create_job(ROWS, key="k1", **options)
    [job] = client.list_jobs()
    assert job.status is JobStatus.CREATED
    backend.quoted = Decimal(40)
    return client, backend, job


@pytest.mark.parametrize("before", [{}, {"max_cost": "100"}])
def test_a_new_cap_under_an_old_key_is_the_cap(home, before, caplog):
    client, backend, job = unsent_job(home, **before)
    with pytest.raises(BudgetError, match=r"quotes \$40.*over the limit of \$5.00 \(max_cost\)"):
        client.create_job(ROWS, key="k1", max_cost="5")
    assert backend.sent == 1, "only the call that was refused the connection"
    assert "its cap is now $5" in caplog.text
    assert Reservations(client.journal).get(job.id).cap == Decimal(5)


def test_the_budget_of_a_job_is_a_cap_under_an_old_key_too(home):
    client, backend, _ = unsent_job(home)
    with_budget = priced_client(home, {"job": "5"}, clock=client.clock)
    with_budget.session.use_backend("fake", backend)
    with pytest.raises(BudgetError, match=r"over the limit of \$5.00 \(the budget"):
        with_budget.create_job(ROWS, key="k1")
    assert backend.sent == 1


def test_a_higher_cap_under_an_old_key_lets_the_job_go(home):
    client, backend, job = unsent_job(home, max_cost="3")
    sent = client.create_job(ROWS, key="k1", max_cost="50")
    assert (sent.id, backend.sent) == (job.id, 2)
    assert sent.snapshot.spec["max_cost"] == "50"


def test_a_key_of_other_data_changes_nothing_of_the_old_job(home):
    client, _, job = unsent_job(home, max_cost="3")
    with pytest.raises(UsageError, match="already belongs to another job"):
        client.create_job(ROWS[1:], key="k1", max_cost="50")
    assert Reservations(client.journal).get(job.id).cap == Decimal(3)


def test_a_quote_over_the_cap_leaves_the_key_usable(home):
    client, backend = quoting(home)
    with pytest.raises(BudgetError):
        client.create_job(ROWS, key="kk", max_cost="1.10")
    sent = client.create_job(ROWS, key="kk", max_cost="10")
    assert (sent.status, backend.sent) == (JobStatus.QUEUED, 1)
    assert Reservations(client.journal).get(sent.id).cap == Decimal(10)


def test_a_confirmed_amount_is_the_cap_when_there_is_no_quote(home):
    client, backend = quoting(home, quoted=None)
    prepared = prepare(client.session, ROWS, {})
    with pytest.raises(BudgetError, match=r"Up to \$1.00 was confirmed.*gives no quote"):
        submit(client.session, prepared, agreed=Decimal(1))
    assert backend.sent == 0
    assert submit(client.session, prepared, agreed=Decimal(1), needs_quote=False).is_accepted


@pytest.mark.parametrize(("quoted", "sent"), [("1.00", 1), ("1.01", 0)])
def test_the_confirmed_amount_is_checked_at_its_bound(home, quoted, sent):
    client, backend = quoting(home, quoted=quoted)
    prepared = prepare(client.session, ROWS, {})
    with contextlib.suppress(BudgetError):
        submit(client.session, prepared, agreed=Decimal(1))
    assert backend.sent == sent
