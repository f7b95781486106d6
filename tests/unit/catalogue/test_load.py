"""The shipped catalogue has a source for each figure, and a user's file takes precedence."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from ftsdk.catalogue.load import canonical_name, load_catalogue, lookup, shipped
from ftsdk.catalogue.schema import YOURS, Catalogue, Span, _Entry, _figures
from ftsdk.errors import ConfigError


def test_every_figure_names_a_page_and_a_day():
    book = shipped()
    figures = list(_figures(book))
    assert len(figures) > 80
    for figure in figures:
        source = book.source(figure)
        assert figure.source != YOURS
        assert source.day <= book.as_of
        assert source.title
        assert str(source.url).startswith("https://")


def test_every_source_is_used():
    book = shipped()
    used = {figure.source for figure in _figures(book)}
    assert set(book.sources) == used


def test_prices_are_exact_decimals():
    rate = lookup("openai", "gpt-4.1-nano").model.training[0].usd_per_mtok
    assert rate.low == Decimal("1.50")
    hardware = shipped().providers["replicate"].hardware["gpu-t4"]
    assert hardware.per_hour.low == Decimal("0.81")


@pytest.mark.parametrize(
    ("provider", "given", "found"),
    [
        ("openai", "gpt-4.1-mini", "gpt-4.1-mini-2025-04-14"),
        ("openai", "GPT-4.1-mini-2025-04-14", "gpt-4.1-mini-2025-04-14"),
        ("openai", "ft:gpt-4.1-mini-2025-04-14:org::abc", "gpt-4.1-mini-2025-04-14"),
        ("openai", "gpt-3.5-turbo-0125", "gpt-3.5-turbo"),
        ("openai", "gpt-4-0613", "gpt-4"),
        ("openai", "gpt-4o", "gpt-4o-2024-08-06"),
        ("azure", "gpt-4.1-2025-04-14.ft-0a1b2c", "gpt-4.1-2025-04-14"),
        ("together", "Qwen/Qwen3.5-9B", "Qwen3.5-9B"),
        ("together", "openai/gpt-oss-20b", "gpt-oss-20b"),
        (
            "replicate",
            "nateraw/axolotl-trainer-llama-2-7b:9f1",
            "nateraw/axolotl-trainer-llama-2-7b",
        ),
        ("openai", "gpt-9", None),
    ],
)
def test_a_model_is_found_by_any_of_its_names(provider, given, found):
    assert lookup(provider, given).model_id == found


@pytest.mark.parametrize(
    ("provider", "given", "name"),
    [
        ("together", "Qwen/Qwen3-8B", "Qwen3-8B"),
        ("together", " qwen3-8b ", "Qwen3-8B"),
        ("openai", "gpt-4.1-mini", "gpt-4.1-mini-2025-04-14"),
        ("openai", "ft:gpt-4.1-mini-2025-04-14:org::Ab1", "ft:gpt-4.1-mini-2025-04-14:org::ab1"),
        ("together", "Nobody/Unheard-Of", "nobody/unheard-of"),
        ("nobody", "X/Y", "x/y"),
    ],
)
def test_all_spellings_of_a_model_have_one_name(provider, given, name):
    assert canonical_name(provider, given, shipped()) == name


def test_an_alias_may_be_other_weights():
    base, tuned = "Qwen/Qwen3.5-35B-A3B-Base", "Qwen/Qwen3.5-35B-A3B"
    assert canonical_name("together", base, shipped()) == canonical_name(
        "together", tuned, shipped()
    )
    names = {
        canonical_name("together", one, shipped(), through_aliases=False) for one in (base, tuned)
    }
    assert len(names) == 2


def test_lookup_of_an_unknown_provider_is_none():
    assert lookup("nobody", "x") is None


def test_own_figures_take_precedence_and_name_their_source(tmp_path):
    (tmp_path / "prices.toml").write_text(
        """
        as_of = 2026-11-25
        [providers.openai.models."gpt-4.1-mini-2025-04-14"]
        training = [{ usd_per_mtok = 4.25 }]
        [providers.together]
        minimum = { usd = 0 }
        [providers.mine]
        title = "our own cluster"
        hardware = { big = { usd_per_hour = 2.5 } }
        models = { m = { hardware = "big" } }
        """
    )
    book = load_catalogue(tmp_path)
    mini = lookup("openai", "gpt-4.1-mini", book).model
    assert mini.training[0].usd_per_mtok.low == Decimal("4.25")
    assert book.source(mini.training[0]).day == dt.date(2026, 11, 25)
    assert str(tmp_path) in book.source(mini.training[0]).title
    # what the file does not mention stays as shipped
    assert mini.ends_on.day == dt.date(2027, 1, 14)
    assert book.source(mini.ends_on).url.startswith("https://developers.openai.com")
    assert book.providers["together"].minimum.usd == 0
    assert book.providers["together"].minimum.source == YOURS
    assert lookup("mine", "m", book).facts.hardware["big"].per_hour.high == Decimal("2.5")
    assert shipped().providers["together"].minimum.usd == 4


def test_no_file_means_the_shipped_catalogue(tmp_path):
    assert load_catalogue(tmp_path) is shipped()
    assert load_catalogue() is shipped()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x = ", "not TOML"),
        ("[providers.openai]\ntitle = 'x'", "as_of is missing"),
        ("as_of = 'soon'", "not a day"),
        ("as_of = 2026-11-25T00:00:00Z", "not a day"),
        ("as_of = 2026-11-25\n[providers.openai]\nminimun = 3", "minimun"),
        ("as_of = 2026-11-25\n[providers.openai]\nminimum = { usd = -1 }", "greater than or equal"),
        ("as_of = 2026-11-25\n[providers.openai]\nminimum = { usd = nan }", "usd"),
        (
            "as_of = 2026-11-25\n[providers.openai]\nhosting = { usd_per_hour = [2, 1] }",
            "from low to high",
        ),
        (
            "as_of = 2026-11-25\n[providers.openai]\nhosting = { usd_per_hour = 2, source = 'x' }",
            "not in the table of sources",
        ),
        ("as_of = 2026-11-25\n[providers.together.models.q]\nrates = 'none'", "no rate card"),
    ],
)
def test_an_invalid_file_is_refused_with_the_reason(tmp_path, text, reason):
    (tmp_path / "prices.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_catalogue(tmp_path)
    assert reason in str(caught.value)
    assert str(tmp_path / "prices.toml") in caught.value.where


def test_a_price_is_not_a_boolean():
    with pytest.raises(ValidationError):
        Catalogue.model_validate(
            {
                "as_of": dt.date(2026, 1, 1),
                "providers": {"x": {"title": "x", "hosting": {"usd_per_hour": True}}},
            }
        )


def entries(kind: type[_Entry]) -> Iterator[type[_Entry]]:
    for one in kind.__subclasses__():
        yield one
        yield from entries(one)


def is_number(annotation: Any) -> bool:
    return annotation in (Decimal, int) or any(map(is_number, get_args(annotation)))


NUMBERS = [
    (kind, name)
    for kind in entries(_Entry)
    for name, field in kind.model_fields.items()
    if is_number(field.annotation)
]


@pytest.mark.parametrize("value", [-1, Decimal("NaN"), Decimal("Infinity"), True])
@pytest.mark.parametrize(("kind", "name"), NUMBERS, ids=lambda one: getattr(one, "__name__", one))
def test_no_figure_is_negative_or_no_number(kind: type[_Entry], name: str, value: Any):
    given = [value, value] if name == "pair_factor" else value
    with pytest.raises(ValidationError) as caught:
        kind.model_validate({name: given})
    reported = {error["loc"] for error in caught.value.errors()}
    assert any(loc[:1] == (name,) or (kind is Span and not loc) for loc in reported)


@pytest.mark.parametrize("price", ["input = -0.4", "output = -1.6", "cached_input = -0.1"])
def test_a_negative_price_in_the_users_file_is_refused_by_name(tmp_path, price: str):
    prices = {"input": "input = 1", "output": "output = 2"} | {price.split(maxsplit=1)[0]: price}
    (tmp_path / "prices.toml").write_text(
        "as_of = 2026-11-25\n"
        f'[providers.openai.models."gpt-4.1-mini-2025-04-14"]\n'
        f"inference = {{ {', '.join(prices.values())} }}\n"
    )
    with pytest.raises(
        ConfigError, match=rf"inference\.{price.split(maxsplit=1)[0]}.*greater than or equal to 0"
    ):
        load_catalogue(tmp_path)
