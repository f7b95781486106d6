"""What needs the training stack, which is imported when it is called and not before."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def run(path: str, plant: str | None, arguments: tuple[object, ...]) -> None:
    """Train the run directory `path`, with a planted fault if `plant` names one."""
    from tests.train import trainer_process

    trainer_process.run(path, plant, arguments)


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
