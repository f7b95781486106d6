"""The cost of a month: tokens, replicas by the hour, break-even and pay-back, computed by hand."""

from __future__ import annotations

from decimal import Decimal

import pytest

from ftsdk.catalogue.schema import Span
from ftsdk.catalogue.serving_cost import (
    SECONDS,
    ServingPrice,
    Traffic,
    break_even,
    payback_days,
)
from ftsdk.errors import UsageError


def usd(text: str) -> Decimal:
    return Decimal(text)


def hourly(low: str, high: str | None = None) -> Span:
    return Span(low=usd(low), high=usd(high or low))


TUNED = Traffic(300_000, 38, 5)
LUNA = ServingPrice(usd("1"), None, usd("6"))
H100 = ServingPrice(per_hour=hourly("5.49"))
NEIGHBOURS = TUNED.with_prompt(951 - 38)


@pytest.mark.parametrize(
    ("price", "asked", "per_1000"),
    [
        (ServingPrice(usd("0.80"), usd("0.20"), usd("3.20")), TUNED, "0.0464"),
        (ServingPrice(usd("0.195"), usd("0.039"), usd("0.60")), TUNED, "0.01041"),
        (ServingPrice(usd("0.195"), usd("0.039"), usd("0.60")), NEIGHBOURS, "0.188445"),
        (LUNA, TUNED.with_prompt(435 - 38), "0.465"),
        (LUNA, NEIGHBOURS, "0.981"),
    ],
)
def test_tokens_cost_what_the_worked_example_says(
    price: ServingPrice, asked: Traffic, per_1000: str
) -> None:
    month = price.month(asked)
    assert month.per_1000 == Span(low=usd(per_1000), high=usd(per_1000))
    assert month.usd.low == usd(per_1000) * 300
    assert (month.replicas, month.is_least, month.idle_share) == (0, False, None)


def test_cached_tokens_have_their_own_price() -> None:
    price = ServingPrice(usd("1"), usd("0.1"), usd("4"))
    asked = Traffic(1000, 1000, 10, cached_tokens=600)
    assert price.per_request(asked) == usd("0.0005")  # 400 · 1 + 600 · 0.1 + 10 · 4 = 500 micro
    full = ServingPrice(usd("1"), None, usd("4"))
    assert full.per_request(asked) == usd("0.00104")


@pytest.mark.parametrize(
    ("requests", "month", "per_1000"),
    [
        (1_000, "4007.70", "4007.7"),
        (300_000, "4007.70", "13.359"),
        (10_000_000, "4007.70", "0.40077"),
    ],
)
def test_a_replica_costs_the_same_at_any_traffic(requests: int, month: str, per_1000: str) -> None:
    found = H100.month(Traffic(requests, 38, 5, peak_per_s=0.1))
    assert found.usd.low == usd(month)
    assert found.per_1000 is not None
    assert found.per_1000.low == usd(per_1000)
    assert found.is_least  # nobody measured what a replica answers


@pytest.mark.parametrize(
    ("peak", "per_s", "replicas", "month"),
    [
        (4.0, 5.0, 1, "4007.70"),
        (5.0, 5.0, 1, "4007.70"),
        (5.1, 5.0, 2, "8015.40"),
        (49.0, 5.0, 10, "40077.00"),
        (0.0, 5.0, 1, "4007.70"),
    ],
)
def test_replicas_come_in_steps(peak: float, per_s: float, replicas: int, month: str) -> None:
    price = ServingPrice(per_hour=hourly("5.49"), requests_per_s=per_s)
    found = price.month(Traffic(300_000, 38, 5, peak_per_s=peak))
    assert (found.replicas, found.usd.low, found.is_least) == (replicas, usd(month), False)


def test_the_idle_share_is_what_is_paid_and_not_used() -> None:
    price = ServingPrice(per_hour=hourly("1"), requests_per_s=10)
    half = price.month(Traffic(SECONDS * 10, 1, 1, peak_per_s=20))
    assert (half.replicas, half.idle_share) == (2, 0.5)
    assert price.month(Traffic(0, 1, 1, peak_per_s=1)).idle_share == 1


def test_break_even_is_what_the_worked_example_says() -> None:
    def at(price: ServingPrice, asked: Traffic = TUNED, training: str = "0", **more: bool) -> int:
        found = break_even(LUNA, price, NEIGHBOURS, asked, training=usd(training), **more)
        assert found is not None
        return found

    azure = ServingPrice(usd("0.80"), None, usd("3.20"), hourly("1.70"))
    l4 = ServingPrice(per_hour=hourly("0.44", "0.49"))
    assert round(at(H100, training="4") / 1e6, 2) == 4.09
    assert round(at(azure) / 1e6, 2) == 1.33
    assert (round(at(l4) / 1e6, 2), round(at(l4, dear=True) / 1e6, 2)) == (0.33, 0.36)
    # By hand: (730 · 5.49 + 4 / 12) / 0.000981 = 4,085,660.9
    assert at(H100, training="4") == 4_085_661


def test_at_break_even_the_months_cost_the_same() -> None:
    requests = break_even(LUNA, H100, NEIGHBOURS, TUNED)
    assert requests is not None
    for count, cheaper in ((requests, True), (requests - 2, False)):
        now = LUNA.month(Traffic(count, 951, 5)).usd.low
        new = H100.month(Traffic(count, 38, 5)).usd.low
        assert (new <= now) is cheaper


def test_break_even_counts_the_replicas_that_its_own_traffic_needs() -> None:
    """A replica answers 1 request a second; the peak is 4 times the mean."""
    mean = 300_000 / SECONDS
    asked = Traffic(300_000, 38, 5, peak_per_s=4 * mean)
    per_s = ServingPrice(per_hour=hourly("0.44"), requests_per_s=1.0)
    found = break_even(LUNA, per_s, NEIGHBOURS, asked)
    # One replica saves enough from 327,421 requests, whose peak is 0.5 a second: one is enough.
    assert found == 327_421
    slow = ServingPrice(per_hour=hourly("0.44"), requests_per_s=0.4)
    # At 327,421 two are needed: 642.40 / 0.000981 = 654,842, whose peak of 0.997 needs three, and so
    # on: 0.4 requests a second at a quarter of the peak save less than a replica costs.
    assert break_even(LUNA, slow, NEIGHBOURS, asked) is None
    # A replica is enough for 340,000 a month. With $16 of training in each month one would need
    # 343,731, so it takes two: (642.40 + 16) / 0.000981 = 671,151.9.
    steps = ServingPrice(per_hour=hourly("0.44"), requests_per_s=4 * 340_000 / SECONDS)
    assert break_even(LUNA, steps, NEIGHBOURS, asked, training=usd("192")) == 671_152


def test_where_a_request_saves_nothing_there_is_no_break_even() -> None:
    assert break_even(H100, LUNA, TUNED, NEIGHBOURS) is None
    assert break_even(LUNA, LUNA, TUNED, TUNED) is None


def test_pay_back_is_training_over_what_a_day_saves() -> None:
    now = ServingPrice(usd("0.80"), None, usd("3.20")).month(Traffic(300_000, 38, 5))
    new = ServingPrice(usd("0.195"), None, usd("0.60")).month(Traffic(300_000, 38, 5))
    # 0.64 / ((13.92 − 3.123) / 30)
    days = payback_days(usd("0.64"), now, new)
    assert days is not None
    assert round(days, 2) == usd("1.78")
    assert payback_days(usd("0.64"), new, now) is None
    assert payback_days(usd("4"), now, H100.month(TUNED)) is None


@pytest.mark.parametrize(
    "given",
    [
        {"requests": -1},
        {"input_tokens": float("nan")},
        {"cached_tokens": 39},
        {"peak_per_s": -0.5},
        {"output_tokens": float("inf")},
    ],
)
def test_traffic_that_cannot_be_is_refused(given: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="The traffic cannot be"):
        Traffic(**{"requests": 10, "input_tokens": 38, "output_tokens": 5, **given})  # type: ignore[arg-type]  # wrong on purpose


def test_nothing_asked_has_no_cost_per_request() -> None:
    month = H100.month(Traffic(0, 38, 5))
    assert (month.per_1000, month.usd.low) == (None, usd("4007.70"))
