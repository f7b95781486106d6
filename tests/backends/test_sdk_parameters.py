"""The parameters of OpenAI's and Replicate's SDK beside our arguments: taken, or refused by name."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest

import ftsdk
from ftsdk.errors import Unsupported
from ftsdk.testing.lab import Lab
from tests.backends.hosted_worlds import HOSTED


@pytest.fixture(params=["openai", "replicate"])
def provider(request: pytest.FixtureRequest) -> str:
    pytest.importorskip(request.param, reason=f"needs the extra `{request.param}`")
    return str(request.param)


@pytest.fixture
def double(provider: str, clock: Any) -> Iterator[Any]:
    with Lab(provider, clock=clock) as lab:
        yield lab[provider]


@pytest.fixture
def client(double: Any, clock: Any, home: Any) -> Iterator[ftsdk.Client]:
    with ftsdk.Client(home=home, env=double.variables(), clock=clock) as one:
        yield one


TAKEN = {
    "openai": {"hyperparameters", "integrations", "metadata", "suffix"},
    "replicate": {"input", "destination", "webhook", "webhook_events_filter"},
}
BESIDE = {
    "openai": {"n_epochs", "epochs", "batch_size", "learning_rate_multiplier", "beta"},
    "replicate": {"webhook_completed"},
}
"""Names that are no parameters of the method and that a user may take for one."""


def parameters(provider: str) -> set[str]:
    """Return the names that the SDK's create method takes."""
    if provider == "openai":
        from openai.resources.fine_tuning.jobs import Jobs

        return set(inspect.signature(Jobs.create).parameters) - {"self"}
    from replicate.training import Trainings

    named = set(inspect.signature(Trainings.create).parameters) - {"self", "args", "params"}
    return named | set(Trainings.CreateTrainingParams.__annotations__)


def test_each_parameter_is_an_option_or_is_refused_before_anything_is_sent(
    provider: str, client: ftsdk.Client, double: Any
) -> None:
    names = parameters(provider)
    assert TAKEN[provider] <= names
    job = HOSTED[provider].job
    for name in sorted((names | BESIDE[provider]) - TAKEN[provider]):
        options = {**job.get("provider_options", {}), name: {"a": 1}}
        with pytest.raises(Unsupported, match=rf"provider_options\.{name}\b") as caught:
            HOSTED[provider].new(client, provider_options=options)
        assert caught.value.submitted == "no", name
    assert double.count("POST", ".") == 0
    assert client.list_jobs() == []
