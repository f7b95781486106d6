"""The kit, adopted with one class."""

from __future__ import annotations

import pytest
from ftsdk_parrot.backend import ParrotBackend
from ftsdk_parrot.double import ParrotDouble

from ftsdk.backends import Context
from ftsdk.testing.conformance import BackendConformance, LabDouble, World
from ftsdk.types.status import JobStatus
from ftsdk.util.clock import ManualClock

STATES = {
    "egg": JobStatus.QUEUED,
    "listening": JobStatus.RUNNING,
    "repeating": JobStatus.FINALIZING,
    "talks": JobStatus.SUCCEEDED,
    "mute": JobStatus.FAILED,
    "shushing": JobStatus.CANCELLING,
    "shushed": JobStatus.CANCELLED,
}
"""From the service's documentation: the backend's own table is what is checked."""


class TestParrot(BackendConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def world(cls, tmp_path_factory):
        clock = ManualClock()
        with ParrotDouble(clock=clock) as double:
            env = double.variables()

            def show(job_id, word):
                double.jobs[job_id]["forced"] = word

            def make(home, timeout_s=5):
                options = {"timeout_s": timeout_s}
                return ParrotBackend(Context(home=home, clock=clock, env=env, options=options))

            yield World(
                make=make,
                home=tmp_path_factory.mktemp("parrot"),
                model="grey-1",
                clock=clock,
                double=LabDouble(
                    double,
                    create=("POST", "/v1/jobs$"),
                    status=show,
                    jobs=lambda: len(double.jobs),
                    status_field="state",
                ),
                statuses=STATES,
                sent_as={"epochs": "epochs", "seed": "seed"},
                secrets=("lab-parrot-key",),
                unknown_id="parrot-" + "0" * 24,
                fail=lambda job_id: show(job_id, "mute"),
                other_model="grey-2",
                impatient=lambda home: make(home, timeout_s=1),
                counts={"logs": lambda _: 4},  # one line for each state of a whole run
            )
