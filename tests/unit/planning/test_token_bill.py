"""The tokens a provider would bill: tokens × epochs, truncation, minimum charges, unknowns."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import ftsdk
from ftsdk.config import load_config
from ftsdk.dataset import validate

ROWS = [
    {"messages": [{"role": "user", "content": f"What is {i} and {i}?"}, {"role": "assistant", "content": f"It is {2 * i}, of course."}]}
    for i in range(40)
]  # fmt: skip
pytest.importorskip("bpe_openai")


def report(home: Path, provider: str, model: str, **more: Any) -> ftsdk.DatasetReport:
    with ftsdk.Client(home=home) as client:
        return client.validate(ROWS, provider=provider, model=model, **more)


def test_tokens_times_epochs_and_the_price(tmp_path: Path) -> None:
    checked = report(tmp_path, "openai", "gpt-4.1-mini-2025-04-14")
    bill = checked.billed_tokens["openai"]
    assert bill.low == bill.high == 3 * checked.tokens.total
    assert bill.usd_high == Decimal("5.00") * bill.high / 1_000_000
    assert "openai would bill" in str(checked)
    assert checked.to_dict()["billed_tokens"]["openai"]["usd_high"] == str(bill.usd_high)


def test_without_a_model_the_price_is_unknown(tmp_path: Path) -> None:
    with ftsdk.Client(home=tmp_path) as client:
        checked = client.validate(ROWS, provider="together")
    assert checked.billed_tokens["together"].usd_high is None
    assert "the price depends on the base model" in str(checked)


def test_a_minimum_charge_and_a_rough_count(tmp_path: Path) -> None:
    checked = report(tmp_path, "together", "Qwen/Qwen3-8B")
    bill = checked.billed_tokens["together"]
    assert bill.low < checked.tokens.total < bill.high
    assert bill.usd_low == Decimal("4.00")
    assert any("minimum" in one for one in bill.assumptions)


def test_truncated_rows_and_validation_rows_are_assumptions(tmp_path: Path) -> None:
    checked = report(
        tmp_path, "openai", "gpt-4.1-mini-2025-04-14", max_length=20, validation=ROWS[:3]
    )
    bill = checked.billed_tokens["openai"]
    assert checked.tokens.kept < checked.tokens.total
    assert bill.high == 3 * checked.tokens.kept
    assert any("truncated at 20 tokens" in one for one in bill.assumptions)
    assert any(f"{checked.validation_tokens} validation" in one for one in bill.assumptions)


def test_without_packing_every_row_is_billed_at_full_length(tmp_path: Path) -> None:
    text = 'profile = "p"\n[profiles.p.provider_options]\npacking = false\n'
    (tmp_path / "ftsdk.toml").write_text(text, encoding="utf-8")
    config = load_config(folder=tmp_path, env={})
    with ftsdk.Client(home=tmp_path, config=config) as client:
        checked, open_ended = (
            client.validate(ROWS, provider="together", model="Qwen/Qwen3-8B", **more)
            for more in ({"max_length": 4096}, {})
        )
    bill = checked.billed_tokens["together"]
    assert bill.low == bill.high == 40 * 4096
    assert "padding is not billed" not in str(bill)
    assert open_ended.billed_tokens["together"].low is None
    assert "which is not given" in str(open_ended)


@pytest.mark.parametrize(
    ("provider", "word"), [("replicate", "by the second"), ("nebius", "epochs are not given")]
)
def test_unknown_values_are_reported(tmp_path: Path, provider: str, word: str) -> None:
    bill = report(tmp_path, provider, "acme/some-model").billed_tokens[provider]
    assert bill.low is None
    assert word in str(bill)


def test_local_rows_are_not_billed_and_plain_validation_knows_no_prices(tmp_path: Path) -> None:
    assert report(tmp_path, "local", "smollm2-135m").billed_tokens == {}
    assert validate(ROWS, provider="openai", model="gpt-4.1").billed_tokens == {}


def test_rows_with_faults_are_said_not_to_be_counted(tmp_path: Path) -> None:
    model = "gpt-4.1-mini-2025-04-14"
    whole = report(tmp_path, "openai", model).billed_tokens["openai"]
    assert not any("not counted" in one for one in whole.assumptions)
    path = tmp_path / "rows.jsonl"
    lines = [json.dumps(row) for row in ROWS]
    for faulty, said in (
        (['{"messages": ['], "1 row with a fault is not counted"),
        (['{"messages": [', '{"messages": []}', "[]"], "3 rows with faults are not counted"),
    ):
        path.write_text("\n".join(lines[:20] + faulty + lines[20:]) + "\n")
        with ftsdk.Client(home=tmp_path) as client:
            checked = client.validate(path, provider="openai", model=model)
        bill = checked.billed_tokens["openai"]
        assert bill.low == whole.low
        assert said in bill.assumptions
        assert said in str(checked)
