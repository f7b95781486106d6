"""The objective of a run, by its method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ftsdk.backends.local.options import RunHyperparameters, RunOptions
from ftsdk.backends.local.runs.run_spec import RunSpec
from ftsdk.backends.local.training.objectives.dpo import DirectPreference
from ftsdk.backends.local.training.objectives.kto import KahnemanTversky
from ftsdk.backends.local.training.objectives.objective import Objective
from ftsdk.backends.local.training.objectives.orpo import OddsRatio
from ftsdk.backends.local.training.objectives.supervised import Supervised
from ftsdk.types.spec import Method

_KINDS: Mapping[Method, Callable[[RunHyperparameters, RunOptions], Objective[Any]]] = {
    "sft": Supervised,
    "dpo": DirectPreference,
    "orpo": OddsRatio,
    "kto": KahnemanTversky,
}


def objective_of(spec: RunSpec) -> Objective[Any]:
    """The objective of the run."""
    return objective_for(spec.method, spec.hyperparameters, spec.options)


def objective_for(
    method: Method, hyperparameters: RunHyperparameters, options: RunOptions
) -> Objective[Any]:
    """The objective of a method with these settings."""
    return _KINDS[method](hyperparameters, options)
