"""The parameters of `client.fine_tuning.create` in Together's SDK, each with what becomes of it here.

A name of the SDK in `provider_options` is refused where one of our arguments sets it, moved to its
place in the body, or passed on. Names that the SDK does not have are passed on unchanged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ftsdk.types.spec import JobSpec

SOURCE = "together 3.1.1, resources/fine_tuning.py, 2026-11-04"

OURS: Mapping[str, str] = {
    "training_file": "dataset",
    "model": "model",
    "n_epochs": "hyperparameters.epochs",
    "validation_file": "validation",
    "max_seq_length": "hyperparameters.max_length",
    "batch_size": "hyperparameters.batch_size",
    "gradient_accumulation_steps": "hyperparameters.gradient_accumulation_steps",
    "learning_rate": "hyperparameters.learning_rate",
    "lr_scheduler": "hyperparameters.schedule",
    "lr_scheduler_type": "hyperparameters.schedule",
    "warmup_ratio": "hyperparameters.warmup_ratio",
    "max_grad_norm": "hyperparameters.max_grad_norm",
    "weight_decay": "hyperparameters.weight_decay",
    "training_type": "adapter",
    "lora": "adapter (None trains all weights)",
    "lora_r": "adapter rank",
    "lora_dropout": "adapter dropout",
    "lora_alpha": "adapter alpha",
    "lora_trainable_modules": "adapter target_modules",
    "suffix": "name",
    "random_seed": "seed",
    "dpo_beta": "hyperparameters.beta",
}
"""Names that our own arguments set; given twice, it would be unclear which one applies."""

OF_CLIENT = frozenset({"verbose", "model_limits"})
"""Parameters of the SDK's method alone, which are no fields of the request."""

SECRETS: Mapping[str, str] = {
    "wandb_key": "WANDB_API_KEY",
    "wandb_api_key": "WANDB_API_KEY",
    "hf_api_token": "HF_TOKEN",
}
"""Keys are read from their variable when the job is sent: options are journaled, keys never."""

PASSED = frozenset(
    {
        "packing", "n_evals", "n_checkpoints", "wandb_base_url", "wandb_project_name", "wandb_name",
        "wandb_entity", "early_stopping_enabled", "early_stopping_patience",
        "early_stopping_min_delta", "early_stopping_warmup_evals", "from_checkpoint",
        "from_hf_model", "hf_model_revision", "hf_output_repo_name",
    }
)  # fmt: skip
"""Fields of the body under their own name."""


@dataclass(frozen=True)
class Place:
    """The place of a name in the body, and where it applies."""

    path: tuple[str, ...]
    method: str | None = None
    """The training method that it is for."""
    schedule: str | None = None
    """The schedule that it is for."""
    low: float | None = None
    high: float | None = None
    above: float | None = None
    """The number must be larger than this."""

    def fault(self, name: str, value: Any, spec: JobSpec) -> str | None:
        """Return why the value cannot be sent, or None."""
        if self.method is not None and spec.method != self.method:
            return f"provider_options.{name} is for method {self.method!r}"
        schedule = spec.hyperparameters.schedule or "cosine"
        if self.path[0] == "lr_scheduler" and schedule == "constant":
            return f"provider_options.{name} is not for the schedule 'constant'"
        if self.schedule is not None and schedule != self.schedule:
            return f"provider_options.{name} is for the schedule {self.schedule!r}"
        if (self.low, self.above) == (None, None):
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
            return f"provider_options.{name} must be a number"
        if self.low is not None and value < self.low:
            return f"provider_options.{name}={value:g} must be at least {self.low:g}"
        if self.high is not None and value > self.high:
            return f"provider_options.{name}={value:g} must be at most {self.high:g}"
        if self.above is not None and value <= self.above:
            return f"provider_options.{name}={value:g} must be more than {self.above:g}"
        return None


_SCHEDULE = ("lr_scheduler", "lr_scheduler_args")
MOVED: Mapping[str, Place] = {
    "train_on_inputs": Place(("training_method", "train_on_inputs"), method="sft"),
    "dpo_normalize_logratios_by_length": Place(
        ("training_method", "dpo_normalize_logratios_by_length"), method="dpo"
    ),
    "rpo_alpha": Place(("training_method", "rpo_alpha"), method="dpo", low=0),
    "simpo_gamma": Place(("training_method", "simpo_gamma"), method="dpo", low=0),
    "train_vision": Place(("multimodal_params", "train_vision")),
    "min_lr_ratio": Place((*_SCHEDULE, "min_lr_ratio"), low=0, high=1),
    "scheduler_num_cycles": Place((*_SCHEDULE, "num_cycles"), schedule="cosine", above=0),
    "num_cycles": Place((*_SCHEDULE, "num_cycles"), schedule="cosine", above=0),
}
"""Names that are fields inside another. `num_cycles` is the name in the body."""


def faults_of(spec: JobSpec) -> list[str]:
    """Return what cannot be sent of the SDK's names in `provider_options`, each by name."""
    options = spec.provider_options
    faults = []
    for name, value in options.items():
        if name in OURS:
            faults.append(f"provider_options.{name} is set by {OURS[name]}; give it there")
        elif name in OF_CLIENT:
            faults.append(f"provider_options.{name} is an option of Together's SDK, not of a job")
        elif name in SECRETS:
            faults.append(
                f"provider_options.{name} is a secret; set the variable {SECRETS[name]} instead"
            )
        elif name in MOVED:
            fault = MOVED[name].fault(name, value, spec)
            if fault is not None:
                faults.append(fault)
    if {"num_cycles", "scheduler_num_cycles"} <= set(options):
        faults.append("provider_options has both num_cycles and scheduler_num_cycles")
    return [*faults, *_given_twice(options)]


def _given_twice(options: Mapping[str, Any]) -> list[str]:
    return [
        f"provider_options.{name} is given in {place.path[0]}, too"
        for name, place in MOVED.items()
        if name in options
        and isinstance(options.get(place.path[0]), Mapping)
        and place.path[1] in options[place.path[0]]
    ]


def place_options(body: dict[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body with the options in their places."""
    result = {**body}
    for name, value in options.items():
        if name == "training_method":
            continue  # it is part of the body already
        path = MOVED[name].path if name in MOVED else (name,)
        inner = result
        for step in path[:-1]:
            inner[step] = dict(inner.get(step) or {})
            inner = inner[step]
        inner[path[-1]] = value
    method = result["training_method"]
    if method.get("simpo_gamma"):  # as the SDK sends it
        result["training_method"] = {
            **method, "dpo_reference_free": True, "dpo_normalize_logratios_by_length": True,
        }  # fmt: skip
    return result


def evaluations_for_early_stopping(options: Mapping[str, Any]) -> int:
    """Return the fewest evaluations with which training can stop early; 0 where it is not asked to.

    A first one, those of the warm-up, and as many as may pass without an improvement.
    """
    if options.get("early_stopping_enabled") is not True:
        return 0
    patience, warmup = (
        options.get("early_stopping_patience"),
        options.get("early_stopping_warmup_evals"),
    )
    patience = 2 if patience is None else patience
    warmup = 1 if warmup is None else warmup
    both_count = all(isinstance(n, int) and not isinstance(n, bool) for n in (patience, warmup))
    return patience + warmup + 1 if both_count else 1
