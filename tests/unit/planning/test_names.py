"""A misspelt hyperparameter or model is reported with the nearest right names, and nothing is sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_type_hints

import pytest

import ftsdk
from ftsdk.catalogue.load import has_name, shipped
from ftsdk.errors import SpecError, UnknownModel, UsageError
from ftsdk.planning.arguments import HyperparameterOptions
from ftsdk.planning.model_names import near_models
from ftsdk.testing.conformance.world import chat_rows
from ftsdk.testing.lab.openai.double import OpenAIDouble
from ftsdk.types.spec import Hyperparameters, misspelt

MODEL = "gpt-4.1-mini-2025-04-14"


def test_every_hyperparameter_is_a_keyword_of_the_same_type() -> None:
    keywords, fields = get_type_hints(HyperparameterOptions), get_type_hints(Hyperparameters)
    assert list(keywords) == list(Hyperparameters.model_fields)
    assert keywords == {name: fields[name] for name in keywords}


def test_keywords_and_the_table_make_one_spec(client, rows) -> None:
    job = client.create_job(rows(12), epochs=3, hyperparameters={"batch_size": 4})
    asked = job.snapshot.spec["hyperparameters"]
    assert (asked["epochs"], asked["batch_size"]) == (3, 4)
    assert client.plan(rows(12), learning_rate=1e-4).sent()["learning_rate"] == 1e-4


def test_a_hyperparameter_in_both_places_is_refused(client, rows) -> None:
    with pytest.raises(UsageError, match="epochs is given twice"):
        client.plan(rows(12), epochs=3, hyperparameters=Hyperparameters(epochs=3))


@pytest.mark.parametrize(
    ("name", "meant"),
    [("epoch", "'epochs'"), ("learningrate", "'learning_rate'"), ("lr", "'learning_rate'")],
)
def test_a_misspelt_hyperparameter_names_the_nearest(client, rows, name, meant) -> None:
    with pytest.raises(SpecError, match=f"did you mean {meant}"):
        client.plan(rows(12), hyperparameters={name: 1})
    with pytest.raises(SpecError, match=f"did you mean {meant}"):
        Hyperparameters(**{name: 1})


def test_a_misspelt_keyword_and_adapter_field_too(client, rows) -> None:
    with pytest.raises(TypeError, match="did you mean 'batch_size'"):
        client.plan(rows(12), batchsize=3)
    with pytest.raises(SpecError, match=r"adapter\.lora_r: is not a field of LoRA.*'rank'"):
        client.plan(rows(12), adapter={"lora_r": 8})
    assert client.list_jobs() == []


@pytest.mark.parametrize("name", ["destination", "wandb_api_key", "packing", "trainer", "threads"])
def test_an_option_of_a_provider_is_no_slip(name: str) -> None:
    assert misspelt(name) is None


# --- models ---


def test_the_catalogue_knows_names_and_suggests_near_ones() -> None:
    assert has_name("openai", MODEL.upper(), shipped())
    assert not has_name("openai", "gpt-4.1-mni", shipped())
    assert near_models("openai", "gpt-4.1-mini-2025-04-15", shipped())[0] == MODEL
    assert near_models("openai", MODEL, shipped()) == []
    assert near_models("openai", "something-else-7b", shipped()) == []
    assert near_models("fake", "gpt-4.1-mni", shipped()) == []


@pytest.fixture
def double(clock) -> Iterator[OpenAIDouble]:
    pytest.importorskip("openai")
    with OpenAIDouble(clock=clock) as made:
        yield made


@pytest.fixture
def openai(double, clock, home) -> Iterator[ftsdk.Client]:
    with ftsdk.Client(home=home, clock=clock, env=double.variables()) as made:
        yield made


def test_a_misspelt_model_is_refused_before_it_is_journaled(openai, double) -> None:
    with pytest.raises(UnknownModel) as caught:
        openai.create_job(chat_rows(), provider="openai", model="gpt-4.1-mni-2025-04-14")
    assert f"did you mean {MODEL!r}" in str(caught.value)
    assert caught.value.submitted == "no"
    assert openai.list_jobs() == []
    assert {one.method for one in double.requests} == {"GET"}


def test_a_name_of_the_catalogue_is_not_asked_for(openai, double) -> None:
    openai.create_job(chat_rows(), provider="openai", model=MODEL)
    assert not [one for one in double.requests if "/models" in one.path]


def test_a_plan_asks_nobody(openai, double) -> None:
    openai.plan(chat_rows(), provider="openai", model="gpt-4.1-mni-2025-04-14")
    assert list(double.requests) == []


def test_a_provider_out_of_reach_is_no_fault_of_the_name(openai, double) -> None:
    double.faults.add("status", path="/models", status=503, times=99)
    with pytest.raises(ftsdk.FtsdkError) as caught:
        openai.create_job(chat_rows(), provider="openai", model="gpt-4.1-mni-2025-04-14")
    assert not isinstance(caught.value, UnknownModel)
