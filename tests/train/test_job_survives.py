"""`kill -9` of the application, the trainer or the supervisor: no job is lost, each status is right."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ftsdk.client import Client
from ftsdk.config import Config
from ftsdk.errors import JobFailed, NeedsDecision
from ftsdk.jobs.job import FineTuneJob
from ftsdk.types.status import JobStatus
from tests.train import tiny

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="finds processes through /proc"
)

STEPS = 120
APPLICATION = """
import json, sys
from ftsdk.client import Client
from ftsdk.config import Config
home, model, rows, steps = sys.argv[1:]
client = Client(home=home, config=Config(env={}), env={})
job = client.create_job(
    json.loads(open(rows).read()), provider="local", model=model, name="survivor",
    hyperparameters={"max_steps": int(steps), "batch_size": 4, "epochs": 1000},
    provider_options={"checkpoint_every_steps": 10},
)
print(job.id, flush=True)
job.wait()
"""


@pytest.fixture
def client(home: Path) -> Iterator[Client]:
    made = Client(home=home, config=Config(env={}), env={})
    yield made
    for job in made.list_jobs():
        for pid in family(job):
            os.kill(pid, signal.SIGKILL)
    made.close()


@pytest.fixture
def application(
    home: Path, tiny_model: Path, tmp_path: Path
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A program that created a job and waits for it, with its job's id."""
    rows = tmp_path / "rows.json"
    rows.write_text(json.dumps(tiny.rows(40)))
    argv = [sys.executable, "-c", APPLICATION, str(home), str(tiny_model), str(rows), str(STEPS)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield process, process.stdout.readline().strip()
    process.kill()
    process.wait()
    process.stdout.close()


def family(job: FineTuneJob) -> list[int]:
    """The process ids of the supervisor and its trainer; empty when they are gone."""
    path = Path(job.session.home) / "runs" / job.id / "pid.json"
    supervisor = json.loads(path.read_text())["supervisor_pid"]
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children")
    if not children.exists():
        return []
    return [supervisor, *map(int, children.read_text().split())]


def until(what: Callable[[], bool], seconds: float = 60) -> None:
    """Poll until `what()` is true; fail after `seconds`."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not become true in time"
        time.sleep(0.02)


def training(client: Client, job_id: str, step: int = 15) -> FineTuneJob:
    """The job, once it has trained `step` steps."""
    job = client.get_job(job_id)

    def far_enough() -> bool:
        job.refresh()
        assert not job.is_final, job.logs(tail=20)
        return bool(job.progress and (job.progress.step or 0) >= step)

    until(far_enough)
    return job


def kill(*pids: int) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def finished_as_if_nothing_had_happened(job: FineTuneJob) -> None:
    assert job.wait(timeout=120).status is JobStatus.SUCCEEDED
    points = job.metrics()
    steps = [p.step for p in points if p.train_loss is not None]
    assert steps == sorted(set(steps))
    assert steps[-1] == STEPS
    assert (job.result().path / "adapter_model.safetensors").is_file()  # type: ignore[operator]


def test_the_application_dies(
    client: Client, application: tuple[subprocess.Popen[str], str]
) -> None:
    process, job_id = application
    job = training(client, job_id)
    kill(process.pid)
    process.wait()
    assert job.refresh().status is JobStatus.RUNNING
    assert [j.id for j in client.list_jobs()] == [job_id]
    finished_as_if_nothing_had_happened(job)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The trainer alone dies with `--long`; the death of both has all of it, too."""
    if "with_application" in metafunc.fixturenames:
        who = {"trainer": False, "both": True}
        if not metafunc.config.getoption("--long"):
            del who["trainer"]
        metafunc.parametrize("with_application", list(who.values()), ids=list(who))


def test_the_trainer_dies(
    client: Client, application: tuple[subprocess.Popen[str], str], with_application: bool
) -> None:
    process, job_id = application
    job = training(client, job_id)
    if with_application:
        kill(process.pid)
    kill(family(job)[1])
    until(lambda: job.refresh().is_final)
    assert job.status is JobStatus.FAILED
    with pytest.raises(JobFailed) as caught:
        job.result()
    assert "SIGKILL" in str(caught.value) or "signal 9" in str(caught.value)
    assert job.snapshot.error is not None
    assert job.snapshot.error["signal"] in (9, "SIGKILL")
    assert client.get_job(job_id).status is JobStatus.FAILED
    finished_as_if_nothing_had_happened(job.resume())


def test_everything_dies(client: Client, application: tuple[subprocess.Popen[str], str]) -> None:
    process, job_id = application
    job = training(client, job_id)
    kill(process.pid, *family(job))
    until(lambda: job.refresh().status is JobStatus.PAUSED)
    assert job.raw_status == "interrupted"
    assert "resume continues it from step" in job.snapshot.message
    with pytest.raises(NeedsDecision, match="cannot continue by itself"):
        job.wait(timeout=10)
    finished_as_if_nothing_had_happened(job.resume())


def test_the_supervisor_dies_and_the_trainer_goes_on(
    client: Client, application: tuple[subprocess.Popen[str], str]
) -> None:
    _, job_id = application
    job = training(client, job_id)
    kill(family(job)[0])
    assert job.refresh().status is JobStatus.RUNNING
    finished_as_if_nothing_had_happened(job)
