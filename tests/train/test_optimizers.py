"""AdamW with averages in 8 bits: what it takes, what it learns, and what a checkpoint keeps of it."""

from __future__ import annotations

import importlib.util
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftsdk.backends.local.optimizers import AVERAGES_BYTES, trained_weight_bytes
from ftsdk.backends.local.runs.run_dir import RunDir
from tests.train import tiny

Train = Callable[..., int]
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed"
)


def parameters() -> list[tuple[str, Any]]:
    import torch

    torch.manual_seed(0)
    shapes = {"wide": (70, 300), "norm": (30,), "small": (5, 5)}
    return [(name, torch.nn.Parameter(torch.randn(shape))) for name, shape in shapes.items()]


def optimizer_of(kind: Any, *, decay: float = 0.1) -> Any:
    from ftsdk.backends.local.training.optimizer import FlatAdamW

    return FlatAdamW(parameters(), weight_decay=decay, kind=kind)


def take_steps(optimizer: Any, first: int, last: int) -> None:
    import torch

    for step in range(first, last + 1):
        torch.manual_seed(step)
        optimizer.zero_gradient()
        optimizer.gradient.normal_()
        optimizer.step(1e-2)


def test_the_steps_are_those_of_float32_but_for_rounding() -> None:
    whole, packed = optimizer_of("adamw"), optimizer_of("adamw_8bit")
    before = whole.master.clone()
    for one in (whole, packed):
        take_steps(one, 1, 10)
    moved = (whole.master - before).norm()
    assert 0 < (whole.master - packed.master).norm() < 0.02 * moved
    # The norm has float32 averages in both.
    assert bool((whole.weights()["norm"] == packed.weights()["norm"]).all())


def test_the_pieces_of_an_update_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    from ftsdk.backends.local.training import averages

    found = []
    for size in (1 << 22, 3 * 256):
        monkeypatch.setitem(averages._PIECE, "cpu", size)
        optimizer = optimizer_of("adamw_8bit")
        take_steps(optimizer, 1, 3)
        found.append({"weights": optimizer.master, **optimizer.moments()})
    assert all(bool((found[0][name] == found[1][name]).all()) for name in found[0])


def test_the_bytes_are_those_that_are_stated() -> None:
    import torch

    for kind, stated in AVERAGES_BYTES.items():
        if kind.startswith("paged"):
            continue
        weight = torch.nn.Parameter(torch.randn(512, 512))
        from ftsdk.backends.local.training.optimizer import FlatAdamW

        optimizer = FlatAdamW([("w", weight)], weight_decay=0.0, kind=kind)
        taken = sum(t.numel() * t.element_size() for t in optimizer.moments().values())
        assert taken / weight.numel() == stated
        assert optimizer.saved_bytes == taken + 4 * weight.numel()
    assert trained_weight_bytes("adamw", 2) == 20
    assert trained_weight_bytes("adamw_8bit", 2) == 14.03125
    assert trained_weight_bytes("adamw_8bit", 4) == 10.03125


def test_a_loaded_state_goes_on_in_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    from ftsdk.backends.local.training import averages

    whole = optimizer_of("adamw_8bit")
    take_steps(whole, 1, 3)
    weights = {name: t.clone() for name, t in whole.weights().items()}
    moments = {name: t.clone() for name, t in whole.moments().items()}
    take_steps(whole, 4, 6)
    monkeypatch.setitem(averages._PIECE, "cpu", 3 * 256)
    again = optimizer_of("adamw_8bit")
    again.load(weights, moments, 3)
    take_steps(again, 4, 6)
    assert bool((whole.master == again.master).all())
    for name, tensor in whole.moments().items():
        assert bool((tensor == again.moments()[name]).all()), name
    with pytest.raises(KeyError, match="absmax1"):
        again.load(weights, {n: t for n, t in moments.items() if n != "absmax1"}, 3)


def make(path: Path, model: Path, **options: Any) -> RunDir:
    changes = {"adapter": None, "options": {"dtype": "float32", **options}}
    return RunDir.create(path, tiny.spec(model, **changes), train=tiny.rows(44))


def losses(run: RunDir) -> list[float]:
    return [e["train_loss"] for e in run.read_events() if "train_loss" in e]


def test_a_killed_run_ends_in_the_same_bits(tiny_model: Path, train: Train, tmp_path: Path) -> None:
    runs = [make(tmp_path / name, tiny_model, optimizer="adamw_8bit") for name in "ab"]
    assert train(runs[0].path) == 0, runs[0].log_tail()
    assert train(runs[1].path, "kill_in_step", 6) == -signal.SIGKILL
    assert train(runs[1].path) == 0, runs[1].log_tail()
    whole, resumed = ((run.result_path / "model.safetensors").read_bytes() for run in runs)
    assert whole == resumed
    plain = make(tmp_path / "plain", tiny_model)
    assert train(plain.path) == 0
    assert whole != (plain.result_path / "model.safetensors").read_bytes()
    assert losses(runs[0])[-1] == pytest.approx(losses(plain)[-1], rel=0.02)
    saved = runs[0].path / "checkpoints" / "step-00000012" / "optimizer.safetensors"
    plainly = plain.path / "checkpoints" / "step-00000012" / "optimizer.safetensors"
    assert saved.stat().st_size < 0.4 * plainly.stat().st_size


def test_pages_without_a_gpu_end_the_run_before_the_model_is_loaded(
    tiny_model: Path, train: Train, tmp_path: Path
) -> None:
    run = make(tmp_path / "run", tiny_model, device="cpu", optimizer="paged_adamw_8bit")
    assert train(run.path) == 1
    ended = json.loads((run.path / "outcome.json").read_bytes())
    assert ended["error"]["kind"] == "unsupported"
    assert "paged_adamw_8bit" in ended["message"]
    assert "adamw_8bit" in ended["error"]["hint"]
    assert not any("Loading" in event.get("message", "") for event in run.read_events())
