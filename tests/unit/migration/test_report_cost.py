"""The costs of a report: the curve falls with traffic and jumps with each replica."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest

from ftsdk.catalogue.schema import Span
from ftsdk.catalogue.serving_cost import SECONDS, ServingPrice, Traffic
from ftsdk.errors import UsageError
from ftsdk.migration.migrate_options import PEAK, migration_options_of
from ftsdk.migration.report_cost import CostLine, cost_card, with_peak

TOKENS = Traffic(300_000, 400, 100)
BY_TOKEN = CostLine("old", ServingPrice(Decimal("0.8"), None, Decimal("3.2")), TOKENS, "old")
HOURLY = ServingPrice(per_hour=Span(low=Decimal(5), high=Decimal(5)), requests_per_s=2.0)
BY_HOUR = CostLine("new", HOURLY, TOKENS)


def test_a_price_by_the_token_is_the_same_at_any_traffic() -> None:
    assert BY_TOKEN.per_1000(1_000) == BY_TOKEN.per_1000(10_000_000) == 0.64


def test_a_price_by_the_hour_falls_and_jumps_where_a_replica_is_added() -> None:
    second = int(2.0 * SECONDS / PEAK)  # where the peak needs more than one replica
    before, after = BY_HOUR.per_1000(second - 10), BY_HOUR.per_1000(second + 10)
    assert before is not None
    assert after is not None
    assert after / before > 1.9
    assert (BY_HOUR.per_1000(second // 2) or 0) / before > 1.9


def test_the_peak_is_a_multiple_of_the_mean() -> None:
    assert with_peak(TOKENS, SECONDS).peak_per_s == PEAK


def test_the_card_has_a_curve_for_each_and_marks_your_traffic() -> None:
    card = cost_card(BY_TOKEN, [BY_HOUR], [], 300_000, assumed=True)
    assert len(re.findall("<polyline", card)) == 2
    assert "you: 300 k" in card
    assert "an assumption: --requests" in card
    assert "style=" not in card  # a strict policy forbids it
    assert cost_card(None, [], [], 300_000, assumed=False) == ""


def test_names_are_escaped() -> None:
    bad = CostLine("<script>", HOURLY, TOKENS)
    assert "<script>" not in cost_card(BY_TOKEN, [bad], [], 1_000, assumed=False)


def test_the_peak_of_the_user_decides_the_replicas() -> None:
    """A month of as many requests as it has seconds, and 10 at the busiest: replicas of 4 a second."""
    options = migration_options_of("openai", {"to": "together", "requests": SECONDS, "peak": 10.0})
    assert options.peak_factor == pytest.approx(10)
    price = ServingPrice(per_hour=Span(low=Decimal(2), high=Decimal(2)), requests_per_s=4.0)
    replicas = [
        price.month(with_peak(TOKENS, SECONDS * many, options.peak_factor)).replicas
        for many in (1, 2, 3)
    ]
    assert replicas == [3, 5, 8]
    line = CostLine("x", price, TOKENS, factor=options.peak_factor)
    assert line.per_1000(SECONDS) == pytest.approx(3 * 2 * 730 / SECONDS * 1000)
    assumed = migration_options_of("openai", {"to": "together", "requests": SECONDS})
    assert assumed.peak_factor == PEAK
    with pytest.raises(UsageError, match="0 requests a second"):
        migration_options_of("openai", {"to": "together", "peak": 0.0})
