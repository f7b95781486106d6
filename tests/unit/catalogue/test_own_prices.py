"""A user's own `prices.toml` is used for every price and date of a hosted backend."""

from __future__ import annotations

import ast
import importlib.util
from decimal import Decimal
from pathlib import Path

import pytest

import ftsdk
from ftsdk.backends.base import Context
from ftsdk.backends.registry import load_backend
from ftsdk.dataset import Dataset
from ftsdk.errors import ProviderClosed
from ftsdk.types.spec import JobSpec
from ftsdk.util.clock import ManualClock

PRICES = """
as_of = 2026-11-25

[providers.openai.models."gpt-4.1-mini-2025-04-14"]
training = [{ usd_per_mtok = 4000 }]

[providers.openai.models."gpt-4.1-nano-2025-04-14".no_new_jobs_from]
day = 2025-12-31

[providers.together]
minimum = { usd = 77 }

[providers.replicate.hardware.gpu-mine]
usd_per_hour = 36

[providers.replicate.models."acme/trainer"]
hardware = "gpu-mine"
"""
MINI = "gpt-4.1-mini-2025-04-14"


@pytest.fixture
def backend(home: Path, clock: ManualClock):
    home.mkdir()
    (home / "prices.toml").write_text(PRICES)

    def make(name: str):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"the extra {name} is not installed")
        return load_backend(name)(Context(home=home, clock=clock))

    return make


def spec(provider: str, model: str, **options) -> JobSpec:
    return JobSpec.build(
        provider=provider,
        model=model,
        method="sft",
        adapter={},
        hyperparameters={"epochs": 1},
        name=None,
        seed=0,
        tags={},
        max_cost=None,
        provider_options=options,
    )


def test_openai_plans_and_bills_by_your_price(backend, rows):
    openai = backend("openai")
    planned = openai.plan(spec("openai", MINI), Dataset.load(rows(20)))
    assert "your own figures" in planned.cost.source
    assert any("$4000.00 per 1M" in line for line in planned.cost.assumptions)
    from ftsdk.backends.openai.cost import billed

    paid = billed({"model": MINI}, 1000, "openai", openai.catalogue)
    assert paid is not None
    assert paid.high == Decimal(4)


def test_openai_refuses_after_your_end_date(backend, rows):
    with pytest.raises(ProviderClosed, match="no new jobs since 2025-12-31"):
        backend("openai").check(spec("openai", "gpt-4.1-nano-2025-04-14"))


def test_together_plans_by_your_minimum(backend, rows):
    planned = backend("together").plan(spec("together", "Qwen/Qwen3.5-9B"), Dataset.load(rows(20)))
    assert planned.cost.high == Decimal(77)


def test_replicate_plans_and_caps_by_your_machine(backend, rows):
    asked = spec(
        "replicate",
        "acme/trainer:0a1b",
        destination="me/model",
        seconds=[100, 200],
        trainer="llama",
    )
    replicate = backend("replicate")
    assert replicate.estimate(asked).high == Decimal(2)
    assert replicate.training_usd_per_hour(asked) == Decimal(36)


def test_a_changed_file_is_read_again(backend, home, rows):
    together, asked = backend("together"), spec("together", "Qwen/Qwen3.5-9B")
    train = Dataset.load(rows(20))
    assert together.estimate(asked, train).high == Decimal(77)
    (home / "prices.toml").write_text(PRICES.replace("usd = 77", "usd = 78"))
    assert together.estimate(asked, train).high == Decimal(78)


def test_every_backend_uses_the_users_catalogue():
    """Each lookup of a price or a date is passed the catalogue of the backend's home."""
    asks = {"estimate_training": 99, "hosting": 2, "hourly_rate": 99, "lookup": 2}
    asks |= {
        "closed": 99,
        "warnings": 99,
        "ends_on": 99,
        "retirement_dates": 99,
        "training_tokens": 99,
    }
    found = []
    for path in Path(ftsdk.__file__).parent.joinpath("backends").rglob("*.py"):
        tree = ast.parse(path.read_text())
        ours = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
            and (node.module or "").startswith("ftsdk.catalogue")
            for alias in node.names
        }
        found += [
            f"{path.name}:{node.lineno} {node.func.id}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ours & set(asks)
            and not any(word.arg == "catalogue" for word in node.keywords)
            and len(node.args) <= asks[node.func.id]
        ]
    assert found == []
