"""Learning rates: a linear warm-up, then one of the schedules that transformers has.

Each is a pure function of the step, so a resumed run needs no state of a scheduler. The shapes are
those of transformers, with one difference: its first step of a warm-up has the rate 0 and trains
nothing, and here the first of `n` warm-up steps has 1/(n+1) of the rate.
"""

from __future__ import annotations

import math

from ftsdk.backends.local.options import RunHyperparameters

_MIN_LR_RATIO = 0.1
"""Where `cosine_with_min_lr` ends by default, as a share of the learning rate; others end at 0."""
_CYCLES = 2
"""Falls of `cosine_with_restarts` by default."""
_DECAY_RATIO = 0.1
"""Share of all steps in which `warmup_stable_decay` falls by default."""


def learning_rate_at(step: int, total: int, hyperparameters: RunHyperparameters) -> float:
    """The learning rate of step number `step` (from 1) of `total`."""
    peak = hyperparameters.learning_rate
    warmup = warmup_steps(total, hyperparameters)
    done = step - 1
    if done < warmup:
        return peak * step / (warmup + 1)
    return peak * _share(done - warmup, max(1, total - warmup), total, hyperparameters)


def warmup_steps(total: int, hyperparameters: RunHyperparameters) -> int:
    """How many of `total` steps are warm-up."""
    if hyperparameters.warmup_steps is not None:
        return hyperparameters.warmup_steps
    return math.ceil(total * hyperparameters.warmup_ratio)


def _share(done: int, left: int, total: int, hyperparameters: RunHyperparameters) -> float:
    """The share of the peak after `done` of the `left` steps that follow the warm-up."""
    progress: float = done / left
    match hyperparameters.schedule:
        case "linear":
            return 1.0 - progress
        case "cosine":
            return _cosine(progress)
        case "cosine_with_min_lr":
            return _above(_floor(hyperparameters, _MIN_LR_RATIO), _cosine(progress))
        case "cosine_with_restarts":
            return _cosine(((hyperparameters.schedule_cycles or _CYCLES) * progress) % 1.0)
        case "warmup_stable_decay":
            decay = min(left, math.ceil(total * (hyperparameters.decay_ratio or _DECAY_RATIO)))
            passed = done - (left - decay)
            if passed < 0:
                return 1.0
            return _above(_floor(hyperparameters, 0.0), _cosine(passed / decay))
        case "constant":
            return 1.0


def _cosine(progress: float) -> float:
    return 0.5 * (1.0 + math.cos(math.pi * progress))


def _above(floor: float, share: float) -> float:
    return floor + (1.0 - floor) * share


def _floor(hyperparameters: RunHyperparameters, default: float) -> float:
    given = hyperparameters.min_lr_ratio
    return default if given is None else given
