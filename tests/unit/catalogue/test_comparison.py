"""Comparing one fine-tune at several providers: open options first, others with a reason."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from ftsdk.catalogue.comparison import Target, compare, targets_of
from ftsdk.types.cost import Cost

TODAY = dt.date(2026, 11, 25)


def run(*targets, today=TODAY, **more):
    return compare(targets, tokens=more.pop("tokens", 31_406), epochs=3, today=today, **more)


def test_options_are_sorted_by_price():
    rows = run(
        Target("openai", "gpt-4.1-mini", tokens=(31_406, 41_800)),
        Target("replicate", "me/trainer:1", hardware="gpu-l40s-8x", duration_s=(120, 300)),
        Target("together", "Qwen/Qwen3.5-9B"),
        Target("local", "smollm2-135m", duration_s=(120, 140)),
    )
    found = [(r.provider, str(r.training), r.serving.text, r.ends_on) for r in rows]
    assert found == [
        ("local", "$0.00", "your machine", None),
        ("openai", "$0.47 – 0.63", "$0.80 / $3.20 per 1M", dt.date(2027, 1, 14)),
        ("replicate", "$0.94 – 2.34", "by the second", None),
        ("together", "$4.00", "dedicated, from $5.49/h", None),
    ]
    assert rows[3].notes == ("$4 minimum per job",)
    assert any("no new jobs from 2027-01-06, in 42 days" in note for note in rows[1].notes)
    assert rows[0].duration_s == (120, 140)


def test_closed_unsupported_and_unknown_options_come_last():
    rows = run(
        Target("openai", "gpt-4.1-nano"),
        Target("together", "gpt-oss-120b"),
        Target("together", "Qwen3-8B", adapter_kind="full"),
        Target("openai", "gpt-4.1", unsupported=("hyperparameter x",)),
        Target("local", "m"),
    )
    assert [r.model for r in rows] == ["m", "gpt-oss-120b", "gpt-4.1-nano", "gpt-4.1", "Qwen3-8B"]
    assert rows[1].is_open
    assert str(rows[1].training) == "unknown"
    assert "ended at OpenAI" in rows[2].closed
    assert rows[3].unsupported == ("hyperparameter x",)
    assert rows[4].unsupported == ("full training of Qwen3-8B",)


def test_what_a_model_says_about_dpo_is_for_dpo():
    target = Target("openai", "gpt-4o-mini-2024-07-18")
    assert not [note for note in run(target)[0].notes if "DPO" in note]
    assert [note for note in run(target, method="dpo")[0].notes if "DPO" in note]


def test_a_method_that_the_model_does_not_support():
    row = run(Target("openai", "gpt-4o-mini"), method="dpo")[0]
    assert row.unsupported == ("dpo of gpt-4o-mini-2024-07-18",)


def test_after_the_end_everything_is_closed():
    rows = run(*targets_of("openai"), today=dt.date(2027, 1, 14))
    assert len(rows) == 9
    assert all(row.closed for row in rows)


def test_a_backend_outside_the_catalogue_gives_its_own_price():
    cost = Cost(basis="quoted", low=Decimal(3), high=Decimal(3), source="them")
    row = run(Target("mine", "m", cost=cost, note="ours"))[0]
    assert row.training is cost
    assert row.title == "mine"
    assert row.notes == ("ours",)
    assert row.to_dict()["serving"]["kind"] == "unknown"


def test_rows_as_json():
    row = run(Target("together", "Qwen3.5-9B"))[0].to_dict()
    assert row["serving"]["usd_per_hour"] == [Decimal("5.49"), Decimal("8.99")]
    assert row["training"]["high"] == "4.000000"


def test_targets_of_a_provider():
    names = {t.model for t in targets_of("openai", method="dpo")}
    assert names == {"gpt-4.1-2025-04-14", "gpt-4.1-mini-2025-04-14", "gpt-4.1-nano-2025-04-14"}
    assert targets_of("nobody") == []
