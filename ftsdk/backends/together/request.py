"""Build the body of `POST /v1/fine-tunes`; what cannot be sent is refused by name.

Two checks: `faults_of` needs no request, `faults_by_limits` uses the model's own limits. Both
happen before anything is uploaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ftsdk.backends.capabilities import Range
from ftsdk.backends.together import sdk_names
from ftsdk.types.plan import PlannedField
from ftsdk.types.spec import JobSpec

SUFFIX_LIMIT = 40
_SDK = "together 3.1.1, lib/resources/fine_tuning.py, 2026-11-04"

HYPERPARAMETERS: Mapping[str, Range] = {
    "epochs": Range(low=1, default=1, sent_as="n_epochs", source=_SDK),
    "learning_rate": Range(low=0, default=1e-5, sent_as="learning_rate", source=_SDK),
    "batch_size": Range(low=1, default="max", sent_as="batch_size", source=_SDK),
    "gradient_accumulation_steps": Range(low=1, sent_as="gradient_accumulation_steps", source=_SDK),
    "max_length": Range(low=1, sent_as="max_seq_length", source=_SDK),
    "warmup_ratio": Range(low=0, high=1, default=0.0, sent_as="warmup_ratio", source=_SDK),
    "schedule": Range(
        choices=("cosine", "linear", "constant"),
        default="cosine",
        sent_as="lr_scheduler",
        source=_SDK,
    ),
    "weight_decay": Range(low=0, default=0.0, sent_as="weight_decay", source=_SDK),
    "max_grad_norm": Range(low=0, default=1.0, sent_as="max_grad_norm", source=_SDK),
    "beta": Range(low=0, sent_as="training_method.dpo_beta", source=_SDK),
}


def faults_of(spec: JobSpec) -> list[str]:
    """Return what this backend refuses beyond its capabilities, each by name."""
    asked, options = spec.hyperparameters, spec.provider_options
    faults = []
    if asked.epochs is not None and asked.epochs != int(asked.epochs):
        faults.append(f"hyperparameter epochs={asked.epochs:g} must be a whole number")
    if asked.beta is not None and spec.method != "dpo":
        faults.append("hyperparameter beta is for method 'dpo'")
    alpha = spec.adapter.alpha if spec.adapter is not None else None
    if alpha is not None and alpha != int(alpha):
        faults.append(f"adapter alpha={alpha:g} must be a whole number")
    faults += sdk_names.faults_of(spec)
    method = options.get("training_method")
    if method is not None:
        if not isinstance(method, Mapping):
            faults.append("provider_options.training_method must be a table")
        elif {"method", "dpo_beta"} & set(method):
            faults.append("provider_options.training_method must not set method or dpo_beta")
    source = options.get("from_checkpoint")
    if source is not None and not (isinstance(source, str) and source.strip()):
        faults.append("provider_options.from_checkpoint must be a job id or an output name")
    if source is not None and "from_hf_model" in options:
        faults.append("provider_options has both from_checkpoint and from_hf_model")
    return faults


def suffix_of(name: str | None, tag: str) -> str:
    """Return the name, shortened and plain, and the tag: at most 40 characters."""
    plain = re.sub(r"[^a-z0-9]+", "-", (name or "").lower()).strip("-")
    room = SUFFIX_LIMIT - len(tag) - 1
    plain = plain[:room].strip("-")
    return f"{plain}-{tag}" if plain else tag


def _schedule(name: str) -> dict[str, Any]:
    if name == "cosine":
        arguments: dict[str, Any] = {"min_lr_ratio": 0.0, "num_cycles": 0.5}
    else:
        # Together has no constant schedule; linear down to the whole of the rate is one.
        arguments = {"min_lr_ratio": 1.0 if name == "constant" else 0.0}
    return {
        "lr_scheduler_type": "linear" if name == "constant" else name,
        "lr_scheduler_args": arguments,
    }


def training_type(spec: JobSpec) -> dict[str, Any]:
    """Return the `training_type` field."""
    lora = spec.adapter
    if lora is None:
        return {"type": "Full"}
    modules = lora.target_modules
    return {
        "type": "Lora",
        "lora_r": lora.rank,
        "lora_alpha": int(lora.alpha or 2 * lora.rank),
        "lora_dropout": lora.dropout,
        "lora_trainable_modules": modules if isinstance(modules, str) else ",".join(modules),
    }


def training_method(spec: JobSpec) -> dict[str, Any]:
    """Return the `training_method` field, with what the options add."""
    extra = dict(spec.provider_options.get("training_method") or {})
    if spec.method == "sft":
        return {"method": "sft", "train_on_inputs": "auto", **extra}
    beta = spec.hyperparameters.beta
    return {"method": "dpo", **({} if beta is None else {"dpo_beta": beta}), **extra}


def body_of(
    spec: JobSpec, *, training_file: str, validation_file: str | None, suffix: str
) -> dict[str, Any]:
    """Return the whole body, without secrets."""
    asked = {
        **{n: r.default for n, r in HYPERPARAMETERS.items() if r.default is not None},
        **spec.hyperparameters.given(),
    }
    options = spec.provider_options
    source = options.get("from_checkpoint")
    body: dict[str, Any] = {
        "training_file": training_file,
        **({} if source is not None else {"model": spec.model}),
        "n_epochs": int(asked["epochs"]),
        "n_checkpoints": 1,
        "packing": True,
        "learning_rate": float(asked["learning_rate"]),
        "batch_size": asked["batch_size"],
        "warmup_ratio": float(asked["warmup_ratio"]),
        "lr_scheduler": _schedule(asked["schedule"]),
        "weight_decay": float(asked["weight_decay"]),
        "max_grad_norm": float(asked["max_grad_norm"]),
        "training_type": training_type(spec),
        "training_method": training_method(spec),
        "random_seed": spec.seed,
        "suffix": suffix,
    }
    if "max_length" in asked:
        body["max_seq_length"] = asked["max_length"]
    if "gradient_accumulation_steps" in asked:
        body["gradient_accumulation_steps"] = asked["gradient_accumulation_steps"]
    if validation_file is not None:
        # Without evaluations Together would accept the validation rows and never use them.
        needed = sdk_names.evaluations_for_early_stopping(options)
        body.update(validation_file=validation_file, n_evals=max(1, int(asked["epochs"]), needed))
    return sdk_names.place_options(body, options)


def with_secrets(body: Mapping[str, Any], env: Mapping[str, str]) -> dict[str, Any]:
    """Return the body as it is sent: keys of other services are added where they are needed."""
    sent = dict(body)
    if any(name.startswith("wandb_") for name in body) and env.get("WANDB_API_KEY"):
        sent["wandb_key"] = env["WANDB_API_KEY"]
    if {"from_hf_model", "hf_output_repo_name"} & set(body) and env.get("HF_TOKEN"):
        sent["hf_api_token"] = env["HF_TOKEN"]
    return sent


_ESTIMATE_FIELDS = (
    "training_file",
    "validation_file",
    "model",
    "from_checkpoint",
    "n_epochs",
    "n_evals",
    "training_method",
    "training_type",
)


def estimate_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of the body that the price estimate takes."""
    return {name: body[name] for name in _ESTIMATE_FIELDS if name in body}


def planned(spec: JobSpec) -> Iterator[PlannedField]:
    """Yield the value asked for and the value sent, for everything but hyperparameters."""
    kind = training_type(spec)
    asked = "full" if spec.adapter is None else spec.adapter.model_dump(exclude_none=True)
    yield PlannedField(name="adapter", asked=asked, sent=kind, sent_as="training_type")
    yield PlannedField(
        name="method", asked=spec.method, sent=training_method(spec), sent_as="training_method"
    )
    yield PlannedField(name="seed", asked=spec.seed, sent=spec.seed, sent_as="random_seed")
    yield PlannedField(
        name="name",
        asked=spec.name,
        sent=suffix_of(spec.name, "ft…"),
        sent_as="suffix",
        note="ends in the job's tag, by which it is found again",
    )
    if "packing" not in spec.provider_options:
        yield PlannedField(name="packing", sent=True, sent_as="packing", note="Together's default")
    for name, value in spec.provider_options.items():
        if name != "training_method":
            place = sdk_names.MOVED.get(name)
            sent_as = name if place is None else ".".join(place.path)
            yield PlannedField(
                name=f"provider_options.{name}", asked=value, sent=value, sent_as=sent_as
            )


# --- the model's own limits --------------------------------------------------------------------


def faults_by_limits(body: Mapping[str, Any], limits: Mapping[str, Any]) -> list[str]:
    """Return what the model's limits (`GET /v1/fine-tunes/models/limits`) forbid, each by name."""
    faults = [*_simple_faults(body, limits), *_evaluation_faults(body)]
    if _trains_vision(body) and limits.get("supports_vision") is not True:
        faults.append("provider_options.train_vision: the model has no vision encoder to train")
    kind, method = body["training_type"], body["training_method"]["method"]
    full = kind["type"] == "Full"
    part = limits.get("full_training" if full else "lora_training")
    if full and (not part or limits.get("supports_full_training") is False):
        return [*faults, "full fine-tuning (adapter=None): the model takes LoRA only"]
    part = part if isinstance(part, Mapping) else {}
    batch = body["batch_size"]
    if batch != "max":
        most = part.get("max_batch_size_dpo" if method == "dpo" else "max_batch_size")
        faults += _outside("batch_size", batch, part.get("min_batch_size"), most)
    if not full:
        faults += _outside("adapter rank", kind["lora_r"], None, part.get("max_rank"))
        modules, known = kind["lora_trainable_modules"], part.get("target_modules")
        if modules != "all-linear" and known:
            unknown = [one for one in modules.split(",") if one not in known]
            if unknown:
                faults.append(
                    f"adapter target_modules {', '.join(unknown)} (it has {', '.join(known)})"
                )
    return faults


def _simple_faults(body: Mapping[str, Any], limits: Mapping[str, Any]) -> Iterator[str]:
    method = body["training_method"]["method"]
    least = limits.get("min_learning_rate")
    yield from _outside("epochs", body["n_epochs"], None, limits.get("max_num_epochs"))
    yield from _outside(
        "learning_rate", body["learning_rate"], least, limits.get("max_learning_rate")
    )
    yield from _outside(
        "max_length",
        body.get("max_seq_length"),
        limits.get("min_max_seq_length"),
        limits.get(f"max_seq_length_{method}"),
    )
    for field, limit in (("n_evals", "max_num_evals"), ("n_checkpoints", "max_num_checkpoints")):
        yield from _outside(field, body.get(field), None, limits.get(limit))


def _trains_vision(body: Mapping[str, Any]) -> bool:
    vision = body.get("multimodal_params")
    return isinstance(vision, Mapping) and bool(vision.get("train_vision"))


def _evaluation_faults(body: Mapping[str, Any]) -> Iterator[str]:
    """Yield what evaluations need that the job does not have, as Together refuses it."""
    needed, given = sdk_names.evaluations_for_early_stopping(body), body.get("n_evals") or 0
    if "validation_file" not in body:
        if needed:
            yield "provider_options.early_stopping_enabled needs validation rows"
        elif isinstance(given, int) and given > 0:
            yield f"provider_options.n_evals={given} needs validation rows"
    elif isinstance(given, int) and given < needed:
        yield f"provider_options.n_evals={given} must be at least {needed} for early stopping"


def _outside(name: str, value: Any, low: Any, high: Any) -> list[str]:
    if not isinstance(value, int | float):
        return []  # not given, or an option that Together checks
    if isinstance(low, int | float) and value < low:
        return [f"{name}={value:g} must be at least {low:g} for this model"]
    if isinstance(high, int | float) and high > 0 and value > high:
        return [f"{name}={value:g} must be at most {high:g} for this model"]
    return []
