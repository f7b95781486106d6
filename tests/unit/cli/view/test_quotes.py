"""An estimate, a quote and their difference, as `create`, `show` and `costs` print them."""

from __future__ import annotations

import csv
import io

import pytest

from tests.faults.priced import PricedBackend
from tests.unit.jobs.test_quotes import QuotingBackend


@pytest.fixture
def on_the_line(monkeypatch):
    monkeypatch.setattr("ftsdk.session.load_backend", lambda _: QuotingBackend)


def test_create_show_and_costs_print_estimate_and_quote(cli, data, on_the_line):
    out = cli.ok("create", data, "--max-cost", "2", "--yes", "-d").out
    assert "estimated $0.50 – 1.00 · quoted $1.25, $0.25 above" in out
    assert "estimated $0.50 – 1.00 · quoted $1.25, $0.25 above" in cli.ok("show").out
    document = cli.ok("show", "--json").json["figures"]
    assert (document["quoted"], document["quote_off"], document["estimate"]) == (
        "1.25",
        "0.25",
        ["0.5", "1"],
    )
    out = cli.ok("costs").out
    assert out.split("\n")[0].split() == [
        "day",
        "entries",
        "estimate",
        "quoted",
        "billed",
        "in",
        "budget",
    ]
    assert "$1.25" in out
    rows = list(csv.DictReader(io.StringIO(cli.ok("costs", "--csv", "-").out)))
    assert (rows[0]["estimate_high_usd"], rows[0]["quoted_usd"]) == ("1", "1.25")


def test_costs_without_quotes_has_no_column_for_them(cli, data, monkeypatch):
    monkeypatch.setattr("ftsdk.session.load_backend", lambda _: PricedBackend)
    cli.ok("create", data, "--yes", "-d")
    assert "quoted" not in cli.ok("costs").out
    assert "quoted" not in cli.ok("show").out
