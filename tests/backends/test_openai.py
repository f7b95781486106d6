"""The OpenAI-shaped backend against the lab: the kit, on each profile that the lab can play."""

from __future__ import annotations

import datetime as dt

import pytest

from ftsdk.backends.base import Context
from ftsdk.backends.openai import AzureBackend, CrusoeBackend, NebiusBackend, OpenAIBackend
from ftsdk.testing.conformance import BackendConformance, LabDouble, World
from ftsdk.testing.lab.openai.double import OpenAIDouble
from ftsdk.types.spec import JobSpec
from ftsdk.types.status import JobStatus
from ftsdk.util.clock import ManualClock

pytest.importorskip("openai")

START = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
KEY = "sk-planted-key-0123456789"
STATUSES = {
    "validating_files": JobStatus.VALIDATING,
    "pending": JobStatus.QUEUED,
    "queued": JobStatus.QUEUED,
    "running": JobStatus.RUNNING,
    "pausing": JobStatus.RUNNING,
    "paused": JobStatus.PAUSED,
    "resuming": JobStatus.QUEUED,
    "failed": JobStatus.FAILED,
    "cancelled": JobStatus.CANCELLED,
    "canceled": JobStatus.CANCELLED,
    "notRunning": JobStatus.QUEUED,
}
SENT_AS = {
    "epochs": "method.supervised.hyperparameters.n_epochs",
    "batch_size": "method.supervised.hyperparameters.batch_size",
    "learning_rate_multiplier": "method.supervised.hyperparameters.learning_rate_multiplier",
    "beta": "method.dpo.hyperparameters.beta",
    "method": "method.type",
    "seed": "seed",
    "validation": "validation_file",
}
BAD_ROW = {
    "messages": [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": "<|fim_suffix|>"},
    ]
}


def lab_double(double: OpenAIDouble) -> LabDouble:
    def show(job_id: str, word: str | None) -> None:
        double.jobs[job_id].forced = word

    return LabDouble(
        double,
        create=("POST", "/fine_tuning/jobs$"),
        status=show,
        jobs=lambda: len(double.jobs),
    )


def world_of(cls, double: OpenAIDouble, home, options=(), **changes) -> World:
    env = double.variables()

    def make(place, timeout_s=5):
        given = {"timeout_s": timeout_s, **dict(options)}
        return cls(Context(home=place, clock=double.clock, env=env, options=given))

    facts = {
        "model": "gpt-4.1-mini-2025-04-14",
        "statuses": STATUSES,
        "sent_as": SENT_AS,
        "secrets": (KEY,),
        "unknown_id": "ftjob-0000000000000000",
        "fails_with": {"rows": [BAD_ROW] * 12},
        "other_model": "gpt-4o-mini-2024-07-18",
        "impatient": lambda place: make(place, 1),
        "counts": {
            "events": lambda job_id: len(double.jobs[job_id].events(double.now())),
            "logs": lambda job_id: len(double.jobs[job_id].events(double.now())),
            "checkpoints": lambda job_id: len(double.jobs[job_id].checkpoints(double.now())),
        },
        "batch_create": ("POST", "/batches$"),
        **changes,
    }
    return World(make=make, home=home, clock=double.clock, double=lab_double(double), **facts)


class TestOpenAI(BackendConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def world(cls, tmp_path_factory, held):
        with OpenAIDouble(clock=ManualClock(START), keys=[KEY]) as double:
            held(double, "openai", "/v1")
            made = world_of(
                OpenAIBackend,
                double,
                tmp_path_factory.mktemp("openai"),
                untouched={
                    "integrations": [{"type": "wandb", "wandb": {"project": "parity", "tags": []}}]
                },
            )
            yield made
            made.backend.close()
            # The kit shows words that the schema does not have, on purpose.
            found = [one for one in double.violations if "is not one of ['validating" not in one]
            assert found == []


class TestAzure(BackendConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def world(cls, tmp_path_factory):
        with OpenAIDouble(clock=ManualClock(START), keys=[KEY], service="azure") as double:
            made = world_of(AzureBackend, double, tmp_path_factory.mktemp("azure"))
            yield made
            made.backend.close()


TOP_LEVEL = {
    "epochs": "hyperparameters.n_epochs",
    "batch_size": "hyperparameters.batch_size",
    "seed": "seed",
    "validation": "validation_file",
}


class TestNebius(BackendConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def world(cls, tmp_path_factory):
        with OpenAIDouble(clock=ManualClock(START), keys=[KEY], service="nebius") as double:
            made = world_of(
                NebiusBackend,
                double,
                tmp_path_factory.mktemp("nebius"),
                model="meta-llama/Llama-3.1-8B-Instruct",
                sent_as={
                    **TOP_LEVEL,
                    "learning_rate": "hyperparameters.learning_rate_multiplier",
                    "rank": "hyperparameters.lora_r",
                    "alpha": "hyperparameters.lora_alpha",
                    "dropout": "hyperparameters.lora_dropout",
                },
            )
            yield made
            made.backend.close()
            sent = [one.json() for one in double.asked("POST", "/jobs$")]
            assert all(body["hyperparameters"]["lora"] is True for body in sent)


class TestCrusoe(BackendConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def world(cls, tmp_path_factory):
        with OpenAIDouble(clock=ManualClock(START), keys=[KEY], service="crusoe") as double:
            made = world_of(
                CrusoeBackend,
                double,
                tmp_path_factory.mktemp("crusoe"),
                model="Qwen/Qwen3-8B",
                sent_as={
                    **TOP_LEVEL,
                    "learning_rate_multiplier": "hyperparameters.learning_rate_multiplier",
                },
            )
            yield made
            made.backend.close()


class TestAnyOtherService(BackendConformance):
    """A compatible service that ftsdk does not know: only `base_url` says where it is."""

    @pytest.fixture(scope="class")
    @classmethod
    def world(cls, tmp_path_factory):
        with OpenAIDouble(clock=ManualClock(START), keys=[KEY]) as double:
            made = world_of(
                OpenAIBackend,
                double,
                tmp_path_factory.mktemp("generic"),
                options={"profile": "generic"},
            )
            yield made
            made.backend.close()


def test_of_a_service_that_is_not_known_the_plan_says_whose_choice_the_adapter_is(home) -> None:
    context = Context(home=home, base_url="https://tuning.example.com/v1")
    plan = OpenAIBackend(context).plan(
        JobSpec.build(provider="openai", model="m", adapter=None),
    )
    assert "adapter: full → the service's own" in plan.explain()
