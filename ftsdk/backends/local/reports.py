"""What each experiment tracker needs: its packages, and the variables of its keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Literal

TrackerName = Literal["tensorboard", "wandb", "mlflow", "trackio"]

PACKAGES: Mapping[str, tuple[str, ...]] = {
    "tensorboard": ("tensorboard", "tensorboardX"),
    "wandb": ("wandb",),
    "mlflow": ("mlflow",),
    "trackio": ("trackio",),
}
"""The packages of a tracker; one of them is enough."""

KEYS: Mapping[str, tuple[str, ...]] = {
    "wandb": ("WANDB_API_KEY",),
    "mlflow": ("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_PASSWORD", "AWS_SECRET_ACCESS_KEY"),
}
"""The variables with keys that a tracker reads; a trainer without it does not get them."""


def missing_packages(names: Sequence[str]) -> Iterator[str]:
    """Yield one line for each of these trackers that is not installed."""
    for name in names:
        if all(find_spec(package) is None for package in PACKAGES[name]):
            yield f"{name} is not installed, so nothing is reported to it: pip install {name}"
