"""End dates that a provider reported are stored and override the shipped ones."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace

import pytest

from ftsdk.catalogue.load import load_catalogue, shipped
from ftsdk.catalogue.provider_dates import store_reported_dates
from ftsdk.catalogue.retirement import closed_reason, retirement_dates
from ftsdk.errors import ConfigError, ProviderClosed
from ftsdk.jobs.retirements import retirements
from ftsdk.util.clock import ManualClock
from tests.faults.priced import ROWS, PricedBackend, priced_client

MINI = "gpt-4.1-mini-2025-04-14"
TODAY = dt.date(2026, 11, 25)
LATER = dt.date(2027, 6, 1)


def test_a_reported_date_overrides_the_shipped_one(home):
    store_reported_dates(home, "openai", {MINI: LATER, "gpt-9": LATER}, TODAY)
    book = load_catalogue(home)
    life = retirement_dates("openai", MINI, catalogue=book)
    assert (life.ends_on, life.as_of) == (LATER, TODAY)
    assert "as reported by the provider" in life.source
    assert retirement_dates("openai", "gpt-4.1-2025-04-14", catalogue=book).ends_on == dt.date(
        2027, 1, 14
    )
    assert set(book.providers["openai"].models) == set(shipped().providers["openai"].models)


def test_a_newer_shipped_date_and_own_figures_take_precedence(home):
    store_reported_dates(home, "openai", {MINI: LATER}, dt.date(2026, 1, 1))
    assert load_catalogue(home).providers["openai"].models[MINI].ends_on.day == dt.date(2027, 1, 14)
    store_reported_dates(home, "openai", {MINI: LATER}, TODAY)
    own = dt.date(2026, 12, 1)
    (home / "prices.toml").write_text(
        f'as_of = 2026-11-25\n[providers.openai.models."{MINI}"]\nends_on = {{ day = {own} }}\n'
    )
    assert load_catalogue(home).providers["openai"].models[MINI].ends_on.day == own


def test_each_provider_has_its_own_dates_and_a_new_report_replaces_the_old(home):
    store_reported_dates(home, "openai", {MINI: LATER}, TODAY)
    store_reported_dates(home, "azure", {"gpt-4.1-2025-04-14": LATER}, TODAY)
    store_reported_dates(home, "openai", {MINI: TODAY}, TODAY)
    book = load_catalogue(home)
    assert book.providers["azure"].models["gpt-4.1-2025-04-14"].ends_on.day == LATER
    assert closed_reason("openai", MINI, TODAY, catalogue=book) is not None


@pytest.mark.parametrize("text", ["{", "[]", '{"openai": {"ends": 3}}', '{"openai": 1}'])
def test_an_invalid_dates_file_is_refused(home, text):
    home.mkdir()
    (home / "ends.json").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_catalogue(home)
    assert "ends.json" in caught.value.where


def test_live_dates_are_stored_and_used_by_plans(home):
    class ReportingBackend(PricedBackend):
        capabilities = replace(
            PricedBackend.capabilities, key_variables=("FAKE_KEY",), reports_model_ends=True
        )
        dated_as = "openai"  # type: ignore[assignment]  # it plays OpenAI's own address

        def model_ends(self):
            return {MINI: TODAY - dt.timedelta(days=1)}

    clock = ManualClock(dt.datetime(2026, 11, 25, tzinfo=dt.UTC))
    client = priced_client(home, clock=clock)
    client.session.use_backend("fake", ReportingBackend)
    client.session.env = {"FAKE_KEY": "x"}
    client.create_job(ROWS, model=MINI)
    assert not (home / "ends.json").exists()
    retirements(client.session, live=True)
    assert json.loads((home / "ends.json").read_bytes())["openai"]["asked_on"] == "2026-11-25"
    with pytest.raises(ProviderClosed, match="ended at OpenAI on 2026-11-24"):
        client.plan(ROWS, model=MINI)
    assert retirements(client.session).exit_code == 7
