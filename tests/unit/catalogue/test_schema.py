"""The records of the catalogue: ranges, units, rates, and how amounts are shown."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from ftsdk.catalogue.hosting_cost import hosting_cost
from ftsdk.catalogue.schema import Catalogue, Hardware, Rate, Span, format_number, format_price
from ftsdk.catalogue.training_cost import estimate_training, prefer_quote, training_tokens
from ftsdk.types.cost import Cost

SOURCE = {"yours": {"title": "your own figures", "day": dt.date(2026, 11, 1)}}


@pytest.mark.parametrize(
    ("given", "low", "high"),
    [(4, 4, 4), ([4, 4], 4, 4), ((4, 5), 4, 5), ({"low": 0, "high": 1}, 0, 1), (0, 0, 0)],
)
def test_a_range_is_a_price_or_two(given: Any, low: int, high: int) -> None:
    assert Span.model_validate(given) == Span(low=Decimal(low), high=Decimal(high))


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ([4], r"a range is two prices: \[low, high\]"),
        ([4, 5, 6], r"a range is two prices: \[low, high\]"),
        ([], r"a range is two prices: \[low, high\]"),
        ([4, True], r"a range is two prices: \[low, high\]"),
        (True, "must be a price, not true or false"),
        ([5, 4], "a range runs from low to high"),
        ([-1, 4], "greater than or equal to 0"),
    ],
)
def test_what_is_no_range_is_refused_by_name(given: Any, why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        Span.model_validate(given)


@pytest.mark.parametrize(
    ("amount", "price", "number"),
    [
        ("5", "5.00", "5"),
        ("5.4", "5.40", "5.4"),
        ("5.49", "5.49", "5.49"),
        ("5.490", "5.49", "5.49"),
        ("5.491", "5.491", "5.491"),
        ("0.000975", "0.000975", "0.000975"),
        ("100", "100.00", "100"),
        ("1E+2", "100.00", "100"),
        ("0", "0.00", "0"),
    ],
)
def test_amounts_keep_two_digits_and_no_trailing_zeros(
    amount: str, price: str, number: str
) -> None:
    assert (format_price(Decimal(amount)), format_number(Decimal(amount))) == (price, number)


def test_a_range_is_shown_as_one_price_when_its_ends_are_equal() -> None:
    assert Span(low=Decimal("1.5"), high=Decimal("1.50")).format() == "1.50"
    assert Span(low=Decimal("1.5"), high=Decimal("4.125")).format() == "1.50–4.125"
    assert Span(low=Decimal(1), high=Decimal(2)).times(3600) == Span.model_validate([3600, 7200])


def test_hardware_has_one_unit() -> None:
    second = Hardware.model_validate({"usd_per_second": [1, 2]})
    assert second.per_hour == Span.model_validate([3600, 7200])
    assert Hardware.model_validate({"usd_per_hour": 7}).per_hour == Span.model_validate(7)
    for both in ({}, {"usd_per_second": 1, "usd_per_hour": 1}):
        with pytest.raises(ValidationError, match="give either usd_per_second or usd_per_hour"):
            Hardware.model_validate(both)


@pytest.mark.parametrize(
    ("rate", "method", "adapter", "covers"),
    [
        ({}, "sft", None, True),
        ({}, "dpo", "lora", True),
        ({"methods": ["sft"]}, "sft", "full", True),
        ({"methods": ["sft"]}, "dpo", "full", False),
        ({"adapters": ["lora"]}, "dpo", "lora", True),
        ({"adapters": ["lora"]}, "dpo", "full", False),
        ({"adapters": ["lora"]}, "dpo", None, True),
        ({"methods": ["sft"], "adapters": ["lora"]}, "dpo", "lora", False),
    ],
)
def test_a_rate_covers_its_methods_and_kinds(
    rate: dict[str, Any], method: str, adapter: str | None, covers: bool
) -> None:
    assert Rate.model_validate({"usd_per_mtok": 1, **rate}).covers(method, adapter) == covers


def catalogue(**provider: Any) -> Catalogue:
    made = {"title": "P", **provider}
    return Catalogue.model_validate(
        {"as_of": dt.date(2026, 11, 1), "sources": SOURCE, "providers": {"p": made}}
    )


def priced(usd: Any = 2, **provider: Any) -> Catalogue:
    return catalogue(models={"m": {"training": [{"usd_per_mtok": usd}]}}, **provider)


@pytest.mark.parametrize(
    ("model", "why"),
    [
        ({"rates": "card"}, r"models\.m\.rates: there is no rate card called 'card'"),
        ({"hardware": "gpu"}, r"models\.m\.hardware: there is no hardware called 'gpu'"),
        (
            {"training": [{"usd_per_mtok": 1, "source": "page"}]},
            "source 'page' is not in the table of sources",
        ),
    ],
)
def test_a_name_that_is_defined_nowhere_is_refused(model: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        catalogue(models={"m": model})


@pytest.mark.parametrize(
    ("tokens", "low", "high"),
    [(1_999_999, 4, 4), (2_000_000, 4, 4), (2_000_001, "4.000002", "4.000002"), ((1, 3_000_000), 4, 6)],
)  # fmt: skip
def test_the_minimum_of_a_job_from_both_sides(tokens: Any, low: Any, high: Any) -> None:
    found = estimate_training(
        "p", "m", tokens=tokens, epochs=1, catalogue=priced(minimum={"usd": 4, "note": "a job"})
    )
    assert (found.low, found.high) == (Decimal(low), Decimal(high))
    assert ("$4.00 minimum per job (a job)" in found.assumptions) == (
        tokens in (1_999_999, (1, 3_000_000))
    )


def test_the_range_is_rounded_outwards_to_a_millionth() -> None:
    found = estimate_training("p", "m", tokens=1, epochs=1, catalogue=priced("0.3"))
    assert (found.low, found.high) == (Decimal(0), Decimal("0.000001"))


@pytest.mark.parametrize(("days", "old"), [(90, False), (91, True)])
def test_a_price_is_old_after_90_days(days: int, old: bool) -> None:
    today = dt.date(2026, 11, 1) + dt.timedelta(days=days)
    found = estimate_training("p", "m", tokens=1, epochs=1, today=today, catalogue=priced())
    assert (f"the price is {days} days old" in found.assumptions) == old


def test_preference_pairs_by_the_providers_factor() -> None:
    for factor, high, said in (((1, 1), 2, False), ((1, 2), 4, True), ((2, 2), 4, True)):
        found = estimate_training(
            "p", "m", method="dpo", tokens=10**6, epochs=1, catalogue=priced(pair_factor=factor)
        )
        assert (found.low, found.high) == (2 * factor[0], high)
        assert any("both answers of a pair" in one for one in found.assumptions) == said
        sft = estimate_training(
            "p", "m", tokens=10**6, epochs=1, catalogue=priced(pair_factor=factor)
        )
        assert sft.high == 2


@pytest.mark.parametrize(
    ("rule", "tokens", "evaluations", "high"),
    [
        ({"holds": True}, 10**6, 3, 8),
        ({"holds": True}, 10**6, 0, 2),
        ({"holds": True}, 0, 3, 2),
        ({"holds": False}, 10**6, 3, 2),
        (None, 10**6, 3, 2),
    ],
)
def test_validation_tokens_are_billed_where_the_rule_holds(
    rule: Any, tokens: int, evaluations: int, high: int
) -> None:
    found = estimate_training(
        "p", "m", tokens=10**6, epochs=1, validation_tokens=tokens, evaluations=evaluations,
        catalogue=priced(bills_validation=rule),
    )  # fmt: skip
    assert found.high == high


def test_the_providers_default_of_epochs() -> None:
    found = estimate_training("p", "m", tokens=10**6, catalogue=priced(default_epochs=3))
    assert found.high == 6
    assert "× 3 epochs, its default" in found.assumptions
    given = estimate_training(
        "p", "m", tokens=10**6, epochs=0.5, catalogue=priced(default_epochs=3)
    )
    assert given.high == 1
    assert "× 0.5 epochs" in given.assumptions


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"packed": False, "rows": 3}, "without packing every row is billed as max_length"),
        ({"packed": False, "max_length": 3}, "without packing every row is billed as max_length"),
        ({"epochs": 1}, "the token count is unknown"),
        ({"tokens": 3}, "epochs are not given, and the default of P is unknown"),
    ],
)
def test_what_is_missing_is_named(more: dict[str, Any], why: str) -> None:
    found = estimate_training("p", "m", catalogue=priced(), **more)
    assert found.high is None
    assert why in found.assumptions[0]
    reason = training_tokens("p", "m", catalogue=priced(), **more)
    assert isinstance(reason, str)
    assert why in reason


def test_billed_tokens_are_rounded_outwards() -> None:
    found = training_tokens("p", "m", tokens=(3, 5), epochs=0.5, catalogue=priced())
    assert found[:2] == (1, 3)
    assert "padding is not billed" in found[2]
    whole = training_tokens(
        "p", "m", rows=3, max_length=8, packed=False, epochs=1, catalogue=priced()
    )
    assert whole[:2] == (24, 24)
    assert "padding is not billed" not in whole[2]
    assert training_tokens("q", "m", catalogue=priced()) == "its billing is unknown"
    assert training_tokens("p", "m", catalogue=priced(free=True)) == "is free"
    by_time = priced(hardware={"g": {"usd_per_hour": 1}})
    assert training_tokens("p", "m", catalogue=by_time) == "bills by the second, not by the token"


@pytest.mark.parametrize(
    ("quoted", "said"),
    [
        ("3.99", "$0.01 below our estimate of $4.00 – 6.00"),
        ("4.00", "our estimate was $4.00 – 6.00"),
        ("6.00", "our estimate was $4.00 – 6.00"),
        ("6.50", "$0.50 above our estimate of $4.00 – 6.00"),
    ],
)
def test_a_quote_says_how_far_the_estimate_was_off(quoted: str, said: str) -> None:
    estimate = Cost(basis="estimated", low=Decimal(4), high=Decimal(6))
    quote = Cost(basis="quoted", high=Decimal(quoted), assumptions=("theirs",))
    assert prefer_quote(quote, estimate).assumptions == ("theirs", said)
    unknown = prefer_quote(quote, Cost())
    assert unknown.assumptions == ("theirs",)


def test_serving_by_the_hour_and_by_the_token() -> None:
    inference = {"input": "0.8", "output": "3.2", "cached_input": "0.2", "note": "n"}
    model = {"models": {"m": {"inference": inference}}}
    both = hosting_cost("p", "m", catalogue(hosting={"usd_per_hour": [1, 3]}, **model))
    assert (both.kind, both.text) == ("per_hour", "dedicated, from $1.00/h + $0.80 / $3.20 per 1M")
    assert (both.input_per_mtok, both.output_per_mtok, both.cached_input_per_mtok) == (
        Decimal("0.8"),
        Decimal("3.2"),
        Decimal("0.2"),
    )
    assert both.cost().hosting_usd_per_hour == 3
    one = hosting_cost("p", "x", catalogue(hosting={"usd_per_hour": 2, "confirmed": False}))
    assert (one.text, one.input_per_mtok, one.confirmed) == ("dedicated, $2.00/h", None, False)
    tokens = hosting_cost("p", "m", catalogue(**model))
    assert (tokens.kind, tokens.usd_per_hour, tokens.note) == ("per_token", None, "n")
    assert (tokens.cached_input_per_mtok, tokens.source) == (Decimal("0.2"), "your own figures")
    assert tokens.cost().assumptions == ("n",)
    unknown = hosting_cost("p", "x", catalogue(serving="ask them"))
    assert (unknown.kind, unknown.text) == ("unknown", "ask them")
    assert unknown.cost() == Cost()
