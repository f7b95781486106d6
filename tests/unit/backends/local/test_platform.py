"""Where local training cannot run, the plan says so; the Apple GPU is not chosen, and the log says why."""

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


@pytest.mark.parametrize("has_apple_gpu", [True, False])
def test_the_apple_gpu_is_not_chosen_and_the_log_says_so(monkeypatch, has_apple_gpu):
    torch = pytest.importorskip("torch")
    from ftsdk.backends.local.compute.hardware import choose_hardware

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: has_apple_gpu)
    chosen = choose_hardware()
    assert chosen.device.type == "cpu"
    assert ("the Apple GPU is not used" in chosen.why) is has_apple_gpu
