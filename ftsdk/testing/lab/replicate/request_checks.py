"""The input schemas of the trainer on the Replicate double, and checks against them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from ftsdk.testing.lab.messages import Refusal

TRAINING_INPUT: dict[str, Any] = {
    "type": "object",
    "title": "TrainingInput",
    "required": ["train_data"],
    "properties": {
        "train_data": {"type": "string", "format": "uri", "title": "Train Data"},
        "validation_data": {"type": "string", "format": "uri"},
        "num_train_epochs": {"type": "integer", "default": 1, "minimum": 1, "maximum": 50},
        "train_batch_size": {"type": "integer", "default": 4, "minimum": 1},
        "gradient_accumulation_steps": {"type": "integer", "default": 1, "minimum": 1},
        "learning_rate": {"type": "number", "default": 2e-5},
        "max_steps": {"type": "integer", "minimum": 1},
        "max_length": {"type": "integer", "minimum": 1},
        "warmup_ratio": {"type": "number", "minimum": 0, "maximum": 1},
        "weight_decay": {"type": "number", "minimum": 0},
        "max_grad_norm": {"type": "number", "minimum": 0},
        "lr_scheduler": {"type": "string", "enum": ["constant", "linear", "cosine"]},
        "seed": {"type": "integer"},
        "lora_rank": {"type": "integer", "default": 8},
        "lora_alpha": {"type": "integer", "default": 16},
        "lora_dropout": {"type": "number", "default": 0.05, "minimum": 0, "maximum": 1},
        "pack_sequences": {"type": "boolean", "default": False},
    },
}
INPUT: dict[str, Any] = {
    "type": "object",
    "title": "Input",
    "required": ["prompt"],
    "properties": {
        "prompt": {"type": "string"},
        "max_new_tokens": {"type": "integer", "default": 128, "minimum": 1},
        "temperature": {"type": "number", "default": 0.7, "minimum": 0.01, "maximum": 5},
        "seed": {"type": "integer"},
    },
}
_TYPES: Mapping[str, tuple[type, ...]] = {
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "boolean": (bool,),
}


def problem(
    status: int, title: str, detail: str, *, field: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Refusal:  # fmt: skip
    """Return a refusal as `application/problem+json`."""
    body: dict[str, Any] = {"title": title, "detail": detail, "status": status}
    if field is not None:
        body["invalid_fields"] = [{"type": "required", "field": field, "description": detail}]
    return Refusal(status, body, {"Content-Type": "application/problem+json", **(headers or {})})


def check_inputs(inputs: Any) -> dict[str, Any]:
    """Return the inputs of a training. Raises `Refusal` with the first fault."""
    if not isinstance(inputs, dict):
        raise problem(422, "Input validation failed", "input is required", field="input")
    for name in TRAINING_INPUT["required"]:
        if name not in inputs:
            raise problem(422, "Input validation failed", f"input.{name} is required", field=name)
    for name, value in inputs.items():
        rule = TRAINING_INPUT["properties"].get(name)
        if rule is None:
            raise problem(
                422, "Input validation failed", f"input.{name} is not allowed", field=name
            )
        kinds = _TYPES[rule["type"]]
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise problem(422, "Input validation failed", f"input.{name}: invalid type", field=name)
        low, high = rule.get("minimum"), rule.get("maximum")
        if (low is not None and value < low) or (high is not None and value > high):
            raise problem(422, "Input validation failed", f"input.{name}: out of range", field=name)
    return dict(inputs)


def iso(instant: dt.datetime) -> str:
    """Return a time in Replicate's format."""
    return instant.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
