"""A thousand jobs are watched by pages of the list, within the rate limit and little memory."""

from __future__ import annotations

import tracemalloc

import pytest

import ftsdk
from ftsdk.jobs.follow import poll_once
from ftsdk.testing.lab import Stage, Timeline
from ftsdk.testing.lab.openai.double import OpenAIDouble
from ftsdk.testing.lab.openai.jobs import FakeJob
from ftsdk.types.job import JobSnapshot
from ftsdk.types.status import JobStatus
from ftsdk.util.clock import ManualClock
from ftsdk.util.ids import client_token, new_job_id, submission_tag

pytest.importorskip("openai")
MODEL = "gpt-4.1-mini-2025-04-14"
STAGES = (
    Stage("validating_files", 0),
    Stage("queued", 5),
    Stage("running", 20),
    Stage("succeeded", 600),
)


def many(double, client, count):
    """So many jobs, here and there, as if each had been created."""
    for number in range(count):
        now = client.clock.now()
        job_id = new_job_id(now)
        identity = double.new_id("ftjob-")
        double.jobs[identity] = FakeJob(
            id=identity,
            request={"model": MODEL, "training_file": "file-x", "metadata": {}, "seed": number},
            timeline=Timeline(now, STAGES, training="running", trained="succeeded"),
            created=now,
            rows=10,
            tokens=100,
            content=b"",
        )
        client.journal.add(
            JobSnapshot(
                id=job_id, provider="openai", provider_job_id=identity, model=MODEL,
                status=JobStatus.VALIDATING, tag=submission_tag(job_id),
                client_token=client_token(), fingerprint="x", created_at=now, updated_at=now,
            )
        )  # fmt: skip


def test_a_thousand_jobs(memory):
    clock = ManualClock()
    with OpenAIDouble(clock=clock) as double:
        client = ftsdk.Client(home=memory, clock=clock, env=double.variables())
        many(double, client, 1000)
        snapshots = [job.snapshot for job in client.list_jobs()]
        assert len(snapshots) == 1000
        pace = client.backend("openai").capabilities.poll_s
        poll_once(client.session, snapshots)
        tracemalloc.start()
        before = len(double.requests)
        for _ in range(3):
            clock.advance(pace)
            snapshots = poll_once(client.session, snapshots)
        asked = len(double.requests) - before
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        client.close()
    print(f"{asked} requests for 3 polls of 1,000 jobs, {peak / 1e6:.0f} MB at most")
    assert {one.status for one in snapshots} == {JobStatus.RUNNING}
    assert {one.method for one in double.requests} == {"GET"}
    assert all(one.path.endswith("/fine_tuning/jobs") for one in double.requests)
    assert asked / (3 * pace) < 2
    assert peak < 150e6
