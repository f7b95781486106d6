"""What needs the training stack, which is imported when it is called and not before."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any


def run(path: str, plant: str | None, arguments: tuple[object, ...]) -> None:
    """Train the run directory `path`, with a planted fault if `plant` names one."""
    from tests.train import trainer_process

    trainer_process.run(path, plant, arguments)


def run_rank(
    path: str, rank: int, size: int, file: str, plant: str | None, arguments: tuple[object, ...]
) -> None:
    """Train the run directory as one rank of a group."""
    from ftsdk.backends.local.runs.ranks import rank_environment

    os.environ.update(rank_environment(os.environ, rank, size, Path(file)))
    run(path, plant, arguments)


def examine(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Examine a model in this process; the answer has gone through JSON, as from another one."""
    from ftsdk.backends.local.compute.examine import answer

    found: dict[str, Any] = json.loads(json.dumps(answer(asked)))
    return found


def memory(program: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Plan the memory of a job in this process."""
    from ftsdk.backends.local.training.footprint.program import answer

    found: dict[str, Any] = json.loads(json.dumps(answer(asked)))
    return found


def memories(program: str, asked: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Plan the memory of several jobs in this process."""
    for one in asked:
        yield memory(program, one)
