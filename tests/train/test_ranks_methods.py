"""Two processes train preferences as one does, dividing rows or weights."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from ftsdk.backends.local.runs.run_dir import RunDir
from tests.train import tiny
from tests.train.test_methods import rows_of
from tests.train.test_ranks import CLOSE, Train, TrainRanks, digest, furthest, losses

NO_DROPOUT = {"dropout": 0.0}
SHORT = [("kto", "fsdp")]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One of the pairs in every run, all of them with `--long`."""
    if "method" not in metafunc.fixturenames:
        return
    every = [(method, way) for method in ("dpo", "orpo", "kto") for way in ("ddp", "fsdp")]
    chosen = every if metafunc.config.getoption("--long") else SHORT
    metafunc.parametrize(("method", "sharding"), chosen)


def make(path: Path, model: Path, method: str, adapter: Any = NO_DROPOUT, **options: Any) -> RunDir:
    rows = rows_of(method)
    settings = {"dtype": "float32", "micro_batch_tokens": 100, **options}
    spec = tiny.spec(
        model,
        method=method,
        adapter=adapter,
        hyperparameters={"max_steps": 5},
        options=settings,
    )
    return RunDir.create(path, spec, train=rows(25), validation=rows(5, seed=1))


def test_the_losses_and_metrics_are_those_of_one_process(
    method: str,
    sharding: str,
    tiny_model: Path,
    train: Train,
    train_ranks: TrainRanks,
    tmp_path: Path,
) -> None:
    one = make(tmp_path / "one", tiny_model, method)
    two = make(tmp_path / "two", tiny_model, method, sharding=sharding)
    assert train(one.path) == 0, one.log_tail()
    assert train_ranks(two.path) == [0, 0], two.log_tail()
    names = ["train_loss", "validation_loss", "rewards/margins", "logps/chosen"]
    for name in [*names, *(["kl"] if method == "kto" else [])]:
        assert furthest(losses(one, name), losses(two, name)) < 20 * CLOSE, name


@pytest.mark.usefixtures("only_long")
def test_a_pass_before_the_weights_are_loaded_leaves_none_behind(
    tiny_model: Path, train_ranks: TrainRanks, tmp_path: Path
) -> None:
    """The untrained model is asked again, and then the weights of the checkpoint are used."""
    whole = make(tmp_path / "whole", tiny_model, "dpo", None, sharding="fsdp")
    assert train_ranks(whole.path) == [0, 0], whole.log_tail()
    run = make(tmp_path / "run", tiny_model, "dpo", None, sharding="fsdp")
    assert train_ranks(run.path, plants={1: ("kill_in_step", 4)})[1] == -signal.SIGKILL
    for path in run.path.glob("reference-*.f32"):
        path.unlink()
    assert train_ranks(run.path) == [0, 0], run.log_tail()
    assert digest(run) == digest(whole)
