"""What a local run does where its spec leaves something open."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["DEFAULT_HYPERPARAMETERS", "DEFAULT_OPTIONS", "complete"]

DEFAULT_OPTIONS: Mapping[str, Any] = {
    "device": "auto",
    "dtype": "auto",
    "threads": None,
    "checkpoint_every_steps": None,
    "checkpoint_every_s": 300.0,
    "keep_checkpoints": 2,
    "eval_every_steps": None,
    "truncate": False,
    "micro_batch_tokens": None,
    "gradient_checkpointing": False,
}
DEFAULT_HYPERPARAMETERS: Mapping[str, Any] = {
    "epochs": 3.0,
    "max_steps": None,
    "learning_rate": 2e-4,
    "batch_size": 8,
    "gradient_accumulation_steps": 1,
    "max_length": 1024,
    "warmup_ratio": 0.03,
    "schedule": "cosine",
    "weight_decay": 0.0,
    "max_grad_norm": 1.0,
}


def complete(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The spec with every option and hyperparameter that it leaves out or leaves open."""
    given = {k: v for k, v in spec.get("hyperparameters", {}).items() if v is not None}
    options = {k: v for k, v in spec.get("options", {}).items() if v is not None}
    if options.get("checkpoint_every_steps") and "checkpoint_every_s" not in options:
        options["checkpoint_every_s"] = math.inf
    return {
        "seed": 0,
        **spec,
        "hyperparameters": {**DEFAULT_HYPERPARAMETERS, **given},
        "options": {**DEFAULT_OPTIONS, **options},
    }
