"""A provider's quote is reserved instead of the estimate, checked again, and both are shown."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from ftsdk.backends.base import Context
from ftsdk.errors import BudgetError
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
        client.create_job(ROWS)
    assert backend.sent == 1


def test_a_lower_quote_leaves_more_for_others(home):
    client, backend = quoting(home, {"month": "2"}, quoted="0.40")
    for _ in range(3):
        client.create_job(ROWS)
    with pytest.raises(BudgetError):
        client.create_job(ROWS)  # 1.20 is reserved, and the estimate is up to 1.00
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
