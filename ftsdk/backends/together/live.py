"""What Together is asked by `ftsdk doctor --live`.

Fields are those of together 3.1.1 (2026-11-04) and of the OpenAPI text of 2026-04-28.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from ftsdk.backends.hosted.coerce import as_count, as_text
from ftsdk.backends.hosted.live.plan import (
    NOT_SEEN,
    Check,
    Conclusion,
    Evidence,
    Plan,
    Read,
    counted,
    tag_is_kept,
)
from ftsdk.backends.hosted.live.shape import Field, Shape
from ftsdk.backends.together.cost import billed
from ftsdk.backends.together.job_mapping import STATUSES
from ftsdk.catalogue.load import lookup, shipped
from ftsdk.catalogue.schema import Provider, Rate

_TEXT, _TIME, _COUNT = Field("text"), Field("time"), Field("count")
_MAYBE_TEXT = Field("text", optional=True, nullable=True)
_MAYBE_COUNT = Field("count", optional=True, nullable=True)
_JOB = Shape(
    {
        "id": _TEXT,
        "status": Field("text", words=frozenset(STATUSES)),
        "created_at": _TIME,
        "updated_at": _TIME,
        "model": _TEXT,
        "model_output_name": _MAYBE_TEXT,
        "model_output_path": _MAYBE_TEXT,
        "model_object_id": _MAYBE_TEXT,
        "adapter_object_id": _MAYBE_TEXT,
        "suffix": _MAYBE_TEXT,
        "from_checkpoint": _MAYBE_TEXT,
        "training_type": Field("object", optional=True, nullable=True),
        "training_method": Field("object", optional=True, nullable=True),
        "token_count": _MAYBE_COUNT,
        "total_price": Field("number", optional=True, nullable=True),
        "total_steps": _MAYBE_COUNT,
        "steps_completed": _MAYBE_COUNT,
        "epochs_completed": Field("number", optional=True, nullable=True),
        "n_epochs": Field("number", optional=True, nullable=True),
        "progress": Field("object", optional=True, nullable=True),
    },
    frozenset({
        "training_file", "validation_file", "trainingfile_numlines", "trainingfile_size",
        "started_at", "n_checkpoints", "n_evals", "batch_size", "learning_rate", "lr_scheduler",
        "warmup_ratio", "max_grad_norm", "weight_decay", "eval_steps", "train_on_inputs",
        "multimodal_params", "job_id", "events", "param_count", "queue_depth", "user_id",
        "owner_address", "packing", "max_seq_length", "random_seed", "wandb_project_name",
        "wandb_name", "wandb_url", "from_hf_model", "hf_model_revision", "evals_completed",
        "adapter_output_name", "model_object_name", "model_object_revision_id",
        "adapter_object_name", "adapter_object_revision_id", "early_stopped",
        "early_stopping_best_step", "object",
    }),
)  # fmt: skip
_EVENT = Shape(
    {"created_at": _TIME, "message": _TEXT, "type": _TEXT, "level": _MAYBE_TEXT,
     "hash": _MAYBE_TEXT},
    frozenset({"object", "param_count", "token_count", "total_steps", "wandb_url", "step",
               "checkpoint_path", "model_path", "training_offset"}),
)  # fmt: skip
_CHECKPOINT = Shape(
    {"step": _COUNT, "created_at": _TIME, "checkpoint_type": _MAYBE_TEXT, "path": _MAYBE_TEXT},
    frozenset({"checkpoint", "object_id", "object"}),
)
_FILE = Shape(
    {"id": _TEXT, "bytes": _COUNT, "created_at": _TIME, "filename": _TEXT, "purpose": _TEXT,
     "processing_status": _MAYBE_TEXT},
    frozenset({"object", "Processed", "FileType", "LineCount", "validation_report"}),
)  # fmt: skip
_BATCHES = {
    "max_batch_size": _COUNT, "min_batch_size": _COUNT,
    "max_batch_size_dpo": Field("count", optional=True, nullable=True),
}  # fmt: skip
_LIMITS = Shape(
    {
        "model_name": _TEXT,
        "max_num_epochs": _COUNT,
        "max_num_evals": _COUNT,
        "max_learning_rate": Field("number"),
        "min_learning_rate": Field("number"),
        "max_seq_length_sft": _MAYBE_COUNT,
        "max_seq_length_dpo": _MAYBE_COUNT,
        "lora_training": Field("object", optional=True, nullable=True, inner=_BATCHES),
        "full_training": Field("object", optional=True, nullable=True, inner=_BATCHES),
    },
    frozenset({"supports_vision", "supports_tools", "supports_reasoning", "merge_output_lora",
               "max_num_checkpoints", "min_max_seq_length", "supports_full_training",
               "default_gradient_accumulation_steps"}),
)  # fmt: skip
_MACHINE = Shape(
    {"id": _TEXT, "name": _TEXT, "priceCentsPerHour": _COUNT},
    frozenset({"description", "gpuCount", "gpuMemoryGib", "gpuType", "regions", "object"}),
)
_MODELS = Shape({"models": Field("list")})


def plan() -> Plan:
    """Return the reads of Together, and the checks of its facts."""
    jobs = "/v1/fine-tunes"
    return Plan(
        (
            Read("models", f"{jobs}/models/supported", _MODELS, items=None),
            Read("limits", f"{jobs}/models/limits", _LIMITS, items=None, ask=_first_model),
            Read("files", "/v1/files", _FILE),
            Read("jobs", jobs, _JOB),
            Read("job", f"{jobs}/{{id}}", _JOB, items=None, each="jobs"),
            Read("events", f"{jobs}/{{id}}/events", _EVENT, each="jobs"),
            Read("checkpoints", f"{jobs}/{{id}}/checkpoints", _CHECKPOINT, each="jobs"),
            Read("machines", "/v2/public/inference-instance-types", _MACHINE, optional=True),
        ),
        {
            "capabilities.find_by": tag_is_kept("jobs", _searched),
            "capabilities.price": _unit_of_the_price,
            "catalogue.models.Qwen3-8B.note": _is_gone("Qwen3-8B"),
            **_rate_checks(shipped().providers["together"]),
        },
    )


def _rate_checks(prices: Provider) -> dict[str, Check]:
    """Return a check for each unconfirmed rate: the bills of this account are compared with it."""
    return {
        f"catalogue.rates.{card}.{number}": _rate_check(card, rate, prices)
        for card, rates in prices.rates.items()
        for number, rate in enumerate(rates, 1)
        if not rate.confirmed
    }


def _rate_check(card: str, rate: Rate, prices: Provider) -> Check:
    def check(seen: Evidence) -> Conclusion:
        paid = [
            usd / tokens * 1_000_000
            for job in seen.of("job")
            if _card_of(job) == card and rate.covers(*_kind_of(job))
            for usd, tokens in _bill_of(job, prices)
        ]
        if not paid:
            return NOT_SEEN
        low, high = rate.usd_per_mtok.low, rate.usd_per_mtok.high
        found = f"billed ${min(paid):.2f} to ${max(paid):.2f} per 1M tokens"
        return ("confirmed" if all(low <= one <= high for one in paid) else "refuted"), found

    return check


def _card_of(job: Mapping[str, Any]) -> str | None:
    """Return the rate card of a job's model; None for a model that the catalogue does not have."""
    entry = lookup("together", str(job.get("model")), shipped())
    return None if entry is None or entry.model is None else entry.model.rates


def _kind_of(job: Mapping[str, Any]) -> tuple[str, str]:
    """Return the method and the kind of training of a job."""
    method, kind = job.get("training_method"), job.get("training_type")
    return (
        "dpo" if isinstance(method, Mapping) and method.get("method") == "dpo" else "sft",
        "full" if isinstance(kind, Mapping) and kind.get("type") == "Full" else "lora",
    )


def _bill_of(job: Mapping[str, Any], prices: Provider) -> Iterator[tuple[Decimal, int]]:
    """Yield the bill of an ended job and its tokens, unless it paid the minimum of every job."""
    tokens = as_count(job.get("token_count"))
    bill = billed(job, shipped(), dt.date.max)
    if bill is None or bill.high is None or not tokens:
        return
    if prices.minimum is None or bill.high > prices.minimum.usd:
        yield bill.high, tokens


def _searched(job: Mapping[str, Any]) -> str:
    return " ".join(
        filter(None, (as_text(job.get(name)) for name in ("suffix", "model_output_name")))
    )


def _names(seen: Evidence) -> list[str]:
    return [
        name
        for reply in seen.of("models")
        for name in reply.get("models") or []
        if isinstance(name, str)
    ]


def _first_model(seen: Evidence) -> Iterator[Mapping[str, str]]:
    for name in _names(seen)[:1]:
        yield {"model_name": name}


def _is_gone(model: str) -> Check:
    """Return the check of "gone from the newest list of tunable models"."""

    def check(seen: Evidence) -> Conclusion:
        names = {name.rpartition("/")[2] for name in _names(seen)}
        if not names:
            return NOT_SEEN
        if model in names:
            return "refuted", "it is in the list of tunable models"
        return "confirmed", "it is not in the list of tunable models"

    return check


def _unit_of_the_price(seen: Evidence) -> Conclusion:
    """Conclude whether the `total_price` of ended jobs fits the price list in exactly one unit."""
    priced = [
        job
        for job in seen.of("job")
        if job.get("total_price") and str(job.get("status")).lower() == "completed"
    ]
    bills = [billed(job, shipped(), dt.date.max) for job in priced]
    if not bills:
        return NOT_SEEN
    units = {bill.source for bill in bills if bill is not None}
    if len(units) == 1 and None not in bills:
        return "confirmed", f"{counted(len(bills), 'bill')} in one unit"
    unread = sum(bill is None for bill in bills)
    return "refuted", f"{unread} of {counted(len(bills), 'bill')} fit no unit"
