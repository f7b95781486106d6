"""The conformance kit on Together, over the double."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from ftsdk.backends.base import Context
from ftsdk.util.clock import ManualClock

pytest.importorskip("together", reason="needs the extra `together`")

from ftsdk.backends.together import TogetherBackend
from ftsdk.testing.conformance import BackendConformance, LabDouble, World
from ftsdk.testing.lab.together.double import TogetherDouble
from ftsdk.types.status import JobStatus

MODEL = "Qwen/Qwen3.5-9B"
CREATE = r"/v1/fine-tunes$"
KEY = "tgp_v1_planted-key-0123456789"
START = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
STATUSES = {
    "pending": JobStatus.QUEUED,
    "queued": JobStatus.QUEUED,
    "running": JobStatus.RUNNING,
    "compressing": JobStatus.FINALIZING,
    "uploading": JobStatus.FINALIZING,
    "cancel_requested": JobStatus.CANCELLING,
    "cancelled": JobStatus.CANCELLED,
    "error": JobStatus.FAILED,
    "user_error": JobStatus.FAILED,
}
"""As Together documents them. `completed` is final only with a result: see test_together_mapping.py."""
SENT_AS = {
    "epochs": "n_epochs",
    "learning_rate": "learning_rate",
    "batch_size": "batch_size",
    "gradient_accumulation_steps": "gradient_accumulation_steps",
    "max_length": "max_seq_length",
    "warmup_ratio": "warmup_ratio",
    "weight_decay": "weight_decay",
    "max_grad_norm": "max_grad_norm",
    "schedule": "lr_scheduler.lr_scheduler_type",
    "beta": "training_method.dpo_beta",
    "method": "training_method.method",
    "rank": "training_type.lora_r",
    "alpha": "training_type.lora_alpha",
    "dropout": "training_type.lora_dropout",
    "target_modules": "training_type.lora_trainable_modules",
    "seed": "random_seed",
    "validation": "validation_file",
}


def world_of(
    double: TogetherDouble, home: Path, cls: type[TogetherBackend] = TogetherBackend
) -> World:
    """One account at the double."""
    env = {"TOGETHER_API_KEY": KEY, "TOGETHER_BASE_URL": double.base_url}

    def make(place: Path, timeout_s: float = 5) -> TogetherBackend:
        options = {"timeout_s": timeout_s}
        return cls(Context(home=place, clock=double.clock, env=env, options=options))

    def show(job_id: str, word: str | None) -> None:
        double.jobs[job_id].forced = word

    return World(
        make=make,
        home=home,
        model=MODEL,
        clock=double.clock,
        double=LabDouble(
            double, create=("POST", CREATE), status=show, jobs=lambda: len(double.jobs)
        ),
        statuses=STATUSES,
        sent_as=SENT_AS,
        untouched={"wandb_project_name": "parity"},
        secrets=(KEY,),
        unknown_id="ft-00000000-0000-0000",
        fail=lambda job_id: double.fail(job_id, "the GPU ran out of memory"),
        long_job={"hyperparameters": {"epochs": 10}},
        counts={
            "events": lambda job_id: len(double.jobs[job_id].events(double.now())),
            "logs": lambda job_id: len(double.jobs[job_id].events(double.now())),
            "checkpoints": lambda job_id: double.jobs[job_id].epochs,
            "metrics": lambda job_id: double.jobs[job_id].steps,
        },
        other_model="Qwen/Qwen3-8B",
        impatient=lambda place: make(place, 1),
    )


class TestTogether(BackendConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def world(cls, tmp_path_factory):
        with TogetherDouble(clock=ManualClock(START), keys=[KEY]) as double:
            made = world_of(double, tmp_path_factory.mktemp("together"))
            yield made
            made.backend.close()
            assert double.violations == []
