"""Learning rates equal those of transformers' schedulers, step by step."""

from __future__ import annotations

from typing import Any

import pytest

from ftsdk.backends.local.options import RunHyperparameters
from ftsdk.backends.local.training.schedules import learning_rate_at, warmup_steps

SCHEDULES: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "constant": ({}, "constant_with_warmup", {}),
    "linear": ({}, "linear", {}),
    "cosine": ({}, "cosine", {}),
    "cosine_with_min_lr": ({}, "cosine_with_min_lr", {"min_lr_rate": 0.1}),
    "cosine_with_min_lr of a fifth": (
        {"min_lr_ratio": 0.2}, "cosine_with_min_lr", {"min_lr_rate": 0.2},
    ),
    "cosine_with_restarts": ({}, "cosine_with_restarts", {"num_cycles": 2}),
    "cosine_with_restarts, three falls": (
        {"schedule_cycles": 3}, "cosine_with_restarts", {"num_cycles": 3},
    ),
    "warmup_stable_decay": ({}, "warmup_stable_decay", {"num_decay_steps": 0.1}),
    "warmup_stable_decay to a tenth": (
        {"decay_ratio": 0.35, "min_lr_ratio": 0.1}, "warmup_stable_decay",
        {"num_decay_steps": 0.35, "min_lr_ratio": 0.1},
    ),
}  # fmt: skip


def theirs(name: str, warmup: int, total: int, settings: dict[str, Any]) -> Any:
    """The function of transformers' scheduler from the number of done steps to a share."""
    import torch
    from transformers import get_scheduler

    if "num_decay_steps" in settings:
        settings = {**settings, "num_decay_steps": round(total * settings["num_decay_steps"])}
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = get_scheduler(name, optimizer, warmup, total, scheduler_specific_kwargs=settings)
    return scheduler.lr_lambdas[0]


@pytest.mark.parametrize("warmup", [0, 7])
@pytest.mark.parametrize("name", SCHEDULES)
def test_every_step_has_the_rate_of_transformers(name: str, warmup: int) -> None:
    ours, other, settings = SCHEDULES[name]
    schedule = name.partition(" ")[0].rstrip(",")
    hyper = RunHyperparameters(learning_rate=3e-4, warmup_steps=warmup, schedule=schedule, **ours)  # type: ignore[arg-type]  # names of the table
    expected = theirs(other, warmup, 60, settings)
    for step in range(warmup + 1, 61):
        assert learning_rate_at(step, 60, hyper) == pytest.approx(3e-4 * expected(step - 1)), step


def test_the_warmup_is_theirs_without_its_step_of_rate_0() -> None:
    hyper = RunHyperparameters(learning_rate=1.0, warmup_steps=7, schedule="linear")
    ramp = theirs("linear", 8, 60, {})
    rates = [learning_rate_at(step, 60, hyper) for step in range(1, 8)]
    assert rates == pytest.approx([ramp(step) for step in range(1, 8)])
    assert min(rates) > 0


def test_the_number_of_steps_takes_precedence_over_the_share() -> None:
    assert warmup_steps(100, RunHyperparameters(warmup_ratio=0.1)) == 10
    assert warmup_steps(100, RunHyperparameters(warmup_steps=25)) == 25
    assert warmup_steps(100, RunHyperparameters(warmup_ratio=0.1, warmup_steps=0)) == 0


def test_a_warmup_longer_than_the_run_only_rises() -> None:
    hyper = RunHyperparameters(learning_rate=1.0, warmup_steps=100, schedule="warmup_stable_decay")
    rates = [learning_rate_at(step, 10, hyper) for step in range(1, 11)]
    assert rates == sorted(rates)
    assert rates[-1] == pytest.approx(10 / 101)
