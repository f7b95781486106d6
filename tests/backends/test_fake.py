"""`fake` keeps to the kit."""

from __future__ import annotations

import pytest

from ftsdk.backends.base import Context
from ftsdk.backends.fake import FakeBackend
from ftsdk.testing.conformance import BackendConformance, World
from ftsdk.util.clock import ManualClock


class TestFake(BackendConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def world(cls, tmp_path_factory):
        clock = ManualClock()
        home = tmp_path_factory.mktemp("fake")
        return World(
            make=lambda place: FakeBackend(Context(home=place, clock=clock)),
            home=home,
            model="smollm2-135m",
            clock=clock,
            step_s=0.1,
            other_model="qwen3-0.6b",
            fails_with={"provider_options": {"timeline": [["running", 0], ["failed", 0.5]]}},
        )
