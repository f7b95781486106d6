"""The conformance kit on Replicate, over the double."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from ftsdk.backends.base import Context
from ftsdk.util.clock import ManualClock

pytest.importorskip("httpx", reason="needs the extra `replicate`")

from ftsdk.backends.replicate import ReplicateBackend
from ftsdk.testing.conformance import BackendConformance, LabDouble, World
from ftsdk.testing.lab.replicate.double import TRAINER, VERSION, ReplicateDouble
from ftsdk.types.status import JobStatus

KEY = "r8_planted_key_0123456789"
START = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
STATUSES = {
    "starting": JobStatus.QUEUED,
    "processing": JobStatus.RUNNING,
    "failed": JobStatus.FAILED,
    "canceled": JobStatus.CANCELLED,
    "aborted": JobStatus.CANCELLED,
}
"""As Replicate documents them. `succeeded` is final only with an output: see test_replicate_mapping.py."""
NAMES = {
    "epochs": "num_train_epochs",
    "batch_size": "train_batch_size",
    "learning_rate": "learning_rate",
    "gradient_accumulation_steps": "gradient_accumulation_steps",
    "max_steps": "max_steps",
    "max_length": "max_length",
    "warmup_ratio": "warmup_ratio",
    "schedule": "lr_scheduler",
    "weight_decay": "weight_decay",
    "max_grad_norm": "max_grad_norm",
    "rank": "lora_rank",
    "alpha": "lora_alpha",
    "dropout": "lora_dropout",
    "seed": "seed",
    "validation": "validation_data",
}
EXPLODES = {
    "messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "explode"}]
}


def world_of(
    double: ReplicateDouble, home: Path, cls: type[ReplicateBackend] = ReplicateBackend
) -> World:
    """One account at the double."""
    env = {"REPLICATE_API_TOKEN": KEY, "REPLICATE_BASE_URL": double.base_url}

    def make(place: Path, timeout_s: float = 5) -> ReplicateBackend:
        options = {"timeout_s": timeout_s}
        return cls(Context(home=place, clock=double.clock, env=env, options=options))

    def show(training_id: str, word: str | None) -> None:
        double.trainings[training_id].forced = word

    def logs_of(training_id: str) -> list[str]:
        return double.trainings[training_id].logs(double.now()).splitlines()

    record = {
        "data": "train_data",
        "rows": "prompt_completion",
        "inputs": NAMES,
        "logs": "huggingface",
        "adapters": ["lora", "full"],
    }
    return World(
        make=make,
        home=home,
        model=f"{TRAINER}:{VERSION}",
        clock=double.clock,
        double=LabDouble(
            double,
            create=("POST", r"/trainings$"),
            status=show,
            jobs=lambda: len(double.trainings),
        ),
        provider_options={"destination": "lab/tuned", "trainer": record},
        statuses=STATUSES,
        sent_as={ours: f"input.{theirs}" for ours, theirs in NAMES.items()},
        untouched={"webhook": "https://hooks.example.com/done"},
        secrets=(KEY,),
        unknown_id="00000000000000000000000000",
        fails_with={"rows": [EXPLODES] * 3},
        impatient=lambda place: make(place, 1),
        counts={
            # Its lines, with the start, the run and the end.
            "events": lambda job_id: len(logs_of(job_id)) + 3,
            "logs": lambda job_id: len(logs_of(job_id)),
            "metrics": lambda _: 12,
        },
    )


class TestReplicate(BackendConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def world(cls, tmp_path_factory):
        with ReplicateDouble(clock=ManualClock(START), keys=[KEY]) as double:
            made = world_of(double, tmp_path_factory.mktemp("replicate"))
            yield made
            made.backend.close()
            assert double.violations == []
