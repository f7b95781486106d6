"""A hundred runs with two kills each at random moments end in the bits of uninterrupted ones (`--long`).

Each run saves at every step, so that many kills hit a save. The moments are drawn again each day; the
seed is printed. `FTSDK_SOAK_RUNS` sets another number of runs.
"""

from __future__ import annotations

import datetime as dt
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftsdk.backends.local.runs.run_dir import RunDir
from tests.train import test_best_checkpoint, test_methods, tiny
from tests.train.test_resume import digest

Train = Callable[..., int]
pytestmark = pytest.mark.usefixtures("only_long")
RUNS = int(os.environ.get("FTSDK_SOAK_RUNS", "100"))
OFTEN = {"checkpoint_every_steps": 1}
KILLED = -signal.SIGKILL


def supervised(path: Path, model: Path, **changes: Any) -> RunDir:
    return RunDir.create(
        path, tiny.spec(model, **changes), train=tiny.rows(44), validation=tiny.rows(6, seed=1)
    )


MAKERS: dict[str, Callable[[Path, Path], RunDir]] = {
    "lora, bf16": lambda path, model: supervised(path, model, options={**OFTEN, "dtype": "bf16"}),
    "all weights": lambda path, model: supervised(
        path, model, adapter=None, options={**OFTEN, "dtype": "float32"}
    ),
    "compiled": lambda path, model: supervised(
        path, model, options={**OFTEN, "dtype": "float32", "kernels": "compiled"}
    ),
    "dpo": lambda path, model: test_methods.make(
        path, model, "dpo", options={**OFTEN, "dtype": "float32"}
    ),
    "best checkpoint": lambda path, model: test_best_checkpoint.make(path, model, **OFTEN),
}


def test_every_run_ends_in_the_bits_of_an_uninterrupted_one(
    tiny_model: Path, train: Train, tmp_path: Path
) -> None:
    seed = dt.datetime.now(dt.UTC).date().toordinal()
    print(f"seed {seed}")
    draw, wholes, kills = random.Random(seed), {}, 0
    names = list(MAKERS)
    for name in names:
        run = MAKERS[name](tmp_path / name, tiny_model)
        assert train(run.path) == 0, run.log_tail()  # a compiler has its code from here on
        began = time.monotonic()
        again = MAKERS[name](tmp_path / f"{name}, again", tiny_model)
        assert train(again.path) == 0
        assert digest(again) == digest(run), name
        wholes[name] = (digest(run), time.monotonic() - began)
    for number in range(RUNS):
        name = names[number % len(names)]
        expected, seconds = wholes[name]
        run, died = killed_twice(
            lambda at, name=name: MAKERS[name](at, tiny_model),
            tmp_path / "run",
            train,
            draw,
            seconds,
        )
        assert train(run.path) == 0, (name, run.log_tail())
        assert digest(run) == expected, (name, number)
        kills += died
        shutil.rmtree(run.path)
    print(f"{RUNS} runs, {kills} kills, the same bits in each")
    assert kills == 2 * RUNS


def killed_twice(
    make: Callable[[Path], RunDir], path: Path, train: Train, draw: random.Random, seconds: float
) -> tuple[RunDir, int]:
    """A run that was killed at two moments before its end; one that ended first is made again."""
    while True:
        run = make(path)
        left = seconds
        for number in (1, 2):
            at = draw.uniform(0.02, 0.9) * left
            code = train(run.path, kill_after_s=at)
            if code == 0:
                break
            assert code == KILLED, run.log_tail()
            left = max(0.3, left - at)
            if number == 2:
                return run, number
        shutil.rmtree(path)


def test_a_checkpoint_that_is_not_whole_would_be_seen(
    tiny_model: Path, train: Train, tmp_path: Path
) -> None:
    """The soak would fail if a resume took other weights: with one, the bits differ."""
    run = MAKERS["lora, bf16"](tmp_path / "run", tiny_model)
    whole = MAKERS["lora, bf16"](tmp_path / "whole", tiny_model)
    assert train(whole.path) == 0
    assert train(run.path, "kill_in_step", 6) == KILLED
    assert train(run.path, "carried_random_state") == 0
    assert digest(run) != digest(whole)
