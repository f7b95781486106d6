"""An estimate is a range with its assumptions; unknown stays unknown."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from ftsdk.catalogue.hosting_cost import hosting_cost
from ftsdk.catalogue.load import lookup, shipped
from ftsdk.catalogue.training_cost import (
    _auto_epochs,
    estimate_training,
    hourly_rate,
    prefer_quote,
    token_range,
)
from ftsdk.types.cost import Cost, CostBasis


def assumptions_of(cost: Cost) -> str:
    return "; ".join(cost.assumptions)


def test_tokens_times_epochs_times_rate():
    cost = estimate_training("openai", "gpt-4.1-mini", tokens=31_406, epochs=3)
    assert cost.low == cost.high == Decimal("0.471090")
    assert cost.basis is CostBasis.ESTIMATED
    assert cost.source == "OpenAI API pricing page (mirrors)"
    assert cost.as_of == dt.date(2026, 11, 23)
    assert "31,406 tokens; × 3 epochs; $5.00 per 1M tokens" in assumptions_of(cost)


def test_a_count_by_another_tokenizer_widens_the_range():
    cost = estimate_training(
        "openai", "gpt-4.1-mini", tokens=token_range(100_000, "estimated"), epochs=1
    )
    assert (cost.low, cost.high) == (Decimal("0.400000"), Decimal("0.675000"))
    assert token_range(5, "exact") == 5
    assert token_range(5, "unknown") is None


def test_the_minimum_of_a_job():
    cost = estimate_training("together", "Qwen3.5-9B", adapter_kind="lora", tokens=1_000, epochs=1)
    assert cost.low == cost.high == Decimal("4.00")
    assert "$4.00 minimum per job" in assumptions_of(cost)
    big = estimate_training(
        "together", "Qwen3.5-9B", adapter_kind="lora", tokens=100_000_000, epochs=1
    )
    assert big.low == Decimal(48)
    assert "minimum" not in assumptions_of(big)


def test_together_by_method_and_kind():
    def rate(method, kind):
        cost = estimate_training(
            "together", "Qwen3.5-9B", method=method, adapter_kind=kind, tokens=10**8, epochs=1
        )
        return cost.high and cost.high / 100

    assert rate("sft", "lora") == Decimal("0.48")
    assert rate("sft", "nf4") == Decimal("0.48")
    assert rate("dpo", "lora") == Decimal("0.54")
    assert rate("sft", "full") == Decimal("1.35")
    assert rate("dpo", "full") is None  # published nowhere


def test_an_unspecified_kind_of_training_gives_the_range_of_all():
    cost = estimate_training("together", "Qwen3.5-9B", tokens=10**8, epochs=1)
    assert (cost.low, cost.high) == (Decimal(48), Decimal(135))


def test_a_range_of_a_bracket_is_marked():
    cost = estimate_training("together", "gpt-oss-20b", tokens=10**8, epochs=1)
    assert (cost.low, cost.high) == (Decimal(150), Decimal(412))
    assert "UNCONFIRMED" in assumptions_of(cost)


@pytest.mark.parametrize(
    ("provider", "model", "why"),
    [
        ("nobody", "x", "not in the catalogue"),
        ("openai", "gpt-9", "no price is known for gpt-9"),
        ("together", "gpt-oss-120b", "no price is known"),
        ("azure", "gpt-4.1-mini", "no price is known"),
        ("nebius", "Llama-3.1-8B", "no price is known"),
        ("replicate", "me/trainer:1", "its hardware is unknown"),
    ],
)
def test_unknown_stays_unknown(provider, model, why):
    cost = estimate_training(provider, model, tokens=10_000, epochs=3, seconds=(1, 2))
    assert cost.basis is CostBasis.UNKNOWN
    assert cost.low is cost.high is None
    assert why in assumptions_of(cost)
    assert str(cost) == "unknown"


def test_unknown_tokens_and_epochs_are_reported():
    assert "token count" in assumptions_of(estimate_training("openai", "gpt-4.1", epochs=3))
    assert "epochs are not given" in assumptions_of(
        estimate_training("tinker", "Qwen3-8B", tokens=10, adapter_kind="lora")
    )


@pytest.mark.parametrize(
    ("rows", "expected"),
    [(None, (1, 25)), (4, (3, 25)), (10, (3, 10)), (50, (3, 3)), (40_000, (1, 3)), (500, (3, 3))],
)
def test_epochs_that_the_provider_chooses(rows, expected):
    assert _auto_epochs(rows) == expected


def test_unspecified_epochs_give_the_worst_case():
    cost = estimate_training("openai", "gpt-4.1-mini", tokens=1_000_000, rows=10)
    assert (cost.low, cost.high) == (Decimal(15), Decimal(50))
    assert "OpenAI chooses" in assumptions_of(cost)


def test_preference_pairs_may_be_billed_twice():
    cost = estimate_training("openai", "gpt-4.1", method="dpo", tokens=1_000_000, epochs=1)
    assert (cost.low, cost.high) == (Decimal(25), Decimal(50))


def test_without_packing_rows_are_billed_at_full_length():
    cost = estimate_training(
        "together",
        "Qwen3.5-9B",
        adapter_kind="lora",
        tokens=10,
        rows=10_000,
        max_length=4096,
        packed=False,
        epochs=1,
    )
    assert cost.high == Decimal("19.660800")


def test_validation_tokens_only_where_they_are_billed():
    def cost(provider, model):
        return estimate_training(
            provider,
            model,
            adapter_kind="lora",
            tokens=20_000_000,
            epochs=1,
            validation_tokens=1_000_000,
            evaluations=5,
        ).high

    assert cost("together", "Qwen3.5-9B") == Decimal("12.00")
    assert cost("openai", "gpt-4.1-mini") == Decimal(100)


def test_hardware_by_the_second():
    name = "nateraw/axolotl-trainer-llama-2-7b"
    cost = estimate_training("replicate", name, seconds=(300, 900))
    assert (cost.low, cost.high) == (Decimal("2.34"), Decimal("7.02"))
    assert "which is a guess" in assumptions_of(cost)
    named = estimate_training("replicate", "me/t", hardware="gpu-h100", seconds=(3600, 3600))
    assert named.high == Decimal("5.49")
    open_ended = estimate_training("replicate", name)
    assert open_ended.basis is CostBasis.UNKNOWN
    assert "duration is unknown" in assumptions_of(open_ended)
    assert hourly_rate("replicate", name).high == Decimal("28.0800")
    assert hourly_rate("openai", "gpt-4.1") is None
    assert hourly_rate("replicate", "me/t") is None


@pytest.mark.parametrize("provider", ["local", "fake"])
def test_local_training_is_free(provider):
    cost = estimate_training(provider, "smollm2-135m", tokens=10, epochs=1)
    assert (cost.basis, cost.low, cost.high) == (CostBasis.BILLED, 0, 0)
    assert hosting_cost(provider, "smollm2-135m").kind == "free"


def test_an_old_price_says_its_age():
    cost = estimate_training("openai", "gpt-4.1", tokens=1, epochs=1, today=dt.date(2027, 6, 1))
    assert "the price is 190 days old" in assumptions_of(cost)


def test_hosting_cost():
    dedicated = hosting_cost("together", "Qwen3.5-9B")
    assert dedicated.kind == "per_hour"
    assert dedicated.text == "dedicated, from $5.49/h"
    assert dedicated.cost().hosting_usd_per_hour == Decimal("8.99")  # the high end is what may come
    token = hosting_cost("openai", "ft:gpt-4.1-mini-2025-04-14:o::x")
    assert (token.kind, token.text) == ("per_token", "$0.80 / $3.20 per 1M")
    assert token.cost().hosting_usd_per_hour == 0
    assert hosting_cost("nobody", "x").cost().hosting_usd_per_hour is None
    assert hosting_cost("nebius", "x").kind == "unknown"
    assert hosting_cost("azure", "gpt-4.1").usd_per_hour.low == Decimal("1.70")


def test_a_quote_is_preferred_and_the_difference_is_shown():
    table = estimate_training("together", "Qwen3.5-9B", adapter_kind="lora", tokens=1, epochs=1)
    quote = Cost(basis="quoted", low=Decimal("5.10"), high=Decimal("5.10"), source="Together")
    better = prefer_quote(quote, table)
    assert better.high == Decimal("5.10")
    assert better.basis is CostBasis.QUOTED
    assert assumptions_of(better) == "$1.10 above our estimate of $4.00"
    inside = prefer_quote(quote.model_copy(update={"low": Decimal(4), "high": Decimal(4)}), table)
    assert assumptions_of(inside) == "our estimate was $4.00"
    assert prefer_quote(None, table) is table
    assert prefer_quote(Cost(), table) is table


def test_every_priced_model_gives_an_ordered_range():
    for provider, facts in shipped().providers.items():
        for model in facts.models:
            for method in ("sft", "dpo"):
                for kind in ("lora", "nf4", "full"):
                    cost = estimate_training(
                        provider, model, method=method, adapter_kind=kind, tokens=12_345, epochs=2
                    )
                    if cost.high is not None:
                        assert 0 <= cost.low <= cost.high
                        assert cost.source
                        assert cost.as_of is not None
                        assert cost.assumptions
                    assert lookup(provider, model).model_id == model
