"""The kit, adopted with one class."""

from __future__ import annotations

import pytest
from ftsdk_parrot.backend import STATUSES, ParrotBackend
from ftsdk_parrot.double import ParrotDouble

from ftsdk.backends import Context
from ftsdk.testing.conformance import BackendConformance, LabDouble, World
from ftsdk.util.clock import ManualClock


class TestParrot(BackendConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def world(cls, tmp_path_factory):
        clock = ManualClock()
        with ParrotDouble(clock=clock) as double:
            env = double.variables()

            def show(job_id, word):
                double.jobs[job_id]["forced"] = word

            yield World(
                make=lambda home: ParrotBackend(Context(home=home, clock=clock, env=env)),
                home=tmp_path_factory.mktemp("parrot"),
                model="grey-1",
                clock=clock,
                double=LabDouble(
                    double,
                    create=("POST", "/v1/jobs$"),
                    status=show,
                    jobs=lambda: len(double.jobs),
                ),
                statuses=STATUSES,
                sent_as={"epochs": "epochs", "seed": "seed"},
                secrets=("lab-parrot-key",),
                unknown_id="parrot-" + "0" * 24,
                fail=lambda job_id: show(job_id, "mute"),
            )
