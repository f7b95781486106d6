"""Checks of a create call as Together makes them, against the limits of the model.

Field names are from together 3.1.1 (2026-11-04). The models and their limits are examples in the
shape of `GET /v1/fine-tunes/models/limits`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftsdk.testing.lab.messages import Refusal

_FIELDS = frozenset(
    {
        "training_file", "validation_file", "packing", "model", "n_epochs", "learning_rate",
        "lr_scheduler", "warmup_ratio", "max_grad_norm", "weight_decay", "n_checkpoints", "n_evals",
        "max_seq_length", "batch_size", "gradient_accumulation_steps", "suffix", "wandb_key",
        "wandb_api_key", "wandb_base_url", "wandb_project_name", "wandb_name", "wandb_entity",
        "random_seed", "early_stopping_enabled", "early_stopping_patience",
        "early_stopping_min_delta", "early_stopping_warmup_evals", "training_type",
        "training_method", "from_checkpoint", "multimodal_params", "from_hf_model",
        "hf_model_revision", "hf_api_token", "hf_output_repo_name", "train_on_inputs",
    }
)  # fmt: skip
_ESTIMATE_FIELDS = frozenset(
    {
        "training_file", "validation_file", "model", "from_checkpoint", "n_epochs", "n_evals",
        "training_method", "training_type",
    }
)  # fmt: skip
_METHODS = {
    "sft": frozenset({"method", "train_on_inputs"}),
    "dpo": frozenset(
        {
            "method", "dpo_beta", "rpo_alpha", "simpo_gamma", "dpo_reference_free",
            "dpo_normalize_logratios_by_length",
        }
    ),
}  # fmt: skip
_TYPES = {
    "Lora": frozenset({"type", "lora_r", "lora_alpha", "lora_dropout", "lora_trainable_modules"}),
    "Full": frozenset({"type"}),
}


def _limits(name: str, *, full: bool, rank: int = 64) -> dict[str, Any]:
    batch = {"max_batch_size": 128, "max_batch_size_dpo": 64, "min_batch_size": 8}
    limits = {
        "model_name": name,
        "max_num_epochs": 20,
        "max_num_evals": 100,
        "max_num_checkpoints": 10,
        "max_learning_rate": 0.1,
        "min_learning_rate": 1e-8,
        "min_max_seq_length": 256,
        "max_seq_length_sft": 65536,
        "max_seq_length_dpo": 49152,
        "default_gradient_accumulation_steps": 1,
        "merge_output_lora": True,
        "supports_full_training": full,
        "supports_vision": False,
        "supports_tools": True,
        "supports_reasoning": True,
        "lora_training": {
            **batch,
            "default_rank": min(16, rank),
            "max_rank": rank,
            "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        },
    }  # fmt: skip
    return {**limits, "full_training": batch} if full else limits


LIMITS: Mapping[str, dict[str, Any]] = {
    one["model_name"]: one
    for one in (
        _limits("Qwen/Qwen3.5-0.8B", full=True),
        _limits("Qwen/Qwen3.5-9B", full=True),
        _limits("Qwen/Qwen3-8B", full=False),
        _limits("meta-llama/Meta-Llama-3.1-8B-Instruct-Reference", full=True),
        _limits("deepseek-ai/DeepSeek-V3.1", full=False, rank=16),
    )
}
"""Limits of the models that the double tunes, by name."""

UNLISTED = frozenset({"Qwen/Qwen3-8B"})
"""Models that are tuned and not in the list: the catalogue notes that this one has left it."""


def refuse(
    status: int, message: str, *, kind: str = "invalid_request_error", param: str | None = None,
    code: str | None = None,
) -> Refusal:  # fmt: skip
    """Return a refusal in Together's error format."""
    error = {"message": message, "type": kind, "param": param, "code": code}
    return Refusal(status, {"error": error})


def _check_fields(body: Any, known: frozenset[str], where: str = "") -> None:
    if not isinstance(body, dict):
        raise refuse(400, f"{where or 'The body'} must be a JSON object")
    unknown = sorted(set(body) - known)
    if unknown:
        raise refuse(400, f"Unknown field {where}{unknown[0]}", param=f"{where}{unknown[0]}")


def check_estimate(body: Any) -> dict[str, Any]:
    """Return the body of an estimate. Raises `Refusal` with its first fault."""
    _check_fields(body, _ESTIMATE_FIELDS)
    if not isinstance(body.get("training_file"), str) or not body["training_file"]:
        raise refuse(400, "training_file is required", param="training_file")
    return dict(body)


def check_create(body: Any, limits: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the body of a create call. Raises `Refusal` with its first fault.

    `limits` are those of the model; None means that the model cannot be tuned.
    """
    _check_fields(body, _FIELDS)
    if not isinstance(body.get("training_file"), str) or not body["training_file"]:
        raise refuse(400, "training_file is required", param="training_file")
    if ("model" in body) == ("from_checkpoint" in body):
        raise refuse(400, "Exactly one of model and from_checkpoint is required", param="model")
    if limits is None:
        raise refuse(400, f"Model {body.get('model')} is not available for fine-tuning")
    suffix = body.get("suffix")
    if suffix is not None and (not isinstance(suffix, str) or not 1 <= len(suffix) <= 40):
        raise refuse(400, "suffix must have 1 to 40 characters", param="suffix")
    _check_objects(body, limits)
    _check_numbers(body, limits)
    return dict(body)


def _check_objects(body: Mapping[str, Any], limits: Mapping[str, Any]) -> None:
    method = body.get("training_method", {"method": "sft"})
    name = method.get("method") if isinstance(method, dict) else None
    if name not in _METHODS:
        raise refuse(400, "training_method must be sft or dpo", param="training_method")
    _check_fields(method, _METHODS[name], "training_method.")
    kind = body.get("training_type")
    if kind is not None:
        if not isinstance(kind, dict) or kind.get("type") not in _TYPES:
            raise refuse(400, "training_type must be Lora or Full", param="training_type")
        _check_fields(kind, _TYPES[kind["type"]], "training_type.")
        if kind["type"] == "Full" and not limits.get("supports_full_training"):
            raise refuse(400, "The model does not support full training", param="training_type")
        if kind["type"] == "Lora":
            for field in ("lora_r", "lora_alpha"):
                if type(kind.get(field)) is not int:
                    raise refuse(400, f"{field} must be an integer", param=field)
            _check_range("lora_r", kind["lora_r"], 1, limits["lora_training"]["max_rank"])
    schedule = body.get("lr_scheduler")
    if schedule is not None and schedule.get("lr_scheduler_type") not in ("linear", "cosine"):
        raise refuse(400, "lr_scheduler_type must be linear or cosine", param="lr_scheduler")
    if body.get("n_evals") and not body.get("validation_file"):
        raise refuse(400, "n_evals needs a validation_file", param="n_evals")


def _check_numbers(body: Mapping[str, Any], limits: Mapping[str, Any]) -> None:
    method = (body.get("training_method") or {}).get("method", "sft")
    for field, low, high in (
        ("n_epochs", 1, limits["max_num_epochs"]),
        ("n_evals", 0, limits["max_num_evals"]),
        ("n_checkpoints", 1, limits["max_num_checkpoints"]),
        ("max_seq_length", limits["min_max_seq_length"], limits[f"max_seq_length_{method}"]),
    ):
        if field in body:
            if type(body[field]) is not int:
                raise refuse(400, f"{field} must be an integer", param=field)
            _check_range(field, body[field], low, high)
    rate = body.get("learning_rate", 1e-5)
    _check_range("learning_rate", rate, limits["min_learning_rate"], limits["max_learning_rate"])
    _check_range("warmup_ratio", body.get("warmup_ratio", 0), 0, 1)
    _check_range("weight_decay", body.get("weight_decay", 0), 0, None)
    batch = body.get("batch_size", "max")
    if batch != "max":
        full = (body.get("training_type") or {}).get("type") == "Full"
        batch_limits = limits["full_training" if full else "lora_training"]
        most = batch_limits["max_batch_size_dpo" if method == "dpo" else "max_batch_size"]
        _check_range("batch_size", batch, batch_limits["min_batch_size"], most)


def _check_range(field: str, value: Any, low: float, high: float | None) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise refuse(400, f"{field} must be a number", param=field)
    if value < low or (high is not None and value > high):
        raise refuse(400, f"{field} must be between {low} and {high}", param=field)
