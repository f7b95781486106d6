"""What a backend's record does not have is refused by name, whoever wrote the backend."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ftsdk.backends.base import Context
from ftsdk.backends.fake import FakeBackend
from ftsdk.errors import Unsupported
from ftsdk.types.spec import JobSpec


class Unseeded(FakeBackend):
    capabilities = replace(FakeBackend.capabilities, takes_seed=False)


def test_a_seed_that_is_not_taken_is_refused(home) -> None:
    backend = Unseeded(Context(home=home))
    with pytest.raises(Unsupported, match="seed=7") as caught:
        backend.plan(JobSpec.build(provider="fake", model="smollm2-135m", seed=7))
    assert caught.value.submitted == "no"
    assert backend.plan(JobSpec.build(provider="fake", model="smollm2-135m")).fields
