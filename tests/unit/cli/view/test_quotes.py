"""An estimate, a quote and how far they lie apart, as `create`, `show` and `costs` tell them."""

from __future__ import annotations

import csv
import io

import pytest

from tests.faults.priced import PricedBackend
from tests.unit.jobs.test_quotes import QuotingBackend


@pytest.fixture
def on_the_line(monkeypatch):
    monkeypatch.setattr("ftsdk.client.load_backend", lambda _: QuotingBackend)


def test_create_show_and_costs_tell_both(cli, data, on_the_line):
    out = cli.ok("create", data, "--yes", "-d").out
    assert "estimated $0.50 – 1.00 · quoted $1.25, $0.25 above" in out
    assert "estimated $0.50 – 1.00 · quoted $1.25, $0.25 above" in cli.ok("show").out
    told = cli.ok("show", "--json").json["figures"]
    assert (told["quoted"], told["quote_off"], told["estimate"]) == ("1.25", "0.25", ["0.5", "1"])
    out = cli.ok("costs").out
    assert out.split("\n")[0].split() == ["day", "lines", "estimate", "quoted", "billed", "counts"]
    assert "$1.25" in out
    rows = list(csv.DictReader(io.StringIO(cli.ok("costs", "--csv", "-").out)))
    assert (rows[0]["estimate_high_usd"], rows[0]["quoted_usd"]) == ("1", "1.25")


def test_costs_without_quotes_has_no_column_for_them(cli, data, monkeypatch):
    monkeypatch.setattr("ftsdk.client.load_backend", lambda _: PricedBackend)
    cli.ok("create", data, "--yes", "-d")
    assert "quoted" not in cli.ok("costs").out
    assert "quoted" not in cli.ok("show").out
