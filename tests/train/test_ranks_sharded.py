"""Two processes that divide the weights (FSDP2): the losses of one, and checkpoints for any number."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from ftsdk.backends.local.runs.ranks import EXIT_AGAIN, EXIT_PEER_LOST
from ftsdk.backends.local.runs.run_dir import RunDir
from tests.train.test_ranks import (
    CLOSE,
    Train,
    TrainRanks,
    digest,
    furthest,
    losses,
    make,
)

FSDP = {"sharding": "fsdp"}
FULL: dict[str, Any] = {"adapter": None, "hyperparameters": {"learning_rate": 1e-3}}


@pytest.fixture(scope="module")
def alone(tiny_model: Path, train: Train, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """All weights, trained by one process."""
    run = make(tmp_path_factory.mktemp("alone") / "run", tiny_model, **FULL)
    assert train(run.path) == 0, run.log_tail()
    return run


@pytest.fixture(scope="module")
def divided(
    tiny_model: Path, train_ranks: TrainRanks, tmp_path_factory: pytest.TempPathFactory
) -> RunDir:
    """All weights, divided over two processes."""
    run = make(tmp_path_factory.mktemp("divided") / "run", tiny_model, **FULL, options=FSDP)
    assert train_ranks(run.path) == [0, 0], run.log_tail()
    return run


def test_divided_weights_have_the_losses_of_one_process(alone: RunDir, divided: RunDir) -> None:
    assert furthest(losses(alone), losses(divided)) < CLOSE
    validation = [losses(run, "validation_loss") for run in (alone, divided)]
    assert furthest(*validation) < CLOSE
    norms = [losses(run, "grad_norm") for run in (alone, divided)]
    assert furthest(*norms) < 10 * CLOSE


def test_the_result_is_a_whole_model(alone: RunDir, divided: RunDir) -> None:
    from safetensors.torch import load_file

    one, other = (load_file(run.result_path / "model.safetensors") for run in (alone, divided))
    assert {n: t.shape for n, t in one.items()} == {n: t.shape for n, t in other.items()}
    assert max(float((one[name] - other[name]).abs().max()) for name in one) < CLOSE
    configs = [(run.result_path / "config.json").read_text() for run in (alone, divided)]
    assert configs[0] == configs[1]


def test_a_killed_rank_costs_no_bit(
    divided: RunDir, tiny_model: Path, train_ranks: TrainRanks, tmp_path: Path
) -> None:
    run = make(tmp_path / "run", tiny_model, **FULL, options=FSDP)
    killed = train_ranks(run.path, plants={1: ("kill_in_step", 5)})
    assert killed == [EXIT_PEER_LOST, -signal.SIGKILL], run.log_tail()
    assert train_ranks(run.path) == [0, 0], run.log_tail()
    assert "Resumed from step 4." in [e.get("message") for e in run.read_events()]
    assert digest(run) == digest(divided)


def test_one_process_goes_on_where_two_were_killed(
    alone: RunDir, tiny_model: Path, train: Train, train_ranks: TrainRanks, tmp_path: Path
) -> None:
    run = make(tmp_path / "run", tiny_model, **FULL, options=FSDP)
    assert train_ranks(run.path, plants={1: ("kill_in_step", 5)})[1] == -signal.SIGKILL
    assert train(run.path) == 0, run.log_tail()
    assert any("processes 2 → 1" in e.get("message", "") for e in run.read_events())
    assert furthest(losses(alone)[4:], losses(run)[-8:]) < CLOSE


@pytest.mark.usefixtures("only_long")
def test_an_adapter_with_activations_computed_again(
    tiny_model: Path, train: Train, train_ranks: TrainRanks, tmp_path: Path
) -> None:
    short: dict[str, Any] = {"hyperparameters": {"max_steps": 6}}
    again = {"gradient_checkpointing": True}
    one = make(tmp_path / "one", tiny_model, **short, options=again)
    two = make(tmp_path / "two", tiny_model, **short, options={**again, **FSDP})
    assert train(one.path) == 0, one.log_tail()
    assert train_ranks(two.path) == [0, 0], two.log_tail()
    assert furthest(losses(one), losses(two)) < CLOSE
    assert any("divide the weights" in e.get("message", "") for e in two.read_events())


@pytest.mark.usefixtures("only_long")
def test_memory_that_runs_out_starts_the_group_again(
    tiny_model: Path, train_ranks: TrainRanks, tmp_path: Path
) -> None:
    """The other rank waits inside the pass that failed, so it cannot compute it again."""
    short = {"hyperparameters": {"max_steps": 3}}
    options = {**FSDP, "micro_batch_tokens": 120}
    run = make(tmp_path / "run", tiny_model, **short, options=options)
    codes = train_ranks(run.path, plants={1: ("run_out_of_memory", "cuda", 60)})
    assert codes == [EXIT_PEER_LOST, EXIT_AGAIN], run.log_tail()
    assert train_ranks(run.path, plants={1: ("run_out_of_memory", "cuda", 60)}) == [0, 0]


@pytest.mark.usefixtures("only_long")
def test_what_the_planner_chose_is_kept(
    divided: RunDir, tiny_model: Path, train_ranks: TrainRanks, tmp_path: Path
) -> None:
    run = make(tmp_path / "run", tiny_model, **FULL)
    plants = dict.fromkeys(range(2), ("too_large_for_one",))
    plants[1] = ("kill_in_step", 5)
    assert train_ranks(run.path, plants=plants)[1] == -signal.SIGKILL
    assert json.loads((run.path / "memory.json").read_bytes())["sharding"] == "fsdp"
    assert train_ranks(run.path) == [0, 0], run.log_tail()
    assert furthest(losses(divided)[4:], losses(run)[-8:]) < CLOSE
