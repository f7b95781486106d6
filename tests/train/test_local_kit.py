"""`local` passes the conformance kit: real trainings of a two-layer model, on the system clock."""

from __future__ import annotations

import pytest

from ftsdk.backends.base import Context
from ftsdk.backends.local import LocalBackend
from ftsdk.testing.conformance import BackendConformance, World
from ftsdk.util.clock import SystemClock
from tests.train import tiny


class TestLocal(BackendConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def world(cls, tmp_path_factory, tiny_model):
        clock = SystemClock()
        home = tmp_path_factory.mktemp("local")
        return World(
            make=lambda place: LocalBackend(Context(home=place, clock=clock)),
            home=home,
            model=str(tiny_model),
            clock=clock,
            rows=tiny.rows(24),
            hyperparameters={"max_steps": 12, "batch_size": 4, "max_length": 64},
            provider_options={"checkpoint_every_steps": 6},
            step_s=0.5,
        )
