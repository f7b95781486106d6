"""The settings of a local run: its hyperparameters and its options, with their defaults.

They keep these types from `provider_options` through the run directory to the trainer's optimizer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from ftsdk.backends.capabilities import Range
from ftsdk.backends.local.method_options import MethodOptions, default_of
from ftsdk.backends.local.optimizers import OptimizerName
from ftsdk.backends.local.reports import TrackerName
from ftsdk.types.spec import Hyperparameters, Method, NoBool, Schedule

_CHECKPOINT_EVERY_S = 120.0

_Count = Annotated[int, Field(ge=1), NoBool]
_Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False), NoBool]


def _one_or_more(value: Any) -> Any:
    """Take a single name for a list of one, and each name once."""
    if isinstance(value, str):
        return (value,)
    return tuple(dict.fromkeys(value)) if isinstance(value, list | tuple) else value


_Prompt = Annotated[str, Field(min_length=1, max_length=20_000)]
_Token = Annotated[str, Field(min_length=1, max_length=200)]


class RunHyperparameters(BaseModel):
    """The hyperparameters of a run, complete: what a job leaves open has the default here.

    The settings of single schedules have their defaults in `training.schedules`.

    `max_steps`, where it is given, takes precedence over `epochs`. `max_length` is in tokens,
    `warmup_ratio` a share of all steps, which `warmup_steps` replaces. A `max_grad_norm` of 0 turns clipping off.
    """

    model_config = ConfigDict(frozen=True)  # fields of later versions are ignored

    epochs: float = 3.0
    max_steps: int | None = None
    learning_rate: float = 2e-4
    batch_size: int = 8
    gradient_accumulation_steps: int = 1
    max_length: int = 1024
    warmup_ratio: float = 0.03
    warmup_steps: int | None = None
    schedule: Schedule = "cosine"
    min_lr_ratio: float | None = None
    schedule_cycles: int | None = None
    decay_ratio: float | None = None
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    beta: float | None = None

    @classmethod
    def of(cls, hyperparameters: Hyperparameters, method: Method = "sft") -> Self:
        """Complete the hyperparameters of a job that `Backend.check` has accepted."""
        defaults = {name: default_of(method, name) for name in ("learning_rate", "beta")}
        return cls.model_validate({**defaults, **hyperparameters.given()})

    @property
    def rows_per_step(self) -> int:
        """The rows whose gradient one step of the optimizer takes."""
        return self.batch_size * self.gradient_accumulation_steps

    @model_validator(mode="before")
    @classmethod
    def _none_means_default(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            return {name: value for name, value in data.items() if value is not None}
        return data


_DEFAULTS = RunHyperparameters()

HYPERPARAMETERS: Mapping[str, Range] = {
    "epochs": Range(low=0.001, high=10_000, default=_DEFAULTS.epochs),
    "max_steps": Range(low=1),
    "learning_rate": Range(low=1e-9, high=10.0, default=_DEFAULTS.learning_rate),
    "batch_size": Range(low=1, high=65_536, default=_DEFAULTS.batch_size),
    "gradient_accumulation_steps": Range(
        low=1, high=65_536, default=_DEFAULTS.gradient_accumulation_steps
    ),
    "max_length": Range(low=2, high=1_048_576, default=_DEFAULTS.max_length),
    "warmup_ratio": Range(low=0, high=1, default=_DEFAULTS.warmup_ratio),
    "warmup_steps": Range(low=0, high=100_000_000),
    "schedule": Range(choices=get_args(Schedule), default=_DEFAULTS.schedule),
    "min_lr_ratio": Range(low=0, high=1),
    "schedule_cycles": Range(low=1, high=10_000),
    "decay_ratio": Range(low=0.001, high=1),
    "weight_decay": Range(low=0, high=10, default=_DEFAULTS.weight_decay),
    "max_grad_norm": Range(low=0, default=_DEFAULTS.max_grad_norm),
    "beta": Range(low=0, high=100),
}
"""The range of each hyperparameter that `local` accepts, for its `Capabilities`."""


class RunOptions(MethodOptions):
    """How a run is carried out on this machine. None leaves a choice to the trainer."""

    model_config = ConfigDict(frozen=True)  # options of later versions are ignored

    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:[0-9]+)?)$")] = "auto"
    dtype: Literal["auto", "float32", "fp32", "float16", "fp16", "bfloat16", "bf16"] = "auto"
    threads: _Count | None = None
    """Processor threads; as many as this machine, or its container, allows."""
    processes: Annotated[int, Field(ge=1, le=64), NoBool] | None = None
    """Processes that train together on this machine: one for each GPU, or one."""
    sharding: Literal["ddp", "fsdp"] | None = None
    """What several processes share: the rows of a step (`ddp`), or the weights as well (`fsdp`). By
    default `fsdp` only where the weights do not fit one device."""
    checkpoint_every_s: _Seconds | None = None
    """Seconds; 120, unless checkpoints are asked for by steps."""
    checkpoint_every_steps: _Count | None = None
    keep_checkpoints: _Count = 2
    eval_every_steps: _Count | None = None
    """Validation loss every so many steps, besides the end of each epoch."""
    keep_best: bool | None = None
    """Make the weights of the best evaluation the result; as `early_stopping_patience` does by
    default."""
    best_metric: Annotated[str, Field(min_length=1, max_length=200)] = "validation_loss"
    """The metric of an evaluation that decides which is the best, by its name in the events."""
    best_is: Literal["lowest", "highest"] | None = None
    """Which value of the metric is the best; by default the lowest of a loss, an error or a
    perplexity, and the highest of anything else."""
    early_stopping_patience: _Count | None = None
    """Stop after so many evaluations in a row that are no better than the best before them."""
    early_stopping_min_delta: Annotated[float, Field(ge=0, allow_inf_nan=False), NoBool] = 0.0
    """How much better than the best an evaluation must be to count."""
    chat_template: Annotated[str, Field(min_length=1, max_length=1 << 20)] | None = None
    """The chat template in place of the base model's: a file, its text, or a known name."""
    add_tokens: Annotated[tuple[_Token, ...], BeforeValidator(_one_or_more)] = ()
    """New special tokens. The tokenizer gets them, and their rows of the embedding are trained."""
    truncate: bool = False
    """Cut rows longer than `max_length` instead of refusing them."""
    sample_prompts: Annotated[
        tuple[_Prompt, ...], Field(max_length=50), BeforeValidator(_one_or_more)
    ] = ()
    """Prompts that the model answers while it trains, greedily, for the events."""
    sample_every_steps: _Count | None = None
    """Answers every so many steps; by default at the end of each epoch."""
    sample_tokens: Annotated[int, Field(ge=1, le=1024), NoBool] = 48
    """Tokens of an answer at most."""
    neftune_alpha: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False), NoBool] | None = None
    """Noise on the embeddings while training (NEFTune); 5 is usual."""
    gradient_checkpointing: bool | None = None
    """Compute activations again in the backward pass: slower, with less memory. By default where the
    memory needs it."""
    micro_batch_tokens: _Count | None = None
    """Tokens of one forward pass; 2,048 on a CPU and 16,384 on CUDA, fewer where the memory needs it."""
    offload_activations: bool | None = None
    """Keep the input of each layer in this machine's memory until the backward pass needs it: for a
    GPU, together with `gradient_checkpointing`. By default where the memory needs it."""
    optimizer: OptimizerName = "adamw"
    """How AdamW keeps its two averages: 8 bytes a trained weight with `adamw`, 2.03 with
    `adamw_8bit`, and with `paged_adamw_8bit` those 2.03 in pages that leave a full GPU for this
    machine's memory. The weights themselves and their gradient stay in float32."""
    kernels: Literal["auto", "compiled", "plain"] = "auto"
    """Compile the small steps of the layers; `auto` does so on a CPU where it takes less time than it
    saves, and takes Liger's kernels on CUDA where they are installed."""
    cancel_grace_s: Annotated[float, Field(ge=0), NoBool] = 30.0
    """Seconds that a cancelled trainer has to write a checkpoint before it is terminated."""
    report_to: Annotated[tuple[TrackerName, ...], BeforeValidator(_one_or_more)] = ()
    """Experiment trackers that get the metrics: `tensorboard`, `wandb`, `mlflow`, `trackio`."""
    report_project: Annotated[str, Field(min_length=1, max_length=100)] = "ftsdk"
    """The project in W&B and Trackio, and the experiment in MLflow."""
    concurrent: bool = False
    """Train beside other runs of this home instead of after them."""

    @model_validator(mode="before")
    @classmethod
    def _offload_recomputes(cls, data: Any) -> Any:
        """Inputs of layers are kept, and can be offloaded, where the rest is computed again."""
        if not isinstance(data, Mapping) or not data.get("offload_activations"):
            return data
        if data.get("gradient_checkpointing") is not None:
            return data
        return {**data, "gradient_checkpointing": True}

    @property
    def keeps_best(self) -> bool:
        """Whether the result has the weights of the best evaluation, not the last ones."""
        if self.keep_best is None:
            return self.early_stopping_patience is not None
        return self.keep_best

    @property
    def needs_validation(self) -> bool:
        """Whether the run compares evaluations, which needs validation rows."""
        return self.keeps_best or self.early_stopping_patience is not None

    @property
    def checkpoint_interval_s(self) -> float | None:
        """Seconds between checkpoints, or None where only steps count."""
        if self.checkpoint_every_s is None and self.checkpoint_every_steps is None:
            return _CHECKPOINT_EVERY_S
        return self.checkpoint_every_s


class LocalOptions(RunOptions):
    """What `provider_options` may hold for `local`; anything else is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    pull: bool = False
    """Fetch a base model that is not on this machine yet."""
    init_adapter: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    """An adapter to continue: the id of a job on this machine, or a folder."""

    @model_validator(mode="after")
    def _have_an_effect(self) -> Self:
        """Reject options that do nothing without another one."""
        given = self.model_fields_set
        if "early_stopping_min_delta" in given and self.early_stopping_patience is None:
            raise ValueError("early_stopping_min_delta needs early_stopping_patience")
        lost = sorted({"best_metric", "best_is"} & given)
        samples = sorted({"sample_every_steps", "sample_tokens"} & given)
        if samples and not self.sample_prompts:
            raise ValueError(f"{', '.join(samples)} needs sample_prompts")
        if "report_project" in given and not self.report_to:
            raise ValueError("report_project needs report_to")
        if (self.processes or 1) > 1 and ":" in self.device:
            raise ValueError(f"device={self.device!r} is one device; several processes take 'cuda'")
        if self.sharding == "fsdp" and self.processes == 1:
            raise ValueError("sharding='fsdp' needs more than one process")
        if self.offload_activations and self.gradient_checkpointing is False:
            raise ValueError("offload_activations needs gradient_checkpointing")
        if lost and not self.needs_validation:
            raise ValueError(f"{', '.join(lost)} needs keep_best or early_stopping_patience")
        return self

    def for_run(self) -> RunOptions:
        """The options that the run directory keeps: all but where things come from."""
        return RunOptions.model_validate(self.model_dump(exclude={"pull", "init_adapter"}))
