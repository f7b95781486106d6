"""Ranking the places to move to: cost at the traffic, dates, weights, what is not known, and why."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal

import pytest

from ftsdk.catalogue.load import load_catalogue, shipped
from ftsdk.catalogue.schema import Catalogue
from ftsdk.catalogue.serving_cost import Traffic
from ftsdk.planning.candidates import Candidate, candidates_of
from ftsdk.planning.targets import RankedTarget, rank_targets

TODAY = dt.date(2026, 11, 30)
MINI = "gpt-4.1-mini-2025-04-14"
TOKENS = 484_848  # three epochs at $0.44 per million: $0.64
LUNA = Candidate("openai", "gpt-6-luna", "prompt", prompt_tokens=951 - 38)
TINKER = Candidate("tinker", "Qwen3-8B", training_tokens=TOKENS, epochs=3)
TOGETHER = Candidate("together", "Qwen3.5-9B", training_tokens=TOKENS, epochs=3)
AZURE = Candidate("azure", MINI, training_tokens=TOKENS, epochs=3)
L4 = Candidate("local", "qwen3-8b", serve_on="runpod", hardware="L4")
ALL = [LUNA, TINKER, TOGETHER, AZURE, L4]
NOW = Candidate("openai", f"ft:{MINI}:org::abc")


@pytest.fixture(scope="module")
def sheet(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    """Return the catalogue with the price of Luna that the worked example has."""
    file = tmp_path_factory.mktemp("prices") / "prices.toml"
    file.write_text(
        'as_of = 2026-11-23\n[providers.openai.models."gpt-6-luna"]\n'
        "untuned = { input = 1, output = 6 }\n"
        "[providers.together]\nhosting = { usd_per_hour = 5.49 }\n"
    )
    return load_catalogue(file=file)


def ranked(
    requests: int, *candidates: Candidate, catalogue: Catalogue | None = None, **more: object
) -> dict[str, RankedTarget]:
    traffic = Traffic(requests, 38, 5, **more)  # type: ignore[arg-type]  # peak_per_s alone
    found = rank_targets(candidates or ALL, traffic, now=LUNA, today=TODAY, catalogue=catalogue)
    assert [one.rank for one in found] == list(range(1, len(found) + 1))
    return {f"{one.candidate.provider}{one.candidate.serve_on}": one for one in found}


def month(one: RankedTarget) -> tuple[Decimal, Decimal]:
    assert one.month is not None
    return round(one.month.usd.low, 2), round(one.month.usd.high, 2)


@pytest.mark.parametrize(
    ("requests", "expected"),
    [
        (1_000, {"tinker": ".01", "openai": ".98", "localrunpod": "321.20", "azure": "1241.05", "together": "4007.70"}),
        (300_000, {"tinker": "3.12", "openai": "294.30", "localrunpod": "321.20", "azure": "1254.92", "together": "4007.70"}),
        (10_000_000, {"tinker": "104.10", "localrunpod": "321.20", "azure": "1705.00", "together": "4007.70", "openai": "9810.00"}),
    ],
)  # fmt: skip
def test_the_ranking_follows_the_traffic(
    requests: int, expected: dict[str, str], sheet: Catalogue
) -> None:
    found = ranked(requests, catalogue=sheet)
    assert list(found) == list(expected)
    for name, low in expected.items():
        assert month(found[name])[0] == Decimal(low), name


def test_the_worked_example(sheet: Catalogue) -> None:
    """Together costs $13.36 per 1,000 at 300,000 a month, and Luna $0.98; break-even at 4.09 million."""
    found = ranked(300_000, catalogue=sheet)
    per_1000 = {
        name: round(one.month.per_1000.low, 3)
        for name, one in found.items()
        if one.month is not None and one.month.per_1000 is not None
    }
    assert per_1000["together"] == Decimal("13.359")
    assert per_1000["openai"] == Decimal("0.981")
    assert per_1000["tinker"] == Decimal("0.010")
    at = {name: one.break_even for name, one in found.items()}
    assert at["together"] == (4_085_661, 4_085_661)  # with $4 of training over 12 months
    assert [round(end / 1e6, 2) for end in at["localrunpod"] or ()] == [0.33, 0.36]
    assert [round(end / 1e6, 2) for end in at["azure"] or ()] == [1.33, 1.33]
    assert at["openai"] is None  # it is what the rest is compared with
    assert found["tinker"].training.high == Decimal("0.64")
    assert found["together"].training.low == Decimal("4.00")
    days = found["tinker"].payback_days
    assert days is not None
    assert round(days[1], 3) == Decimal("0.066")  # 0.64 / ((294.30 − 3.12) / 30)
    assert found["together"].payback_days is None  # 4,007.70 a month never pays at this traffic


def test_what_is_yours_and_what_is_not_sure() -> None:
    found = ranked(300_000)
    weights = {name: one.weights for name, one in found.items()}
    assert weights == {
        "tinker": "yours", "openai": "theirs", "localrunpod": "yours", "azure": "theirs",
        "together": "yours",
    }  # fmt: skip
    assert found["tinker"].is_confirmed
    assert any("assumed as OpenAI charges" in line for line in found["azure"].unconfirmed)
    assert any("272K" in line for line in found["openai"].unconfirmed)
    assert found["tinker"].mean_rank == Decimal("2.75")
    for one in found.values():
        assert one.sources, one.candidate


def test_dates_of_the_bridge() -> None:
    azure = ranked(300_000)["azure"]
    assert azure.is_open
    assert (azure.no_new_jobs_from, azure.last_safe_day, azure.ends_on) == (
        dt.date(2027, 4, 14), dt.date(2027, 4, 13), dt.date(2027, 10, 14),
    )  # fmt: skip
    assert any("closed since 2026-10-14 to some accounts" in line for line in azure.notes)
    assert any(line.startswith("training is not counted") for line in azure.notes)


def test_an_account_that_never_tuned_on_azure_cannot_take_the_bridge() -> None:
    closed = Candidate("azure", MINI, is_customer=False)
    found = ranked(300_000, closed, LUNA)
    assert found["openai"].rank == 1
    assert found["azure"].closed == "Azure OpenAI has been closed to new accounts since 2026-10-14"
    assert ranked(300_000, Candidate("azure", MINI, is_customer=True))["azure"].is_open


@pytest.mark.parametrize(
    ("candidate", "why"),
    [
        (Candidate("openai", MINI), "it ends on 2027-01-14, in 45 days"),
        (Candidate("openai", MINI, "prompt"), "it ends on 2027-01-14, in 45 days"),
        (Candidate("openai", "gpt-4.1-nano"), "gpt-4.1-nano-2025-04-14 ended at OpenAI on 2026-10-23"),
        (Candidate("openai", "gpt-6-luna"), "gpt-6-luna cannot be tuned by sft at openai"),
        (Candidate("fireworks", "x"), "Fireworks AI takes no new jobs since 2026-11-15"),
        (Candidate("together", "Qwen3-8B", unsupported=("seed",)), "not supported: seed"),
    ],
)  # fmt: skip
def test_what_cannot_be_chosen_comes_last_with_the_reason(candidate: Candidate, why: str) -> None:
    found = rank_targets([candidate, TOGETHER], Traffic(1000, 38, 5), today=TODAY)
    assert [one.candidate for one in found] == [TOGETHER, candidate]
    assert found[1].closed is not None
    assert found[1].closed.startswith(why)
    assert found[1].reason == found[1].closed
    assert found[1].rank == 2


def test_an_unknown_price_stays_unknown_and_comes_after_the_known() -> None:
    unknown = [
        Candidate("vertex", "gemini-3"),
        Candidate("replicate", "me/trainer:1"),
        Candidate("nobody", "x"),
        Candidate("together", "Qwen3-8B", "prompt"),
        Candidate("crusoe", "x"),
    ]
    found = rank_targets([*unknown, TOGETHER], Traffic(1000, 38, 5), now=LUNA, today=TODAY)
    assert found[0].candidate == TOGETHER
    for one in found[1:]:
        assert one.month is None
        assert (one.break_even, one.payback_days) == (None, None)
        assert one.reason.startswith("its price is not known: ")
    reasons = {one.candidate.provider: one.reason for one in found[1:]}
    assert "gpu-l40s" in reasons["replicate"]
    assert "nobody is not in the catalogue" in reasons["nobody"]


def test_without_a_measurement_the_cost_is_the_least() -> None:
    def together(per_s: float | None, **more: object) -> RankedTarget:
        one = Candidate("together", "Qwen3.5-9B", requests_per_s=per_s)
        return ranked(300_000, one, **more)["together"]

    assert together(None).reason.startswith("at least $4,008–6,563 a month")
    assert together(5.0).month.is_least  # type: ignore[union-attr]  # the price is known
    measured = together(5.0, peak_per_s=12.0)
    assert measured.month is not None
    assert (measured.month.replicas, measured.month.is_least) == (3, False)
    assert month(measured) == (Decimal("12023.10"), Decimal("19688.10"))
    assert not measured.reason.startswith("at least")


def test_reasons_name_the_amounts(sheet: Catalogue) -> None:
    found = ranked(300_000, catalogue=sheet)
    assert found["tinker"].reason == (
        "$3.12 a month; $0.0104 per 1,000 requests; the least at 300,000 requests a month"
    )
    assert found["together"].reason == (
        "at least $4,008 a month; $13.36 per 1,000 requests; "
        "$4,008 of it whether anything is asked or not; $4,004.86 more than the first"
    )


def test_equal_costs_are_decided_by_the_base_then_by_the_weights() -> None:
    free = [Candidate("fake", "z"), Candidate("local", "a"), Candidate("local", "Qwen3-8B")]
    found = rank_targets(free, Traffic(10, 1, 1), today=TODAY)
    assert [one.candidate.model for one in found] == ["Qwen3-8B", "z", "a"]


def test_a_table_as_json() -> None:
    document = [one.to_dict() for one in ranked(300_000).values()]
    again = json.loads(json.dumps(document))
    assert again[0]["rank"] == 1
    assert again[0]["usd_per_month"] == ["3.12300000", "3.12300000"]
    assert {one["weights"] for one in again} == {"yours", "theirs"}
    assert all(one["reason"] for one in again)


def test_candidates_of_places() -> None:
    def names(*places: str, **more: float) -> list[str]:
        return [one.name for one in candidates_of(places, MINI, today=TODAY, **more)]  # type: ignore[arg-type]  # prompt_tokens alone

    assert names("azure")[0] == f"azure · {MINI}"
    assert names("together")[:2] == ["together · Qwen3.5-0.8B", "together · Qwen3.5-2B"]
    assert "openai · gpt-6-luna · prompt" in names("openai")
    assert f"openai · {MINI} · prompt" not in names("openai")
    assert "together · gpt-oss-20b · prompt" in names("together")
    assert names("together:Qwen3.5-9B") == ["together · Qwen3.5-9B"]
    assert names("together:Qwen/Qwen3.5-9B", "together:qwen3.5-9b") == [
        "together · Qwen/Qwen3.5-9B"
    ]
    again = names("together", "together:Qwen/Qwen3.5-0.8B")
    assert "together · Qwen/Qwen3.5-0.8B" not in again
    assert "together · Qwen3.5-0.8B" in again
    assert names("fireworks") == []
    assert names("nobody") == []
    prompts = candidates_of(["openai"], MINI, prompt_tokens=913, today=TODAY)
    assert {one.prompt_tokens for one in prompts if one.kind == "prompt"} == {913}


def test_every_untuned_price_of_the_catalogue_has_a_dated_page() -> None:
    catalogue = shipped()
    priced = {
        (name, model_id): model.untuned
        for name, provider in catalogue.providers.items()
        for model_id, model in provider.models.items()
        if model.untuned is not None
    }
    assert {name for name, _ in priced} >= {"openai", "azure", "together", "replicate", "nebius"}
    for (name, model_id), price in priced.items():
        source = catalogue.source(price)
        assert source.url, (name, model_id)
        assert source.day < TODAY
        assert not price.confirmed  # nobody has read one of them on the provider's own page
        assert price.note
