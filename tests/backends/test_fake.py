"""`fake` keeps to the kit."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftsdk.backends.base import Context
from ftsdk.backends.fake import FakeBackend
from ftsdk.testing.conformance import BackendConformance, World
from ftsdk.util.clock import ManualClock


def world_of(home: Path, cls: type[FakeBackend] = FakeBackend) -> World:
    """One home of the fake."""
    clock = ManualClock()
    return World(
        make=lambda place: cls(Context(home=place, clock=clock)),
        home=home,
        model="smollm2-135m",
        clock=clock,
        step_s=0.1,
        other_model="qwen3-0.6b",
        counts={
            "events": lambda _: 10,  # 6 steps, 4 statuses
            "logs": lambda _: 10,
            "metrics": lambda _: 6,
            "checkpoints": lambda _: 2,
        },
        fails_with={"provider_options": {"timeline": [["running", 0], ["failed", 0.5]]}},
    )


class TestFake(BackendConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def world(cls, tmp_path_factory):
        return world_of(tmp_path_factory.mktemp("fake"))
