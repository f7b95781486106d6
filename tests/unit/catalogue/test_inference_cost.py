"""The price of a chat: of tuned and untuned models, cached tokens, batches, and what is unknown."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from ftsdk.catalogue.inference_cost import ChatPrice, chat_price
from ftsdk.catalogue.load import load_catalogue, shipped

USAGE = {
    "prompt_tokens": 400,
    "completion_tokens": 100,
    "total_tokens": 500,
    "prompt_tokens_details.cached_tokens": 128,
}
MINI = "gpt-4.1-mini-2025-04-14"


def test_the_capture_that_the_documentation_computes() -> None:
    """2,000 rows of 400 and 100 tokens on a tuned gpt-4.1-mini: $1.28, and half of it in a batch."""
    price = chat_price("openai", f"ft:{MINI}:org::abc")
    usage = {"prompt_tokens": 2000 * 400, "completion_tokens": 2000 * 100}
    assert price is not None
    assert price.cost(usage) == Decimal("1.28")
    assert price.cost(usage, batch=True) == Decimal("0.64")


@pytest.mark.parametrize(
    ("model", "input_price"),
    [
        (f"ft:{MINI}:org::abc", "0.80"),
        (f"ft:{MINI}:org:support:abc", "0.80"),
        (f"ft:{MINI}:org::abc:ckpt-step-88", "0.80"),
        (f"FT:{MINI.upper()}:org::abc", "0.80"),
        ("ft:gpt-4.1-mini-2027-01-01:org::abc", "0.80"),
        (MINI, "0.40"),
        ("gpt-4.1-mini", "0.40"),
        ("gpt-4.1-mini-2027-01-01", "0.40"),
        ("gpt-4o-2024-08-06", "2.50"),
        ("ft:gpt-4o-2024-08-06:org::x", "3.75"),
        ("gpt-6-luna", "0.10"),
        ("gpt-6-luna-2026-09-22", "0.10"),
        ("gpt-5.6-luna", "0.20"),
    ],
)
def test_names_of_one_model_have_one_price(model: str, input_price: str) -> None:
    price = chat_price("openai", model)
    assert price is not None
    assert price.input == Decimal(input_price)
    assert price.batch_factor == Decimal("0.5")
    assert price.source


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-9"),
        ("openai", "ft:gpt-9:org::x"),
        ("openai", "ft:"),
        ("openai", ""),
        ("azure", "Qwen3-32B.ft-abc"),
        ("replicate", "owner/name:version"),
        ("nobody", "gpt-4.1"),
        ("openai", "gpt-3.5-turbo"),  # tuned ones have a price, this one is not known
    ],
)
def test_an_unknown_price_is_none(provider: str, model: str) -> None:
    assert chat_price(provider, model) is None


@pytest.mark.parametrize(
    ("provider", "model", "prices"),
    [
        ("azure", MINI, ("0.40", "0.10", "1.60")),
        ("azure", f"{MINI}.ft-abc", ("0.80", "0.20", "3.20")),
        ("together", "openai/gpt-oss-20b", ("0.05", None, "0.20")),
        ("together", "moonshotai/Kimi-K2.6", ("1.20", "0.20", "4.50")),
        ("together", "me/gpt-oss-20b-support-1a2b", ("0", "0", "0")),  # tuned: by the hour
        ("replicate", "openai/gpt-oss-120b", ("0.18", None, "0.72")),
        ("nebius", "meta-llama/Llama-3.3-70B-Instruct", ("0.13", "0.013", "0.40")),
    ],
)
def test_prices_at_other_providers(
    provider: str, model: str, prices: tuple[str, str | None, str]
) -> None:
    price = chat_price(provider, model)
    assert price is not None
    assert (price.input, price.cached_input, price.output) == tuple(
        None if one is None else Decimal(one) for one in prices
    )
    assert price.confirmed is price.is_free


def test_prices_that_no_source_states_firmly_say_so() -> None:
    untuned = chat_price("openai", MINI)
    tuned = chat_price("openai", f"ft:{MINI}:org::x")
    assert untuned is not None
    assert tuned is not None
    assert (untuned.confirmed, tuned.confirmed) == (False, True)
    assert untuned.input < tuned.input


@pytest.mark.parametrize(
    ("provider", "model"), [("local", "any"), ("fake", "any"), ("together", "x")]
)
def test_what_is_billed_by_the_hour_or_not_at_all_costs_no_tokens(
    provider: str, model: str
) -> None:
    price = chat_price(provider, model)
    assert price is not None
    assert price.is_free
    assert price.cost(USAGE) == 0


def test_cached_tokens_are_cheaper_where_their_price_is_known() -> None:
    price = ChatPrice(Decimal(1), Decimal("0.1"), Decimal(4))
    assert price.cost(USAGE) == (272 + Decimal("12.8") + 400) / Decimal(1_000_000)
    without = ChatPrice(Decimal(1), None, Decimal(4))
    assert without.cost(USAGE) == Decimal(800) / 1_000_000


def test_other_names_and_odd_counts() -> None:
    price = ChatPrice(Decimal(1), Decimal("0.5"), Decimal(2))
    assert price.cost({"input_tokens": 10, "output_tokens": 5}) == Decimal("0.00002")
    assert price.cost({}) == 0
    more_cached = {"prompt_tokens": 10, "prompt_tokens_details.cached_tokens": 99}
    assert price.cost(more_cached) == Decimal("0.000005")
    assert price.cost({"prompt_tokens": -5}) == 0


def test_a_fraction_of_a_nano_dollar_is_rounded_up() -> None:
    price = ChatPrice(Decimal("0.0001"), None, Decimal(0))
    assert price.cost({"prompt_tokens": 1}) == Decimal("0.000000001")


def test_your_own_price_wins(tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_text(
        'as_of = 2026-11-30\n[providers.replicate.models."owner/name"]\n'
        "inference = { input = 7, output = 9 }\nuntuned = { input = 6, output = 8 }\n"
    )
    catalogue = load_catalogue(tmp_path)
    price = chat_price("replicate", "owner/name", catalogue)
    assert price is not None
    assert (price.input, price.cached_input, price.batch_factor) == (6, None, None)
    assert "your own" in price.source


def test_a_tuned_model_is_never_cheaper_than_its_base() -> None:
    for model_id, model in shipped().providers["openai"].models.items():
        if model.inference is not None and model.untuned is not None:
            assert model.inference.input >= model.untuned.input, model_id
            assert model.inference.output >= model.untuned.output, model_id
