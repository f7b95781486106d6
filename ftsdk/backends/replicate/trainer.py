"""What a trainer on Replicate takes: a record that maps our names to its inputs.

Each trainer has its own input names. A record lists them; whatever it does not list is refused, and
what it lists is checked against the trainer's published schema before a job is created. Two are
included (`llama`, `plain`); another is declared in `provider_options.trainer`:

    [profiles.prod.provider_options.trainer]
    data = "dataset"                      # the input that takes the URL of the rows
    rows = "chat"                         # how they are written: chat, text or prompt_completion
    inputs = { epochs = "n_epochs", learning_rate = "lr", seed = "seed", rank = "lora_r" }
    hardware = "gpu-l40s"
    logs = "huggingface"                  # or a regular expression with the group `loss`
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ftsdk.backends.replicate.prompts import Shape
from ftsdk.types.spec import JobSpec, spec_error

ADAPTER = ("rank", "alpha", "dropout")


class Trainer(BaseModel):
    """One trainer's inputs.

    `inputs` maps our names (hyperparameters, `seed`, `validation`, `rank`, `alpha`, `dropout`) to
    its own; `fixed` is always sent.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    data: str = Field(min_length=1, max_length=100)
    rows: Shape = "chat"
    inputs: Mapping[str, str] = Field(default_factory=dict)
    fixed: Mapping[str, Any] = Field(default_factory=dict)
    adapters: tuple[Literal["lora", "full"], ...] = ("lora",)
    hardware: str | None = None
    logs: str | None = Field(default=None, max_length=500)
    prompt: str = "prompt"
    system_prompt: str | None = None

    @field_validator("inputs")
    @classmethod
    def _names_are_ours(cls, value: Mapping[str, str]) -> Mapping[str, str]:
        unknown = sorted(set(value) - KNOWN)
        if unknown:
            raise ValueError(f"{', '.join(unknown)}: not one of {', '.join(sorted(KNOWN))}")
        return value

    @field_validator("logs")
    @classmethod
    def _pattern_has_a_loss(cls, value: str | None) -> str | None:
        if value in (None, "huggingface"):
            return value
        try:
            groups = re.compile(str(value)).groupindex
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        if "loss" not in groups and "validation_loss" not in groups:
            raise ValueError("a regular expression with a group named loss or validation_loss")
        return value


KNOWN = frozenset(
    {
        "epochs", "max_steps", "learning_rate", "batch_size", "gradient_accumulation_steps",
        "max_length", "warmup_ratio", "schedule", "weight_decay", "max_grad_norm", "seed",
        "validation", *ADAPTER,
    }
)  # fmt: skip

TRAINERS: Mapping[str, Trainer] = {
    # The trainers of the Llama 2 days: `train_data`, `num_train_epochs`, `train_batch_size` are
    # documented; the others are checked against the trainer's own schema before anything is sent.
    "llama": Trainer(
        data="train_data",
        rows="prompt_completion",
        inputs={
            "epochs": "num_train_epochs",
            "batch_size": "train_batch_size",
            "learning_rate": "learning_rate",
            "gradient_accumulation_steps": "gradient_accumulation_steps",
            "seed": "seed",
            "validation": "validation_data",
            "rank": "lora_rank",
            "alpha": "lora_alpha",
            "dropout": "lora_dropout",
        },
        logs="huggingface",
    ),
    "plain": Trainer(data="train_data", rows="chat", adapters=("lora", "full")),
}
"""The included records. `plain` passes the rows and `provider_options.input`, nothing else."""


@dataclass(frozen=True)
class Options:
    """The provider options of a job, parsed."""

    trainer: Trainer
    destination: str | None = None
    create_destination: bool = False
    data_url: str | None = None
    input: Mapping[str, Any] = field(default_factory=dict)
    hardware: str | None = None
    seconds: tuple[float, float] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


_PLAIN = frozenset(
    {"trainer", "destination", "create_destination", "data_url", "input", "hardware", "seconds"}
)
_THROUGH = frozenset({"webhook", "webhook_events_filter"})
_DESTINATION = re.compile(r"^[A-Za-z0-9][\w.-]{0,99}/[A-Za-z0-9][\w.-]{0,99}$")


def options_of(spec: JobSpec, defaults: Mapping[str, Any]) -> tuple[Options, list[str]]:
    """Return the options of `spec` over the configured `defaults`, and what is wrong with them."""
    options = {
        **{k: defaults[k] for k in ("destination", "trainer", "hardware") if k in defaults},
        **spec.provider_options,
    }
    faults = [
        f"provider_options.{name} is not known; what the trainer takes goes into "
        f"provider_options.input"
        for name in sorted(set(options) - _PLAIN - _THROUGH)
    ]
    trainer = _trainer(options.get("trainer", "llama"), faults)
    destination, url = options.get("destination"), options.get("data_url")
    if destination is not None and not _is_destination(destination):
        faults.append(f"provider_options.destination {destination!r} is not owner/name")
    hardware = options.get("hardware")
    if hardware is not None and not isinstance(hardware, str):
        faults.append("provider_options.hardware must be one of Replicate's names, as text")
        hardware = None
    if url is not None and not (isinstance(url, str) and url.startswith("https://")):
        faults.append("provider_options.data_url must be an https:// URL")
    given = options.get("input", {})
    if not isinstance(given, Mapping):
        faults.append("provider_options.input must be a table")
        given = {}
    seconds = options.get("seconds")
    if seconds is not None and not _is_span(seconds):
        faults.append("provider_options.seconds must be two numbers: minimum and maximum")
        seconds = None
    return (
        Options(
            trainer=trainer,
            destination=None if destination is None else str(destination),
            create_destination=options.get("create_destination") is True,
            data_url=url if isinstance(url, str) else None,
            input=given,
            hardware=hardware or trainer.hardware,
            seconds=None if seconds is None else (float(seconds[0]), float(seconds[1])),
            extra={k: options[k] for k in sorted(_THROUGH) if k in options},
        ),
        faults,
    )


def _is_destination(value: Any) -> bool:
    return isinstance(value, str) and _DESTINATION.match(value) is not None


def _is_span(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(isinstance(one, int | float) and not isinstance(one, bool) for one in value)
        and 0 <= value[0] <= value[1]
    )


def _trainer(value: Any, faults: list[str]) -> Trainer:
    if isinstance(value, str) and value in TRAINERS:
        return TRAINERS[value]
    if isinstance(value, Mapping):
        try:
            return Trainer.model_validate(dict(value))
        except ValidationError as error:
            faults_found = getattr(spec_error(error), "faults", ())
            faults += [f"provider_options.trainer.{one}" for one in faults_found]
            return TRAINERS["plain"]
    known = ", ".join(sorted(TRAINERS))
    faults.append(f"provider_options.trainer must be a table or one of {known}")
    return TRAINERS["plain"]
