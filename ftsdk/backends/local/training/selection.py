"""The best evaluation of a run: which weights are its result, and when it stops for lack of better ones.

All that is known is in `TrainState`, so a resumed run selects the same weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ftsdk.backends.local.options import RunOptions
from ftsdk.backends.local.runs.events import EventWriter
from ftsdk.backends.local.training.checkpoint import TrainState
from ftsdk.backends.local.training.outcome import Failed

_LOSS = "validation_loss"
_LOWEST = ("loss", "perplexity", "error")
"""How names of metrics end of which the lowest value is the best."""


class Selection:
    """Compares each evaluation with the best before it; keeps `state` current."""

    def __init__(self, options: RunOptions, state: TrainState, events: EventWriter) -> None:
        self._options, self._state, self._events = options, state, events
        self.keeps_best = options.keeps_best
        self.is_on = options.needs_validation

    def compare(self) -> bool:
        """Compare the last evaluation with the best; True when it is the best, and is to be kept.

        The untrained model is not a candidate, but its evaluation shows whether there is such a
        metric. Raises `Failed` when there is none, or its value is not finite.
        """
        state, options = self._state, self._options
        state.evaluated_step = state.step
        if not self.is_on:
            return False
        found = evaluation_of(state)
        name = self._name_in(found)
        value = found[name]
        if not math.isfinite(value):
            raise Failed(f"{name} became {value} at step {state.step}.", "non_finite_loss")
        if state.step == 0:
            return False
        gain = math.inf if state.best_value is None else state.best_value - value
        if options.best_is == "highest" or (options.best_is is None and not _is_lowest(name)):
            gain = math.inf if state.best_value is None else value - state.best_value
        state.waits = 0 if gain > options.early_stopping_min_delta else state.waits + 1
        if gain <= 0:
            return False
        state.best_step, state.best_value, state.best_metrics = state.step, value, found
        message = f"Best so far: {name} {value:.6g} at step {state.step}."
        self._events.write("log", message=message, best=self.facts()["best"])
        return self.keeps_best

    def _name_in(self, found: Mapping[str, float]) -> str:
        asked = self._options.best_metric
        for name in (asked, f"validation_{asked}"):
            if name in found:
                return name
        raise Failed(
            f"No metric of the evaluation is called {asked!r}; there are {', '.join(found)}.",
            "unsupported",
            "set the option best_metric to one of them",
        )

    @property
    def ends(self) -> bool:
        """Whether the run stops here: so many evaluations in a row were no better."""
        patience = self._options.early_stopping_patience
        return patience is not None and self._state.waits >= patience

    def facts(self) -> dict[str, Any]:
        """What the result and the outcome record; nothing where nothing was selected."""
        state = self._state
        if state.best_step is None:
            return {}
        name = self._name_in(state.best_metrics)
        best = {"step": state.best_step, "metric": name, "value": state.best_value}
        facts = {"best": best, "result_step": self.result_step, "stopped_early": self.ends}
        if self.keeps_best:
            facts["validation_loss"] = state.best_metrics[_LOSS]
        return facts

    @property
    def result_step(self) -> int:
        """The step whose weights are the result."""
        best = self._state.best_step if self.keeps_best else None
        return self._state.step if best is None else best

    def describe(self) -> str:
        """One or two sentences for the outcome; empty where nothing was selected."""
        facts = self.facts()
        if not facts:
            return ""
        said = ""
        if self.ends:
            said = f" Stopped early: {self._state.waits} evaluations in a row were no better."
        best = facts["best"]
        if self.keeps_best:
            said += (
                f" The result has the weights of step {best['step']}, the best by "
                f"{best['metric']} ({best['value']:.6g})."
            )
        return said


def evaluation_of(state: TrainState) -> dict[str, float]:
    """The values of the last evaluation by the names of its event."""
    found = {validation_name(name): value for name, value in state.validation_metrics.items()}
    return {_LOSS: math.nan if state.validation_loss is None else state.validation_loss, **found}


def validation_name(name: str) -> str:
    """The name of a metric where it is of the validation rows."""
    return f"validation_{name.removeprefix('train_')}"


def _is_lowest(name: str) -> bool:
    return name.endswith(_LOWEST)
