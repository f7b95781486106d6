"""float16 with a scaled loss: as float32 but for rounding, overflows survived, resumed in the same bits."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftsdk.backends.local.runs.run_dir import RunDir
from ftsdk.backends.local.training.checkpoint import TrainState
from tests.train import tiny

Train = Callable[..., int]
FIRST_SCALE = 2.0**16


def make(path: Path, model: Path, dtype: str = "float16", **changes: Any) -> RunDir:
    changes = {"options": {"dtype": dtype}, **changes}
    return RunDir.create(path, tiny.spec(model, **changes), train=tiny.rows(44))


def outcome(run: RunDir) -> dict[str, Any]:
    written: dict[str, Any] = json.loads((run.path / "outcome.json").read_bytes())
    return written


def metrics(run: RunDir, name: str) -> list[Any]:
    """The value of a metric in each step; None in steps without it."""
    return [e.get(name) for e in run.read_events() if e["kind"] == "metric" and "eta_s" in e]


def result(run: RunDir) -> bytes:
    return (run.result_path / "adapter_model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def gentle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose gradients do not overflow at the first scale."""
    return tiny.write_model(tmp_path_factory.mktemp("gentle") / "model", initializer_range=0.1)


def test_the_losses_are_those_of_float32_within_half_a_percent(
    gentle: Path, train: Train, tmp_path: Path
) -> None:
    found = {}
    for dtype in ("float32", "float16"):
        run = make(tmp_path / dtype, gentle, dtype, adapter={"dropout": 0.0})
        assert train(run.path) == 0, run.log_tail()
        found[dtype] = metrics(run, "train_loss")
    assert metrics(run, "skipped_steps")[-1] == 0
    assert found["float16"] == pytest.approx(found["float32"], rel=0.005)
    assert found["float16"] != found["float32"]
    assert found["float16"][-1] < found["float16"][0] - 0.05
    facts = json.loads((run.result_path / "ftsdk.json").read_bytes())
    assert facts["dtype"] == "float16"


SETTINGS: dict[str, dict[str, Any]] = {
    "qlora": {"adapter": {"quantize": "nf4"}},
    "full, 8 bit": {"adapter": None, "options": {"optimizer": "adamw_8bit"}},
    "dpo": {"method": "dpo", "hyperparameters": {"max_steps": 5, "beta": 0.3}},
}


def pairs(count: int) -> list[dict[str, Any]]:
    """Preference rows: the words backwards are preferred to the same words again."""
    made = []
    for row in tiny.rows(count):
        asked, answer = row["messages"]
        same = {"role": "assistant", "content": asked["content"] + " one"}
        made.append(
            {"input": {"messages": [asked]}, "preferred_output": [answer],
             "non_preferred_output": [same]}
        )  # fmt: skip
    return made


@pytest.mark.parametrize("name", SETTINGS)
def test_it_goes_with_every_kind_of_training(
    name: str, train: Train, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if not request.config.getoption("--long"):
        pytest.skip("one more kind of training; --long tries it")
    if name != "dpo":
        pytest.importorskip("bitsandbytes")
    sizes = {"hidden_size": 64, "intermediate_size": 128, "initializer_range": 0.1}
    model = tiny.write_model(tmp_path / "model", **sizes)
    found = {}
    for dtype in ("float32", "float16"):
        changes = {"hyperparameters": {"max_steps": 5}, **SETTINGS[name]}
        changes["options"] = {**changes.get("options", {}), "dtype": dtype}
        if changes.get("adapter", {}) is not None:
            changes["adapter"] = {**changes.get("adapter", {}), "dropout": 0.0}
        rows = pairs(24) if name == "dpo" else tiny.rows(24)
        run = RunDir.create(tmp_path / dtype, tiny.spec(model, **changes), train=rows)
        assert train(run.path) == 0, run.log_tail()
        found[dtype] = metrics(run, "train_loss")
    assert found["float16"] == pytest.approx(found["float32"], rel=0.01)
    assert found["float16"][-1] < found["float16"][0]


def test_steps_that_overflow_are_skipped_and_halve_the_scale(
    gentle: Path, train: Train, tmp_path: Path
) -> None:
    # One micro-batch is a step, so that a collected gradient is that of a step.
    run = make(tmp_path / "run", gentle, options={"dtype": "float16", "keep_checkpoints": 9})
    assert train(run.path, "overflow_in_steps", 3, 5) == 0, run.log_tail()
    scales = [FIRST_SCALE] * 2 + [FIRST_SCALE / 2, FIRST_SCALE / 4] + [FIRST_SCALE / 8] * 8
    assert metrics(run, "loss_scale") == scales
    assert metrics(run, "skipped_steps") == [0, 0, 1, 2, *[3] * 8]
    assert [loss is None for loss in metrics(run, "train_loss")] == [2 <= k < 5 for k in range(12)]
    messages = [e["message"] for e in run.read_events() if "was skipped" in e.get("message", "")]
    assert [message[:6] for message in messages] == ["Step 3", "Step 4", "Step 5"]
    before, after = (run.path / "checkpoints" / f"step-{n:08d}" for n in (2, 4))
    for name in ("adapter_model.safetensors", "optimizer.safetensors"):
        assert (before / name).read_bytes() == (after / name).read_bytes()
    assert json.loads((run.result_path / "ftsdk.json").read_bytes())["skipped_steps"] == 3


def test_a_killed_run_goes_on_at_its_scale_and_ends_in_the_same_bits(
    tiny_model: Path, train: Train, tmp_path: Path
) -> None:
    """The gradients of this model overflow at the first scale."""
    whole, killed = make(tmp_path / "whole", tiny_model), make(tmp_path / "killed", tiny_model)
    assert train(whole.path) == 0, whole.log_tail()
    assert metrics(whole, "skipped_steps")[-1] == 1
    assert train(killed.path, "kill_in_step", 6) == -signal.SIGKILL
    assert train(killed.path) == 0, killed.log_tail()
    assert metrics(killed, "skipped_steps")[-1] == 1
    assert metrics(killed, "loss_scale")[-1] == metrics(whole, "loss_scale")[-1] < FIRST_SCALE
    assert result(killed) == result(whole)


def test_a_run_that_always_overflows_ends(gentle: Path, train: Train, tmp_path: Path) -> None:
    run = make(tmp_path / "run", gentle, hyperparameters={"max_steps": 40})
    assert train(run.path, "overflow_in_steps", 7, 99) == 1
    ended = outcome(run)
    assert ended["error"]["kind"] == "non_finite_loss"
    assert "float32" in ended["error"]["hint"]
    assert "20 steps in a row" in ended["message"]
    assert len(metrics(run, "loss_scale")) == 25  # the last of 26 ends it


def test_the_scale_doubles_after_2000_steps_without_an_overflow() -> None:
    import torch

    from ftsdk.backends.local.compute.hardware import choose_hardware
    from ftsdk.backends.local.training.loss_scale import GrowingScale
    from ftsdk.backends.local.training.optimizer import FlatAdamW

    weight = torch.nn.Parameter(torch.ones(4, 4, dtype=torch.float16))
    optimizer = FlatAdamW([("w", weight)], weight_decay=0.0)
    state = TrainState(loss_scale=512.0, loss_scale_growth=1998, skipped_steps=2)
    scale = GrowingScale(choose_hardware("cpu", "float16"), state)
    known = []
    for _ in range(3):
        optimizer.zero_gradient()
        scale.scaled((weight * 0.5).sum().float()).backward()
        optimizer.collect()
        assert scale.step(optimizer, 1.0, 1e-3) == pytest.approx(2.0)  # sixteen halves, unscaled
        known.append((state.loss_scale, state.loss_scale_growth))
    assert known == [(512.0, 1999), (1024.0, 0), (1024.0, 1)]
    assert float(optimizer.gradient.norm()) == pytest.approx(1.0)  # clipped after it was unscaled
    assert state.skipped_steps == 2


class OtherRankOverflows:
    """A group of two, in whose other rank the gradient overflows."""

    rank, size = 0, 2

    def all_reduce(self, tensor: Any) -> None:
        assert tensor.shape == ()
        tensor += 1


def test_all_ranks_skip_together() -> None:
    import torch

    from ftsdk.backends.local.compute.hardware import choose_hardware
    from ftsdk.backends.local.training.loss_scale import GrowingScale
    from ftsdk.backends.local.training.optimizer import FlatAdamW

    weight = torch.nn.Parameter(torch.ones(2, 2, dtype=torch.float16))
    optimizer = FlatAdamW([("w", weight)], weight_decay=0.0)
    state, group = TrainState(), OtherRankOverflows()
    scale = GrowingScale(choose_hardware("cpu", "float16"), state, group)  # type: ignore[arg-type]  # what it uses
    scale.scaled(weight.float().sum()).backward()
    optimizer.collect()
    assert scale.step(optimizer, 1.0, 1e-3) is None
    assert (state.skipped_steps, state.loss_scale) == (1, FIRST_SCALE / 2)
    assert bool((weight == 1).all())


def test_small_gradients_are_not_lost() -> None:
    """Unscaled, a gradient of 1e-8 is zero in float16."""
    import torch

    from ftsdk.backends.local.compute.hardware import choose_hardware
    from ftsdk.backends.local.training.loss_scale import GrowingScale, NoScale
    from ftsdk.backends.local.training.optimizer import FlatAdamW

    norms = []
    for kind in (GrowingScale, NoScale):
        weight = torch.nn.Parameter(torch.ones(2, 2, dtype=torch.float16))
        optimizer = FlatAdamW([("w", weight)], weight_decay=0.0)
        hardware = choose_hardware("cpu", "float16")
        scale: Any = kind(TrainState()) if kind is NoScale else kind(hardware, TrainState())
        scale.scaled((weight.float() * 1e-8).sum()).backward()
        optimizer.collect()
        norms.append(scale.step(optimizer, 0.0, 1e-3))
    assert norms[0] == pytest.approx(2e-8, rel=0.01)
    assert norms[1] == 0.0
