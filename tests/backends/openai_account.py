"""An account at the double of OpenAI: its backend, a fine-tune that was made from elsewhere, and rows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ftsdk
from ftsdk.backends.base import Context
from ftsdk.testing.lab.openai.double import OpenAIDouble
from ftsdk.util.clock import ManualClock

MODEL = "gpt-4.1-mini-2025-04-14"


def rows_of(name: str, count: int, labels: int | None = None) -> list[dict[str, Any]]:
    """Return rows that ask different things; there are `labels` different answers, or one for each row."""
    return [
        {
            "messages": [
                {"role": "user", "content": f"{name} {i}, {name} {i * 7}?"},
                {"role": "assistant", "content": f"answer {i if labels is None else i % labels}"},
            ]
        }
        for i in range(count)
    ]


def tune(home: Path, double: OpenAIDouble, clock: ManualClock, **options: Any) -> str:
    """Train a fine-tune from another home and return its name."""
    with ftsdk.Client(home=home, clock=clock, env=double.variables()) as client:
        rows = options.pop("rows", None) or rows_of("trained", 12)
        job = client.create_job(rows, provider="openai", model=MODEL, **options)
        clock.advance(600)
        return job.refresh().result().id


@pytest.fixture(name="double")
def account_of_the_environment(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> Iterator[OpenAIDouble]:
    """A double that the variables of the environment name, as a command reads them."""
    with OpenAIDouble(clock=clock) as one:
        for name, value in one.variables().items():
            monkeypatch.setenv(name, value)
        yield one


# --- for tests of the backend itself ---


@pytest.fixture(name="clock")
def last_of_november() -> ManualClock:
    """A clock at the day before December 2026."""
    return ManualClock(dt.datetime(2026, 11, 30, tzinfo=dt.UTC))


@pytest.fixture(name="double")
def account(clock: ManualClock) -> Iterator[OpenAIDouble]:
    """A double that nothing names."""
    with OpenAIDouble(clock=clock) as one:
        yield one


@pytest.fixture(name="backend")
def backend_of_account(double: OpenAIDouble, clock: ManualClock, tmp_path: Path) -> Iterator[Any]:
    """The backend of the account."""
    from ftsdk.backends.openai import OpenAIBackend

    made = OpenAIBackend(Context(home=tmp_path, clock=clock, env=double.variables()))
    yield made
    made.close()
