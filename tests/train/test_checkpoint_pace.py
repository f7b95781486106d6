"""Checkpoints cost 2 % of a run at most, unless they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ftsdk.backends.local.options import RunHyperparameters, RunOptions
from ftsdk.backends.local.runs.run_dir import RunDir
from ftsdk.backends.local.training.batches import RowOrder
from ftsdk.backends.local.training.pace import CheckpointPace
from tests.train import tiny


def simulated(
    step_s: float, takes_s: Callable[[int], float], steps: int = 4000, **options: Any
) -> tuple[list[int], float]:
    """The steps with a checkpoint, and their share of the time, with epochs of 100 steps."""
    now = 0.0
    order = RowOrder.of(100, RunHyperparameters(batch_size=1, max_steps=steps), seed=0)
    pace = CheckpointPace(RunOptions(**options), order, size_bytes=8, now=lambda: now)
    saved, cost_s = [], 0.0
    for step in range(1, steps + 1):
        now += step_s
        if pace.is_due(step):
            with pace.saving():
                now += takes_s(step)
            saved.append(step)
            cost_s += takes_s(step)
    return saved, cost_s / now


@pytest.mark.parametrize("takes_s", [0.01, 1.0, 3.0, 30.0])
@pytest.mark.parametrize("step_s", [0.02, 0.5, 4.0])
def test_checkpoints_cost_two_percent_at_most(step_s: float, takes_s: float) -> None:
    saved, _ = simulated(step_s, lambda _: takes_s)
    gaps = [b - a for a, b in pairwise(saved[:-1])]
    assert all(gap * step_s >= 50 * takes_s for gap in gaps)
    planned = len(saved) - 2  # the first is not measured yet, the last is due whatever it costs
    assert planned * takes_s <= 0.02 * 4000 * step_s


def test_cheap_checkpoints_come_every_two_minutes_and_after_each_epoch() -> None:
    saved, share = simulated(0.5, lambda _: 0.01, steps=1000)
    assert saved == [100, 200, 300, 400, 500, 600, 700, 800, 900, 1000]
    saved, _ = simulated(2.0, lambda _: 0.01, steps=200)
    assert saved == [60, 100, 160, 200]
    assert share < 0.001


def test_a_disk_that_gets_slow_is_noticed() -> None:
    saved, _ = simulated(1.0, lambda step: 0.01 if step <= 300 else 10.0, steps=2000)
    assert saved[:4] == [100, 200, 300, 400]
    assert all(b - a >= 500 for a, b in pairwise(saved[3:-1]))


def test_the_first_is_spaced_by_its_size() -> None:
    order = RowOrder.of(10, RunHyperparameters(batch_size=1, max_steps=1000), seed=0)
    now = 0.0
    pace = CheckpointPace(RunOptions(), order, size_bytes=84_000_000_000, now=lambda: now)
    assert pace.apart_s == pytest.approx(50 * 420)
    now = 130.0
    assert not pace.is_due(10)
    assert pace.is_due(1000)


def test_what_is_asked_for_is_done() -> None:
    saved, _ = simulated(1.0, lambda _: 30.0, steps=40, checkpoint_every_steps=10)
    assert saved == [10, 20, 30, 40]
    saved, _ = simulated(1.0, lambda _: 30.0, steps=40, checkpoint_every_s=15.0)
    assert saved == [15, 30, 40]


def test_a_trainer_measures_its_checkpoints(
    tiny_model: Path, train: Callable[..., int], tmp_path: Path
) -> None:
    """Six epochs of one step: with checkpoints that take 1,000 s, two of them have one."""
    spec = tiny.spec(
        tiny_model, hyperparameters={"epochs": 6.0}, options={"checkpoint_every_steps": None}
    )
    run = RunDir.create(tmp_path / "run", spec, train=tiny.rows(8))
    assert train(run.path, "slow_checkpoints", 1000.0) == 0, run.log_tail()
    saved = [event["step"] for event in run.read_events() if event["kind"] == "checkpoint"]
    assert saved == [1, 6]
