"""What a local run does where its spec leaves something open: options, and hyperparameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ftsdk.backends.capabilities import Range
from ftsdk.types.spec import NoBool

__all__ = ["HYPERPARAMETERS", "LocalOptions", "complete"]

HYPERPARAMETERS: Mapping[str, Range] = {
    "epochs": Range(low=0.001, high=10_000, default=3.0),
    "max_steps": Range(low=1),
    "learning_rate": Range(low=1e-9, high=10.0, default=2e-4),
    "batch_size": Range(low=1, high=65_536, default=8),
    "gradient_accumulation_steps": Range(low=1, high=65_536, default=1),
    "max_length": Range(low=2, high=1_048_576, default=1024),
    "warmup_ratio": Range(low=0, high=1, default=0.03),
    "schedule": Range(choices=("constant", "linear", "cosine"), default="cosine"),
    "weight_decay": Range(low=0, high=10, default=0.0),
    "max_grad_norm": Range(low=0, default=1.0),
}
_CHECKPOINT_EVERY_S = 120.0


_Count = Annotated[int, Field(ge=1), NoBool]
_Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False), NoBool]


class LocalOptions(BaseModel):
    """What `provider_options` may hold for `local`. A field that is None is left to the machine."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:[0-9]+)?)$")] = "auto"
    dtype: Literal["auto", "float32", "fp32", "bfloat16", "bf16"] = "auto"
    threads: _Count | None = None
    checkpoint_every_s: _Seconds | None = None
    """Seconds; 120, unless checkpoints are asked for by steps."""
    checkpoint_every_steps: _Count | None = None
    keep_checkpoints: _Count = 2
    eval_every_steps: _Count | None = None
    truncate: bool = False
    gradient_checkpointing: bool = False
    micro_batch_tokens: _Count | None = None
    cancel_grace_s: Annotated[float, Field(ge=0), NoBool] = 30.0
    concurrent: bool = False
    pull: bool = False

    def every_s(self) -> float | None:
        """Seconds between checkpoints, or None where only steps count."""
        if self.checkpoint_every_s is None and self.checkpoint_every_steps is None:
            return _CHECKPOINT_EVERY_S
        return self.checkpoint_every_s


def complete(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The spec with every option and hyperparameter that it leaves out or leaves open."""
    hyperparameters = {name: known.default for name, known in HYPERPARAMETERS.items()}
    hyperparameters |= {k: v for k, v in spec.get("hyperparameters", {}).items() if v is not None}
    options = LocalOptions.model_validate(spec.get("options", {}))
    return {
        "seed": 0,
        **spec,
        "hyperparameters": hyperparameters,
        "options": {**options.model_dump(), "checkpoint_every_s": options.every_s()},
    }
