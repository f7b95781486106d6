"""A thousand jobs in one `ftsdk watch`: list calls, request rate and memory.

`watch` runs in a process of its own, so that its peak of resident memory is its own. This test drives
its clock, and counts the request rate by that clock. `--long` watches all jobs to their end; the short
tier has 400 of them.
"""

from __future__ import annotations

import collections
import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ftsdk.types.status import JobStatus
from ftsdk.util.clock import ManualClock
from ftsdk.util.ids import client_token, new_job_id, submission_tag
from tests.faults.providers import START, each_provider

JOBS, SHORT_JOBS = 1000, 400
"""A job that is asked for at every poll would be 20 requests a second of 400 jobs."""
MOST_BYTES = 150e6
MOST_PER_S = 2.0
WATCHER = f"""
import os, sys
import ftsdk.session
from ftsdk.util.clock import ManualClock
from ftsdk.util.clock import parse_time

events, turns = int(sys.argv[1]), int(sys.argv[2])

class DrivenClock(ManualClock):
    def sleep(self, seconds):
        super().sleep(seconds)
        os.write(events, f"sleep {{seconds}}\\n".encode())
        os.read(turns, 1)

clock = DrivenClock(parse_time("{START.isoformat()}"))
ftsdk.session.SystemClock = lambda: clock
sys.argv = ["ftsdk", *sys.argv[3:]]
from ftsdk.cli import main
try:
    main()
finally:
    status = open("/proc/self/status").read()
    peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024
    os.write(events, f"peak {{peak}}\\n".encode())
"""

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="reads a process's own peak from /proc"
)


def add_jobs(provider, double, home, count, last_s):
    """Add `count` jobs to provider and journal; they end one after the other until `last_s`."""
    with provider.client(double, home) as client:
        job = provider.send(client)
        made = provider.jobs(double)
        first = made.pop(str(job.provider_job_id))
        for number in range(count):
            identity = f"{str(job.provider_job_id)[:-6]}z{number:05d}"
            made[identity] = copied(first, identity, 30 + last_s * number / count)
            job_id = new_job_id(double.clock.now())
            changes = {
                "id": job_id, "provider_job_id": identity, "tag": submission_tag(job_id),
                "client_token": client_token(), "key": None,
            }  # fmt: skip
            client.journal.add(job.snapshot.model_copy(update=changes))
        now = double.clock.now()  # the job they are copied from is not watched
        client.journal.change(job.id, now=now, why="over", status=JobStatus.CANCELLED)


def copied(job, identity, ends_s):
    """Return a copy of the job that ends that many seconds after its start."""
    stages = tuple(
        stage if stage.at_s <= 2 else dataclasses.replace(stage, at_s=stage.at_s + ends_s)
        for stage in job.timeline.stages
    )
    timeline = dataclasses.replace(job.timeline, stages=stages)
    return dataclasses.replace(job, id=identity, timeline=timeline)


def watch(double, home, arguments):
    """Run `ftsdk` in a process; return its peak memory, virtual seconds, exit code and errors."""
    events, events_end = os.pipe()
    turns_end, turns = os.pipe()
    env = {**os.environ, **double.variables(), "FTSDK_HOME": str(home), "NO_COLOR": "1"}
    child = subprocess.Popen(
        [sys.executable, "-c", WATCHER, str(events_end), str(turns_end), *arguments],
        env=env, cwd=home, pass_fds=(events_end, turns_end), stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    os.close(events_end)
    os.close(turns_end)
    peak, passed = 0, 0.0
    with os.fdopen(events) as lines, os.fdopen(turns, "wb", buffering=0) as answer:
        for line in lines:
            kind, _, value = line.partition(" ")
            if kind == "peak":
                peak = int(value)
                continue
            passed += float(value)
            double.clock.advance(float(value))
            answer.write(b".")
    error = child.stderr.read()
    child.stderr.close()
    return peak, passed, child.wait(60), error


@pytest.mark.timeout(1200)
@each_provider()
@pytest.mark.parametrize("command", ["watch", "wait"])
def test_a_thousand_jobs(provider, command, memory, request, record_property):
    long = request.config.getoption("--long")
    count, timeout_s = (JOBS, 7200) if long else (SHORT_JOBS, 120)
    with provider.double(ManualClock(START)) as double:
        add_jobs(provider, double, memory, count, 3600)
        double.requests.clear()
        peak, passed, code, error = watch(double, memory, [command, "--timeout", str(timeout_s)])
        asked = list(double.requests)
        ended = sum(
            1
            for one in provider.jobs(double).values()
            if one.timeline.status(double.clock.now()) in provider.ended
        )
    lists = [one for one in asked if one.path.endswith(provider.list_path.rstrip("$"))]
    others = collections.Counter(one.path for one in asked if one not in lists)
    summary = (
        f"{count} jobs for {passed:.0f} s, {ended} ended: {len(lists)} list calls, "
        f"{others.total()} others, {len(asked) / passed:.2f} requests/s, "
        f"{peak / 1e6:.0f} MB resident at most"
    )
    record_property("totals", summary)
    print(f"{provider}, {command}: {summary}")
    assert {one.method for one in asked} == {"GET"}
    assert code == (0 if long else 5), error
    assert (ended == count) is long
    assert len(asked) / passed < MOST_PER_S
    if command == "wait":  # no metrics are read: only jobs that ended are read one by one
        assert others.total() <= ended + 20, others.most_common(3)
    assert 0 < peak < MOST_BYTES
