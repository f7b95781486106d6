"""The entry point of a trainer process; importing it does not import torch."""

from __future__ import annotations


def run(path: str, plant: str | None, arguments: tuple[object, ...]) -> None:
    """Train the run directory `path`, with a planted fault if `plant` names one."""
    from tests.train import trainer_process

    trainer_process.run(path, plant, arguments)
