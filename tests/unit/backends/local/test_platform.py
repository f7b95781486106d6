"""Where local training cannot run, the plan says so."""

from __future__ import annotations

import pytest

from ftsdk.backends.base import Context
from ftsdk.backends.local.backend import LocalBackend
from ftsdk.errors import Unsupported
from ftsdk.types.spec import JobSpec


@pytest.mark.parametrize("is_refused", [True, False])
def test_training_on_windows_itself_is_refused_by_name(home, monkeypatch, is_refused):
    backend = LocalBackend(Context(home=home))
    monkeypatch.setattr("ftsdk.backends.local.backend._TRAINS_HERE", not is_refused)
    with pytest.raises(Unsupported) as caught:
        backend.check(JobSpec.build(provider="local", model="m/m", hyperparameters={"beta": 1}))
    assert ("training on Windows itself" in str(caught.value)) is is_refused
    assert ("use WSL" in str(caught.value)) is is_refused
