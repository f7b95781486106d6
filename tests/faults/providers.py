"""The hosted providers as these tests use them: double, client, create call, statuses."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import datetime as dt
import importlib.util
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import ftsdk
from ftsdk.config import Config
from ftsdk.session import Horizon
from ftsdk.testing.lab import Double, Lab
from ftsdk.testing.lab.replicate.double import TRAINER, VERSION
from ftsdk.util.clock import Clock, ManualClock

START = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
ROWS = [
    {
        "messages": [
            {"role": "user", "content": f"question number {i}"},
            {"role": "assistant", "content": f"the answer is {i * 7}"},
        ]
    }
    for i in range(10)
]
FOREVER_S = 1e9


@dataclass(frozen=True)
class Provider:
    """One hosted provider. Paths are regular expressions; `lists` is the field with the jobs in a list."""

    name: str
    needs: str
    key_variable: str
    create: str
    list_path: str
    lists: str
    model: str
    jobs: Callable[[Any], MutableMapping[str, Any]]
    tag: Callable[[Mapping[str, Any]], str]
    ended: frozenset[str]
    unknown_id: str
    statuses: Mapping[str, str]
    """Every documented raw status, and the status of ftsdk for it."""
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        return self.name

    @property
    def succeeded_status(self) -> str:
        """The raw status of a job that succeeded."""
        return next(raw for raw, status in self.statuses.items() if status == "succeeded")

    def is_installed(self) -> bool:
        """Return whether the package that makes its calls is installed."""
        return importlib.util.find_spec(self.needs) is not None

    @contextlib.contextmanager
    def double(self, clock: Clock | None = None, **options: Any) -> Iterator[Any]:
        """Yield the double, serving."""
        with Lab(self.name, clock=clock or ManualClock(START), **options) as lab:
            yield lab[self.name]

    def client(
        self, double: Double, home: Path, *, timeout_s: float = 10, horizon: Any = None, **env: str
    ) -> ftsdk.Client:
        """Return a client of the double, on the double's clock."""
        variables = {**double.variables(), **env}
        config = Config(data={"options": {"timeout_s": timeout_s}}, env=variables)
        return ftsdk.Client(
            home=home,
            clock=double.clock,
            env=variables,
            config=config,
            horizon=horizon or Horizon(),
        )

    def send(self, client: ftsdk.Client, **given: Any) -> ftsdk.FineTuneJob:
        """Create one job and return it."""
        rows = given.pop("rows", ROWS)
        return client.create_job(
            rows,
            **{"provider": self.name, "model": self.model, "provider_options": self.options}
            | given,
        )

    def inject(self, double: Double, behaviour: Any, **facts: Any) -> Any:
        """Add a fault to the next create call."""
        return double.faults.add(behaviour, method="POST", path=self.create, **facts)

    def creates(self, double: Double) -> collections.Counter[str]:
        """Return the number of create calls for each tag of ftsdk."""
        return collections.Counter(
            self.tag(one.json()) for one in double.asked("POST", self.create)
        )

    def set_status(self, double: Any, job_id: str, status: str | None) -> None:
        """Let the provider report this raw status from now on; None: the computed one."""
        self.jobs(double)[job_id].forced = status

    def run_forever(self, double: Any) -> None:
        """Let jobs created from now on run for thirty years."""
        double.stages = tuple(
            stage if stage.at_s <= 2 else dataclasses.replace(stage, at_s=stage.at_s + FOREVER_S)
            for stage in double.stages
        )


OPENAI = Provider(
    name="openai",
    needs="openai",
    key_variable="OPENAI_API_KEY",
    create="/fine_tuning/jobs$",
    list_path="/fine_tuning/jobs$",
    lists="data",
    model="gpt-4.1-mini-2025-04-14",
    jobs=lambda double: double.jobs,
    tag=lambda body: str(body["metadata"]["ftsdk_submission"]),
    ended=frozenset({"succeeded", "failed", "cancelled"}),
    unknown_id="ftjob-0000000000000000",
    statuses={
        "validating_files": "validating",
        "queued": "queued",
        "running": "running",
        "paused": "paused",
        "succeeded": "succeeded",
        "failed": "failed",
        "cancelled": "cancelled",
        # of Azure, and of the pause that its own client handles
        "pending": "queued",
        "pausing": "running",
        "resuming": "queued",
        # of the first API
        "notRunning": "queued",
        "canceled": "cancelled",
    },
)
TOGETHER = Provider(
    name="together",
    needs="together",
    key_variable="TOGETHER_API_KEY",
    create="/v1/fine-tunes$",
    list_path="/v1/fine-tunes$",
    lists="data",
    model="Qwen/Qwen3.5-9B",
    jobs=lambda double: double.jobs,
    tag=lambda body: str(body["suffix"]).rpartition("-")[2],
    ended=frozenset({"completed", "error", "user_error", "cancelled"}),
    unknown_id="ft-00000000-0000-0000",
    statuses={
        "pending": "queued",
        "queued": "queued",
        "running": "running",
        "compressing": "finalizing",
        "uploading": "finalizing",
        "completed": "succeeded",
        "cancel_requested": "cancelling",
        "cancelled": "cancelled",
        "error": "failed",
        "user_error": "failed",
    },
)
REPLICATE = Provider(
    name="replicate",
    needs="httpx",
    key_variable="REPLICATE_API_TOKEN",
    create="/trainings$",
    list_path="/v1/trainings$",
    lists="results",
    model=f"{TRAINER}:{VERSION}",
    jobs=lambda double: double.trainings,
    tag=lambda body: str(body["input"]["train_data"]).partition("#ftsdk=")[2],
    ended=frozenset({"succeeded", "failed", "canceled", "aborted"}),
    unknown_id="00000000000000000000000000",
    statuses={
        "starting": "queued",
        "processing": "running",
        "succeeded": "succeeded",
        "failed": "failed",
        "canceled": "cancelled",
        "aborted": "cancelled",
    },
    options={"destination": "lab/tuned", "hardware": "gpu-l40s"},
)
PROVIDERS = (OPENAI, TOGETHER, REPLICATE)


def each_provider(argument: str = "provider") -> Any:
    """Return a `parametrize` over the providers; those whose package is missing are skipped."""
    return pytest.mark.parametrize(
        argument,
        [
            pytest.param(
                one,
                id=one.name,
                marks=pytest.mark.skipif(
                    not one.is_installed(), reason=f"{one.needs} is not installed"
                ),
            )
            for one in PROVIDERS
        ],
    )
