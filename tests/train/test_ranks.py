"""Several processes train one run together: the same losses as one, and the same bits each time."""

from __future__ import annotations

import hashlib
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftsdk.backends.local.runs.outcome import EXIT_INTERRUPTED
from ftsdk.backends.local.runs.ranks import EXIT_PEER_LOST
from ftsdk.backends.local.runs.run_dir import RunDir
from tests.train import tiny

Train = Callable[..., int]
TrainRanks = Callable[..., list[int]]
ROWS = 41
"""Six steps an epoch, the last of a single row, so that a rank has none."""
CLOSE = 2e-4
"""How far the loss of any of twelve steps in float32 may be from that of one process."""


def make(path: Path, model: Path, rows: int = ROWS, **changes: Any) -> RunDir:
    options = {"dtype": "float32", **changes.pop("options", {})}
    changes.setdefault("adapter", {"dropout": 0.0})
    spec = tiny.spec(model, options=options, **changes)
    return RunDir.create(path, spec, train=tiny.rows(rows), validation=tiny.rows(5, seed=1))


def losses(run: RunDir, name: str = "train_loss") -> list[float]:
    return [event[name] for event in run.read_events() if name in event]


def digest(run: RunDir) -> str:
    name = "adapter_model.safetensors" if run.spec.adapter else "model.safetensors"
    return hashlib.sha256((run.result_path / name).read_bytes()).hexdigest()


def outcome(run: RunDir) -> dict[str, Any]:
    written: dict[str, Any] = json.loads((run.path / "outcome.json").read_bytes())
    return written


def furthest(one: list[float], other: list[float]) -> float:
    assert len(one) == len(other) > 0
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


@pytest.fixture(scope="module")
def alone(tiny_model: Path, train: Train, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """The run of one process."""
    run = make(tmp_path_factory.mktemp("alone") / "run", tiny_model)
    assert train(run.path) == 0, run.log_tail()
    return run


@pytest.fixture(scope="module")
def together(
    tiny_model: Path, train_ranks: TrainRanks, tmp_path_factory: pytest.TempPathFactory
) -> RunDir:
    """The run of two processes."""
    run = make(tmp_path_factory.mktemp("together") / "run", tiny_model)
    assert train_ranks(run.path) == [0, 0], run.log_tail()
    return run


def test_two_processes_have_the_losses_of_one(alone: RunDir, together: RunDir) -> None:
    assert furthest(losses(alone), losses(together)) < CLOSE
    validation = [losses(run, "validation_loss") for run in (alone, together)]
    assert furthest(*validation) < CLOSE
    assert outcome(alone)["trained_tokens"] == outcome(together)["trained_tokens"]


def test_rank_0_alone_writes(together: RunDir) -> None:
    events = together.read_events()
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    steps = [event["step"] for event in events if "train_loss" in event]
    assert steps == list(range(1, 13))
    assert any(
        "each of 2 processes, which divide the rows" in event.get("message", "") for event in events
    )


def test_a_mean_of_means_is_caught(
    alone: RunDir, tiny_model: Path, train_ranks: TrainRanks, tmp_path: Path
) -> None:
    """Were each rank's mean averaged, a rank with few tokens would count too much."""
    run = make(tmp_path / "run", tiny_model)
    plant = ("mean_of_own_rows", 2)
    assert train_ranks(run.path, plants={0: plant, 1: plant}) == [0, 0], run.log_tail()
    assert furthest(losses(alone), losses(run)) > 10 * CLOSE


def test_a_killed_rank_costs_no_bit(
    together: RunDir, tiny_model: Path, train_ranks: TrainRanks, tmp_path: Path
) -> None:
    run = make(tmp_path / "run", tiny_model)
    killed = train_ranks(run.path, plants={1: ("kill_in_step", 5)})
    assert killed == [EXIT_PEER_LOST, -signal.SIGKILL], run.log_tail()
    assert not (run.path / "outcome.json").exists()
    assert train_ranks(run.path) == [0, 0], run.log_tail()
    assert "Resumed from step 4." in [e.get("message") for e in run.read_events()]
    assert digest(run) == digest(together)


@pytest.mark.usefixtures("only_long")
def test_a_rank_that_keeps_its_gradient_is_caught(
    tiny_model: Path, train_ranks: TrainRanks, tmp_path: Path
) -> None:
    run = make(tmp_path / "run", tiny_model)
    assert 1 in train_ranks(run.path, plants={1: ("own_weights",)})
    assert outcome(run)["error"]["kind"] == "ranks_differ"


def test_a_cancel_stops_all(tiny_model: Path, train_ranks: TrainRanks, tmp_path: Path) -> None:
    run = make(tmp_path / "run", tiny_model)
    plant = ("cancel_in_step", 5, str(run.path))
    assert train_ranks(run.path, plants={1: plant}) == [0, 0], run.log_tail()
    assert run.checkpoints()[-1].step == 5
    assert outcome(run)["outcome"] == "cancelled"


@pytest.mark.usefixtures("only_long")
def test_sigterm_to_one_rank_interrupts_all(
    tiny_model: Path, train_ranks: TrainRanks, tmp_path: Path
) -> None:
    run = make(tmp_path / "run", tiny_model)
    codes = train_ranks(run.path, plants={1: ("term_in_step", 5)})
    assert codes == [EXIT_INTERRUPTED] * 2, run.log_tail()
    assert run.checkpoints()[-1].step == 5
    assert not (run.path / "outcome.json").exists()


@pytest.mark.usefixtures("only_long")
def test_memory_that_runs_out_on_one_rank(
    tiny_model: Path, train_ranks: TrainRanks, tmp_path: Path
) -> None:
    """All ranks compute the step again with half the tokens, to the bits of a run asked to."""
    short = {"hyperparameters": {"max_steps": 2, "gradient_accumulation_steps": 4}}
    run = make(tmp_path / "run", tiny_model, **short, options={"micro_batch_tokens": 120})
    codes = train_ranks(run.path, plants={1: ("run_out_of_memory", "cuda", 60)})
    assert codes == [0, 0], run.log_tail()
    (tokens,) = [e["micro_batch_tokens"] for e in run.read_events() if "micro_batch_tokens" in e]
    asked = make(tmp_path / "asked", tiny_model, **short, options={"micro_batch_tokens": tokens})
    assert train_ranks(asked.path) == [0, 0], asked.log_tail()
    assert digest(run) == digest(asked)
