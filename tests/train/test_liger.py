"""Liger's kernels: which are used, and, where they are installed, that they compute the same."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra `local`")
transformers = pytest.importorskip("transformers", reason="needs the extra `local`")

from ftsdk.backends.local.compute import liger  # noqa: E402  # it needs torch
from ftsdk.backends.local.compute import pieces as p  # noqa: E402  # it needs torch
from ftsdk.backends.local.compute.patch_pieces import (  # noqa: E402  # it needs torch
    patch_pieces,
    warm_up,
)
from ftsdk.backends.local.training import compiling  # noqa: E402  # it needs torch
from tests.train.test_pieces import World, loss_and_gradient, model_of  # noqa: E402  # it needs torch

CPU = torch.device("cpu")
INSTALLED = importlib.util.find_spec("liger_kernel") is not None


def norm(rows: Any, weight: Any, eps: float, shift: float) -> Any:
    return torch.nn.functional.rms_norm(rows, (rows.shape[-1],), weight + shift, eps)


def turn(q: Any, k: Any, cos: Any, sin: Any) -> Any:
    def one(x: Any) -> Any:
        first, second = x.chunk(2, -1)
        return x * cos[:, None] + torch.cat((-second, first), -1) * sin[:, None]

    return one(q), one(k)


STAND_INS: dict[str, Any] = {
    "RMSNorm": lambda: {"norm_kernel": norm},
    "SwiGLU": lambda: {"silu_gate": p.silu_gate, "silu_gate_backward": p.silu_gate_backward},
    "GEGLU": lambda: {"gelu_gate": p.gelu_gate, "gelu_gate_backward": p.gelu_gate_backward},
    "rope": lambda: {"turn_kernel": turn},
}


def test_kernels_that_compute_the_same_are_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liger, "LOADERS", STAND_INS)
    chosen = liger.choose(CPU, torch.float32)
    assert chosen.names == ("RMSNorm", "SwiGLU", "GEGLU", "rope")
    assert not chosen.differs
    network = model_of("llama")
    loss, gradient = loss_and_gradient(network)
    patched = patch_pieces(network, chosen.pieces)
    assert patched.counts == {"norms": 5, "gates": 2, "rotary": 2}
    called = []
    counted = dataclasses.replace(
        chosen.pieces, norm_kernel=lambda *given: called.append(1) or norm(*given)
    )
    patched.undo()
    patched = patch_pieces(network, counted)
    found_loss, found = loss_and_gradient(network)
    patched.undo()
    assert len(called) == 5
    torch.testing.assert_close(found_loss, loss, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found, gradient, rtol=1e-4, atol=1e-5)


FAULTS: dict[str, Any] = {
    "RMSNorm": {"norm_kernel": lambda x, w, eps, shift: norm(x, w, eps, 0.0)},
    "SwiGLU": {
        "silu_gate": p.silu_gate,
        "silu_gate_backward": lambda a, b, d: p.silu_gate_backward(a, b, d)[::-1],
    },
    "GEGLU": {"gelu_gate": lambda a, b: torch.nn.functional.gelu(a) * b * 1.01},
    "rope": {"turn_kernel": lambda q, k, cos, sin: turn(q, k, cos, -sin)},
}


@pytest.mark.parametrize("name", list(FAULTS))
def test_a_kernel_that_differs_stays_plain_and_is_named(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liger, "LOADERS", {**STAND_INS, name: lambda: FAULTS[name]})
    chosen = liger.choose(CPU, torch.float32)
    assert name not in chosen.names
    assert len(chosen.names) == 3
    assert list(chosen.differs) == [name]
    assert "other results" in chosen.differs[name]
    plain = liger.LigerPieces()
    for piece in FAULTS[name]:
        assert getattr(chosen.pieces, piece) is getattr(plain, piece)


def test_kernels_that_are_missing_or_fail_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class CompilerError(Exception):
        pass

    def fails() -> Any:
        raise CompilerError("out of resource: shared memory\nmore")

    monkeypatch.setattr(liger, "LOADERS", {**STAND_INS, "rope": fails})
    assert liger.choose(CPU, torch.float32).differs == {"rope": "out of resource: shared memory"}


def test_pieces_are_compiled_on_the_device_that_computes() -> None:
    """`meta` stands for a GPU; with tensors of another device the code would be compiled twice."""
    devices = set()

    def noted(function: Any) -> Any:
        def call(*given: Any) -> Any:
            devices.update(one.device.type for one in given if isinstance(one, torch.Tensor))
            return function(*given)

        return call

    plain = p.Pieces()
    names = [one.name for one in dataclasses.fields(plain)]
    pieces = p.Pieces(**{name: noted(getattr(plain, name)) for name in names})
    patched = patch_pieces(model_of("llama"), plain)
    warm_up(pieces, patched, 64, torch.bfloat16, torch.device("meta"))
    patched.undo()
    assert devices == {"meta"}


# --- when a run takes them ------------------------------------------------------------------------


def cuda_world(folder: Path, kernels: str = "auto") -> World:
    world = World(folder, kernels)
    world.hardware.device = torch.device("cuda")
    return world


def test_a_run_on_cuda_takes_them_from_its_beginning(tmp_path: Path) -> None:
    world = cuda_world(tmp_path / "a")
    given: Any = (world.run, world.hardware)
    assert compiling._takes_liger(*given)
    assert json.loads((world.path / "kernels.json").read_bytes()) == {
        "compiled": False, "liger": True,
    }  # fmt: skip
    assert compiling._takes_liger(*given)  # a resumed one
    older = cuda_world(tmp_path / "b")
    (older.path / "checkpoints" / "step-00000003").mkdir(parents=True)
    for _ in range(2):  # the second time it was written down
        assert not compiling._takes_liger(older.run, older.hardware)  # type: ignore[arg-type]
    for kernels in ("plain", "compiled"):
        other: Any = cuda_world(tmp_path / kernels, kernels)
        assert not compiling._takes_liger(other.run, other.hardware)
    on_cpu: Any = World(tmp_path / "c")
    assert not compiling._takes_liger(on_cpu.run, on_cpu.hardware)


def test_what_is_used_and_what_is_not_is_in_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liger, "LOADERS", {**STAND_INS, "rope": lambda: FAULTS["rope"]})
    real = importlib.util.find_spec

    def found(name: str, *package: Any) -> Any:
        return "installed" if name == "liger_kernel" else real(name, *package)

    monkeypatch.setattr(importlib.util, "find_spec", found)
    written: list[tuple[str, str]] = []
    events: Any = SimpleNamespace(write=lambda kind, message, **_: written.append((kind, message)))
    model: Any = SimpleNamespace(network=model_of("llama"))
    hardware: Any = SimpleNamespace(device=CPU, dtype=torch.float32)
    home = sys.modules[type(model.network).__module__]
    rotary = vars(home)["apply_rotary_pos_emb"]
    try:
        assert compiling._with_liger(model, hardware, events) is model
    finally:
        vars(home)["apply_rotary_pos_emb"] = rotary
    assert [kind for kind, _ in written] == ["warning", "log"]
    assert written[0][1].startswith("Liger's rope is not used: gives other results")
    assert written[1][1] == "Computing with Liger's RMSNorm, SwiGLU, GEGLU."
    assert "forward" in vars(model.network.model.norm)


@pytest.mark.skipif(not INSTALLED, reason="needs liger-kernel and Triton")
def test_the_real_kernels_compute_the_same_in_tritons_interpreter() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.train.liger_interpreted"],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.strip().split("\n")[-1])
    assert found["names"] == ["RMSNorm", "SwiGLU", "GEGLU", "rope"], found["differs"]
    assert found["gradient"] < 1e-5
