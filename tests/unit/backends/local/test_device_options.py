"""Options that need a GPU or a package are refused by name before anything is started."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ftsdk.backends.base import Context
from ftsdk.backends.local import LocalBackend, device_options
from ftsdk.backends.local.device_options import (
    device_faults,
    may_have_gpu,
    planned_device,
    sharding_faults,
)
from ftsdk.backends.local.options import LocalOptions, RunOptions
from ftsdk.errors import Unsupported
from ftsdk.types.spec import JobSpec, LoRA

FAULTS: list[tuple[str, dict[str, Any], str]] = [
    ("cpu", {"offload_activations": True}, "no memory of its own"),
    ("mps", {"offload_activations": True}, "no memory of its own"),
    ("cuda", {"kernels": "compiled"}, "made for processors"),
    ("mps", {"kernels": "compiled"}, "made for processors"),
    ("cpu", {"optimizer": "paged_adamw_8bit"}, "only a GPU has pages"),
    ("mps", {"optimizer": "paged_adamw_8bit"}, "bitsandbytes does not support"),
    ("mps", {"optimizer": "adamw_8bit"}, "bitsandbytes does not support"),
]
FINE: list[tuple[str, dict[str, Any]]] = [
    ("cpu", {}),
    ("cpu", {"offload_activations": False}),
    ("cuda", {"offload_activations": True}),
    ("cpu", {"kernels": "compiled"}),
    ("cuda", {"kernels": "plain"}),
    ("cpu", {"optimizer": "adamw_8bit"}),
    ("cuda", {"optimizer": "adamw_8bit"}),
    ("cuda", {"optimizer": "paged_adamw_8bit"}),
    ("mps", {"optimizer": "adamw"}),
]


@pytest.fixture(autouse=True)
def packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every package is installed."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)


@pytest.mark.parametrize(("device", "given", "said"), FAULTS)
def test_what_a_device_cannot_take_is_a_fault(
    device: str, given: dict[str, Any], said: str
) -> None:
    (fault,) = device_faults(RunOptions(**given), device)
    assert said in fault.what
    assert next(iter(given)) in fault.what
    assert fault.hint


@pytest.mark.parametrize(("device", "given"), FINE)
def test_what_a_device_can_take_is_none(device: str, given: dict[str, Any]) -> None:
    assert list(device_faults(RunOptions(**given), device)) == []


def test_a_missing_package_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    (fault,) = device_faults(RunOptions(optimizer="adamw_8bit"), "cuda")
    assert "bitsandbytes" in fault.what
    assert "ftsdk[local]" in fault.hint
    assert list(device_faults(RunOptions(), "cuda")) == []


@pytest.mark.parametrize("name", ["nvidia0", "nvhost-gpu", "dxg", "kfd"])
def test_a_gpu_is_seen_by_its_device_file(name: str, tmp_path: Path) -> None:
    (tmp_path / "nvidiactl").touch()  # the driver alone is no GPU
    assert not may_have_gpu(tmp_path)
    (tmp_path / name).touch()
    assert may_have_gpu(tmp_path)


@pytest.mark.parametrize("gpu", [True, False])
def test_the_device_is_that_which_is_asked_for_or_seen(
    gpu: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_options, "may_have_gpu", lambda: gpu)
    assert planned_device(RunOptions()) == ("cuda" if gpu else "cpu")
    assert planned_device(RunOptions(device="cuda:1")) == "cuda"
    assert planned_device(RunOptions(device="cpu")) == "cpu"


def test_offloading_computes_activations_again() -> None:
    assert RunOptions(offload_activations=True).gradient_checkpointing is True
    assert RunOptions(offload_activations=False).gradient_checkpointing is None
    read = RunOptions.model_validate_json(RunOptions(offload_activations=True).model_dump_json())
    assert read.gradient_checkpointing is True
    with pytest.raises(ValidationError, match="offload_activations needs"):
        LocalOptions(offload_activations=True, gradient_checkpointing=False)


def test_a_job_is_refused_before_it_exists(tmp_path: Path) -> None:
    options = {"device": "cpu", "optimizer": "paged_adamw_8bit"}
    spec = JobSpec.build(provider="local", model="a-model", provider_options=options)
    with pytest.raises(Unsupported, match="paged_adamw_8bit") as caught:
        LocalBackend(Context(home=tmp_path)).check(spec)
    assert "adamw_8bit" in caught.value.hint
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "adapter", "named"),
    [
        ({"sharding": "fsdp"}, None, None),
        ({"sharding": "fsdp"}, LoRA(), None),
        ({"sharding": "ddp", "optimizer": "adamw_8bit"}, LoRA(quantize="nf4"), None),
        ({"sharding": "fsdp"}, LoRA(quantize="nf4"), "nf4"),
        ({"sharding": "fsdp", "optimizer": "adamw_8bit"}, None, "adamw_8bit"),
        ({"sharding": "fsdp", "offload_activations": True}, None, "offload_activations"),
    ],
)
def test_what_cannot_be_divided_is_named(
    options: dict[str, Any], adapter: LoRA | None, named: str | None
) -> None:
    faults = list(sharding_faults(RunOptions.model_validate(options), adapter))
    assert len(faults) == (named is not None)
    assert named is None or named in faults[0].what
