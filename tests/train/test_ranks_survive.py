"""A supervised group of processes: a killed rank, a killed supervisor, and nobody left behind."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ftsdk.backends.local.runs.run_dir import RunDir
from tests.train.test_ranks import TrainRanks, digest, make

pytestmark = [
    pytest.mark.skipif(
        not Path("/proc/self/stat").exists(), reason="finds processes through /proc"
    ),
    pytest.mark.usefixtures("only_long"),
]
STEPS = 60


def until(what: Callable[[], bool], seconds: float = 300) -> None:
    """Poll until `what()` is true; fail after `seconds`."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not become true in time"
        time.sleep(0.02)


def supervisor_of(run: RunDir) -> int:
    return int(json.loads((run.path / "pid.json").read_text())["supervisor_pid"])


def ranks_of(run: RunDir) -> list[int]:
    """The process ids of the ranks, by rank."""
    supervisor = supervisor_of(run)
    text = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text()
    found = {}
    for pid in map(int, text.split()):
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        found[next(one for one in environment if one.startswith(b"RANK="))] = pid
    return [found[name] for name in sorted(found)]


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    except OSError:
        return True


def trained(run: RunDir, step: int) -> bool:
    state = run.read_state()
    assert not state.is_final, run.log_tail()
    return int(state.progress.get("step", 0)) >= step


@pytest.fixture
def run(tmp_path: Path, tiny_model: Path) -> Iterator[RunDir]:
    options = {"processes": 2, "checkpoint_every_steps": 10}
    steps = {"max_steps": STEPS, "epochs": 1000.0}
    made = make(tmp_path / "runs" / "run", tiny_model, options=options, hyperparameters=steps)
    yield made
    made.request_cancel()
    until(lambda: not made.read_state().alive)


@pytest.fixture
def expected(tmp_path: Path, tiny_model: Path, run: RunDir, train_ranks: TrainRanks) -> str:
    """The digest of the same run, which nothing happens to."""
    hyperparameters = run.spec.hyperparameters.model_dump()
    options = run.spec.options.model_dump(exclude_defaults=True)
    whole = make(tmp_path / "whole", tiny_model, options=options, hyperparameters=hyperparameters)
    assert train_ranks(whole.path) == [0, 0], whole.log_tail()
    return digest(whole)


@pytest.mark.timeout(900)  # up to eight processes that import torch, one after the other
def test_a_killed_rank_and_a_killed_supervisor(run: RunDir, expected: str) -> None:
    assert run.start()
    until(lambda: trained(run, 15))
    first = ranks_of(run)
    os.kill(first[1], signal.SIGKILL)
    until(lambda: any("start again" in e.get("message", "") for e in run.read_events()))
    assert all(map(is_gone, first))
    until(lambda: trained(run, 35))
    second = ranks_of(run)
    os.kill(supervisor_of(run), signal.SIGKILL)
    os.kill(second[1], signal.SIGKILL)
    until(lambda: all(map(is_gone, second)))
    until(lambda: not run.read_state().alive)
    assert run.read_state().phase == "interrupted"
    assert run.resume()
    until(lambda: run.read_state().is_final and not run.read_state().alive)
    assert run.read_state().phase == "succeeded", run.log_tail()
    assert digest(run) == expected
    warnings = [e["message"] for e in run.read_events() if e["kind"] == "warning"]
    assert warnings == [
        (
            "Process 2 of 2 was killed by signal 9; all of them start again from the last checkpoint "
            "(restart 1 of at most 3)."
        )
    ]
    assert not list(run.path.glob(".ranks-*"))
