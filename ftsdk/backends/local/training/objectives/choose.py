"""The objective of a run, by its method."""

from __future__ import annotations

from typing import Any

from ftsdk.backends.local.runs.run_spec import RunSpec
from ftsdk.backends.local.training.objectives.objective import Objective
from ftsdk.backends.local.training.objectives.supervised import Supervised


def objective_of(spec: RunSpec) -> Objective[Any]:
    """The objective of the run."""
    return Supervised(max_length=spec.hyperparameters.max_length, options=spec.options)
