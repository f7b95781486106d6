"""Prices and dates through the client: comparisons, the ledger, the calendar, live dates."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal

import pytest

import ftsdk
from ftsdk.errors import BudgetError
from ftsdk.jobs.retirements import retirements
from ftsdk.planning.estimate import compare
from ftsdk.planning.token_bill import TokenCounts
from ftsdk.spending.ledger import ledger
from ftsdk.store.leases import Lease, Leases
from ftsdk.store.reservations import Reservations
from ftsdk.util.clock import ManualClock
from tests.faults.priced import ROWS, PricedBackend, priced_client

START = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)


# --- estimates ---------------------------------------------------------------------------------------


def test_the_public_estimate(client, rows):
    cost = client.estimate(rows(5), provider="together", model="Qwen/Qwen3.5-9B", epochs=3)
    assert cost.high == Decimal("4.000000")
    assert client.estimate(rows(5), provider="fake", model="m").high == 0
    assert client.estimate(rows(5), provider="together", model="nothing").basis == "unknown"


def test_without_a_tokenizer_tokens_are_a_range():
    train = ftsdk.Dataset.load(ROWS)
    low, high = TokenCounts(train).of("together", "no/such-model")
    assert 0 < low < high
    assert high / low < 2.5


def test_a_refusing_backend_is_listed_as_unsupported(home, rows):
    class Refusing(PricedBackend):
        capabilities = replace(PricedBackend.capabilities, methods=frozenset({"sft"}))

    client = priced_client(home)
    client.session.use_backend("fake", Refusing)
    found = compare(client.session, rows(5), places=["fake:m"], method="dpo")
    assert found.method == "dpo"
    assert found.options[0].unsupported == ("method 'dpo' (it has sft)",)
    assert not found.options[0].is_open


def test_profiles_are_compared(home, rows):
    client = priced_client(home, profiles={"x": {"provider": "together", "model": "gpt-oss-20b"}})
    found = compare(client.session, rows(5), epochs=1)
    assert ("together", "gpt-oss-20b") in {(o.provider, o.model) for o in found.options}


def test_own_prices_are_used(home, rows, client):
    home.mkdir(parents=True, exist_ok=True)
    (home / "prices.toml").write_text(
        "as_of = 2026-01-01\n[providers.together]\nminimum = { usd = 0.25 }\n"
    )
    cost = client.estimate(rows(5), provider="together", model="Qwen3.5-9B", epochs=1)
    assert cost.high == Decimal("0.250000")


# --- the ledger ----------------------------------------------------------------------------------------


def test_the_ledger_has_jobs_and_deployments(home):
    clock = ManualClock(START)
    client = priced_client(home, clock=clock)
    job = client.create_job(ROWS, tags={"team": "cx"}, name="a")
    Leases(client.journal).add(
        Lease("lease_1", "fake", "m", START, START + dt.timedelta(hours=2), usd_per_hour=Decimal(6))
    )
    lines = {line.kind: line for line in ledger(client.session)}
    assert lines["training"].high == 1
    assert lines["training"].counted == 1
    assert lines["training"].actual is None
    assert lines["training"].tags == {"team": "cx"}
    assert lines["hosting"].counted == 12
    Reservations(client.journal).settle(job.id, Decimal("0.75"), "their page")
    assert next(x for x in ledger(client.session) if x.id == job.id).actual == Decimal("0.75")
    assert ledger(client.session, since=dt.date(2026, 11, 24)) == []
    assert len(ledger(client.session, until=dt.date(2026, 11, 23))) == 2


def test_a_job_that_was_never_sent_cost_nothing(home):
    client = priced_client(home)
    with pytest.raises(Exception, match="refuses"):
        client.create_job(ROWS, provider_options={"submit": "refused"})
    line = ledger(client.session)[0]
    assert (line.actual, line.counted, line.why) == (0, 0, "never sent")


def test_the_hourly_price_comes_from_the_backend(home):
    class Hourly(PricedBackend):
        def training_usd_per_hour(self, spec):
            return Decimal("28.08")

    client = priced_client(home, {"job": "50"})
    client.session.use_backend("fake", Hourly)
    job = client.create_job(ROWS, max_cost="7")
    reservation = Reservations(client.journal).get(job.id)
    assert (reservation.usd_per_hour, reservation.cap) == (Decimal("28.08"), Decimal(7))


# --- the calendar --------------------------------------------------------------------------------------


class ReportingBackend(PricedBackend):
    """A provider that reports when models end, and lists the account's own."""

    capabilities = replace(PricedBackend.capabilities, lists_models=True, reports_model_ends=True)

    def model_ends(self):
        return {"m": dt.date(2026, 12, 24)}

    def account_models(self):
        return {"ft:m:org::x": "m"}


def test_end_dates_are_requested_only_with_live(home):
    client = priced_client(home, clock=ManualClock(START))
    client.session.use_backend("fake", ReportingBackend)
    client.create_job(ROWS)
    assert retirements(client.session).exit_code == 0
    found = retirements(client.session, live=True)
    assert found.exit_code == 7
    assert {(r.kind, r.name, r.retires_on) for r in found.rows if r.kind == "base"} == {
        ("base", "m", dt.date(2026, 12, 24))
    }
    assert "ft:m:org::x" in {row.name for row in found.rows}
    assert found.rows[0].source == "fake, asked now"


def test_an_account_of_too_many_jobs_is_named(home, monkeypatch):
    monkeypatch.setattr("ftsdk.jobs.retirements._LISTED", 2)
    client = priced_client(home, clock=ManualClock(START))
    for count in (3, 4):
        client.create_job(ROWS[:count])
    assert retirements(client.session, live=True).not_asked == ()
    client.create_job(ROWS)
    assert retirements(client.session, live=True).not_asked == (
        "fake: for the jobs before its newest 2",
    )
    client.session.use_backend("fake", ReportingBackend)
    assert retirements(client.session, live=True).not_asked == ()  # it lists its models whole


def test_openai_reports_its_end_dates(tmp_path):
    pytest.importorskip("openai")
    from ftsdk.testing.lab.openai.double import OpenAIDouble

    clock = ManualClock(START)
    with OpenAIDouble(clock=clock) as double:
        client = ftsdk.Client(home=tmp_path, clock=clock, env=double.variables())
        job = client.create_job(ROWS * 3, provider="openai", model="gpt-4.1-mini-2025-04-14")
        clock.advance(24 * 3600)
        job.refresh()
        with ftsdk.Client(home=tmp_path / "other", clock=clock, env=double.variables()) as other:
            other.create_job(ROWS * 4, provider="openai", model="gpt-4.1-mini-2025-04-14")
            clock.advance(24 * 3600)
            elsewhere = retirements(other.session, live=True)
        found = retirements(client.session, live=True)
        client.close()
        with ftsdk.Client(home=tmp_path / "new", clock=clock, env=double.variables()) as empty:
            account = retirements(empty.session, live=True)
    for one in (found, elsewhere):  # its own job by its name, the other's by the account's list
        tunes = [row for row in one.rows if row.kind == "fine-tune"]
        assert {row.source for row in tunes} == {"openai at 127.0.0.1, asked now"}
        assert {row.retires_on for row in tunes} == {dt.date(2027, 1, 14)}
        assert sorted(row.name.partition("_")[0].partition(":")[0] for row in tunes) == [
            "ft",
            "ftj",
        ]
    assert [row.name[:3] for row in account.rows if row.kind == "fine-tune"] == ["ft:", "ft:"]


def test_spending_is_forbidden_at_the_lab_as_well(tmp_path):
    pytest.importorskip("openai")
    from ftsdk.testing.lab.openai.double import OpenAIDouble

    clock = ManualClock(START)
    with OpenAIDouble(clock=clock) as double:
        client = ftsdk.Client(home=tmp_path, clock=clock, env=double.variables())
        with ftsdk.forbid_spending(), pytest.raises(BudgetError):
            client.create_job(ROWS * 3, provider="openai", model="gpt-4.1-mini-2025-04-14")
        assert double.jobs == {}
        client.close()
