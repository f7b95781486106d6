"""Ten thousand faulted submissions and reads over real sockets: one create call for one job.

The short tier runs some; `FTSDK_WIRE_FAULTS=10000` runs them all.
"""

from __future__ import annotations

import collections
import os
import pathlib
import random
import tempfile

import pytest

import ftsdk
from ftsdk.backends.hosted import RetryBudget
from ftsdk.clock import ManualClock
from ftsdk.errors import FtsdkError
from ftsdk.records import JobStatus
from ftsdk.submission import Horizon
from ftsdk.testing.lab.openai import OpenAIDouble

pytest.importorskip("openai")

COUNT = int(os.environ.get("FTSDK_WIRE_FAULTS", "120"))
CREATE = ("POST", "/fine_tuning/jobs$")
ROWS = [
    {
        "messages": [
            {"role": "user", "content": f"q {i}"},
            {"role": "assistant", "content": f"a {i}"},
        ]
    }
    for i in range(10)
]
ENDED = ("succeeded", "failed", "cancelled")
# (behaviour, whether the double may have acted, facts)
FAULTS = [
    ("close", (False, True), {}),
    ("reset", (False, True), {}),
    ("cut", (True,), {}),
    ("html", (False, True), {}),
    ("empty", (False, True), {}),
    ("drop", (True,), {"field": "id"}),
    ("rename", (True,), {"field": "id", "value": "job_id"}),
    ("set", (True,), {"field": "id", "value": "not an id"}),
    ("set", (True,), {"field": "id", "value": 7}),
    ("redirect", (False, True), {"value": "http://127.0.0.1:9/"}),
    *(
        ("status", (False, True), {"status": code})
        for code in (408, 409, 425, 500, 502, 503, 504, 529)
    ),
    ("status", (False, True), {"status": 429, "retry_after": "2"}),
    ("status", (False,), {"status": 429, "retry_after": "1e9"}),
    *(("status", (False,), {"status": code}) for code in (400, 401, 403, 404, 413, 422)),
]
READS = [
    ("close", {}), ("reset", {}), ("cut", {}), ("html", {}), ("empty", {}),
    ("status", {"status": 503}), ("status", {"status": 500}),
    ("status", {"status": 429, "retry_after": "3"}),
]  # fmt: skip


@pytest.fixture
def memory(tmp_path):
    """A folder in memory where there is one: here the wire is tried, not the disk."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="ftsdk-") as place:
        yield pathlib.Path(place)


class Endless(RetryBudget):
    """Retries are counted elsewhere; here each read is to recover."""

    def take(self):
        return True


class World:
    def __init__(self, double, home, seed=0):
        self.double, self.chance = double, random.Random(seed)
        self.clock = double.clock
        self.client = ftsdk.Client(
            home=home,
            clock=self.clock,
            env=double.variables(),
            horizon=Horizon(look_s=60, while_creating_s=4),
        )
        self.backend = self.client.backend("openai")
        self.backend.wire.reads.budget = Endless()
        self.told = collections.Counter()

    def submit(self):
        """One submission whose create call goes wrong, and perhaps a read, too."""
        behaviour, acts, facts = self.chance.choice(FAULTS)
        acted = self.chance.choice(acts)
        if self.chance.random() < 0.1:
            self.double.lists_before_visible = self.chance.randint(0, 4)
        self.double.faults.add(behaviour, method="POST", path=CREATE[1], acted=acted, **facts)
        if self.chance.random() < 0.3:
            name, more = self.chance.choice(READS)
            self.double.faults.add(name, method="GET", **more)
        before = set(self.double.jobs)
        try:
            job = self.client.create_job(
                ROWS,
                provider="openai",
                model="gpt-4.1-mini-2025-04-14",
                seed=self.chance.randrange(1000),
            )
            job_id = job.id
        except FtsdkError as error:
            job_id = error.job_id
            self.told[type(error).__name__, error.submitted] += 1
        self.double.faults.clear()
        self.double.lists_before_visible = 0
        return job_id, set(self.double.jobs) - before

    def settle(self, job_id):
        """Look until the job is known, or the time to look is over."""
        for _ in range(8):
            (job,) = self.client.reconcile(job_id)
            if job.status is not JobStatus.IN_DOUBT:
                return job
            self.clock.advance(10)
        return job


def sends(double):
    """Create calls per mark."""
    return collections.Counter(
        one.json()["metadata"]["ftsdk_submission"] for one in double.asked(*CREATE)
    )


def run(world, count):
    lost = 0
    for _ in range(count):
        job_id, made = world.submit()
        assert job_id is not None
        job = world.settle(job_id)
        assert len(made) <= 1, "two jobs out of one submission"
        if made:
            assert job.provider_job_id == min(made), "the job is there, and was not found"
        else:
            lost += 1
            assert job.provider_job_id is None
            assert job.status in (JobStatus.IN_DOUBT, JobStatus.FAILED, JobStatus.CREATED)
        world.double.jobs.clear()  # a double of ten thousand jobs would be tried for its own speed
    return lost


def test_one_create_call_for_one_job(memory):
    with OpenAIDouble(clock=ManualClock()) as double:
        world = World(double, memory)
        lost = run(world, COUNT)
        most = max(sends(double).values())
        world.client.close()
    print(
        f"{COUNT} submissions, {double.faults.shown} faults shown, {lost} never made, {dict(world.told)}"
    )
    assert most == 1
    assert double.faults.shown >= COUNT
    assert max(world.clock.slept, default=0) <= 120


def test_the_harness_catches_the_sdks_own_retries(tmp_path, monkeypatch):
    """With the SDK as it comes, a lost answer sends the create call again."""
    import openai

    plain = openai.OpenAI

    def as_it_comes(**options):
        return plain(**{**options, "max_retries": 2})

    monkeypatch.setattr(openai, "OpenAI", as_it_comes)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with OpenAIDouble(clock=ManualClock()) as double:
        world = World(double, tmp_path)
        double.faults.add("close", method="POST", path=CREATE[1], acted=True)
        world.client.create_job(ROWS, provider="openai", model="gpt-4.1-mini-2025-04-14")
        world.client.close()
    assert max(sends(double).values()) == 2
    assert len(double.jobs) == 2


def test_reads_recover(memory):
    chance = random.Random(1)
    with OpenAIDouble(clock=ManualClock()) as double:
        world = World(double, memory)
        job = world.client.create_job(ROWS, provider="openai", model="gpt-4.1-mini-2025-04-14")
        for _ in range(COUNT):
            for _ in range(chance.randint(1, 2)):
                name, facts = chance.choice(READS)
                double.faults.add(name, method="GET", **facts)
            assert job.refresh().status.is_remote
            double.faults.clear()
        assert {one.method for one in double.asked(None, "/fine_tuning/jobs/ftjob-[^/]*$")} == {
            "GET"
        }
        world.client.close()
    assert max(world.clock.slept) <= 120


def test_an_answer_with_another_jobs_id_is_not_believed(tmp_path):
    with OpenAIDouble(clock=ManualClock()) as double:
        world = World(double, tmp_path)
        first = world.client.create_job(ROWS, provider="openai", model="gpt-4.1-mini-2025-04-14")
        double.faults.add(
            "set", method="POST", path=CREATE[1], field="id", value=first.provider_job_id
        )
        with pytest.raises(FtsdkError) as caught:
            world.client.create_job(ROWS, provider="openai", model="gpt-4.1-2025-04-14")
        assert caught.value.submitted == "maybe"
        job = world.settle(caught.value.job_id)
        assert job.provider_job_id not in (None, first.provider_job_id)
        world.client.close()


def test_a_hanging_create_is_in_doubt_and_found(tmp_path):
    with OpenAIDouble(clock=ManualClock()) as double:
        world = World(double, tmp_path)
        config = ftsdk.config.Config(data={"options": {"timeout_s": 0.3}}, env=double.variables())
        client = ftsdk.Client(
            home=tmp_path / "b", clock=world.clock, env=double.variables(), config=config
        )
        double.faults.add("hang", method="POST", path=CREATE[1], acted=True)
        job = client.create_job(ROWS, provider="openai", model="gpt-4.1-mini-2025-04-14")
        assert job.provider_job_id in double.jobs
        double.faults.add("drip", method="GET", pause_s=0.0005)
        assert job.refresh().provider_job_id in double.jobs
        assert max(sends(double).values()) == 1
        client.close()
        world.client.close()
