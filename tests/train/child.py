"""The door into a trainer process; light, so that the tests themselves do not import torch."""

from __future__ import annotations


def run(path: str, plant: str | None, arguments: tuple[object, ...]) -> None:
    """Train the run directory `path`, after planting a fault."""
    from tests.train import trainer_process

    trainer_process.run(path, plant, arguments)
