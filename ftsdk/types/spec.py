"""The specification of a job: model, method, adapter and hyperparameters, validated on creation.

`None` means the backend's own default; `plan` shows it before anything is sent. `learning_rate` is
absolute, `learning_rate_multiplier` scales the provider's own default; a job gives at most one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic._internal._model_construction import ModelMetaclass  # pydantic has no public name
from pydantic_core import to_jsonable_python

from ftsdk.errors import SpecError
from ftsdk.util.arguments import is_text
from ftsdk.util.names import close_names, nearest

__all__ = ["Hyperparameters", "JobSpec", "LoRA", "Method", "Schedule", "spec_error"]

Schedule = Literal[
    "constant",
    "linear",
    "cosine",
    "cosine_with_min_lr",
    "cosine_with_restarts",
    "warmup_stable_decay",
]
"""How the learning rate falls after the warm-up; the names are those of transformers."""

Method = Literal["sft", "dpo", "kto", "orpo"]
"""How the model learns: supervised rows, pairs of a preferred and a rejected answer (`dpo`, and
`orpo` without a reference model), or answers labelled good or bad (`kto`)."""

METHODS: tuple[Method, ...] = get_args(Method)
"""Every training method."""

PAIR_METHODS = frozenset({"dpo", "orpo"})
"""The methods that train pairs."""


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    return value


NoBool = BeforeValidator(_no_bool)
"""Rejects true and false for a number."""
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False), NoBool]
_NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False), NoBool]
_Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False), NoBool]
_Count = Annotated[int, Field(gt=0), NoBool]


class _RaisesSpecError(ModelMetaclass):
    """Makes `LoRA(rank=0)` raise a `SpecError`, as a job does; validation inside a job is unchanged."""

    if not TYPE_CHECKING:  # type checkers use the signature of the fields

        def __call__(cls, *args: Any, **kwargs: Any) -> Any:  # noqa: N805  # the self of a metaclass
            try:
                return super().__call__(*args, **kwargs)
            except ValidationError as error:
                raise spec_error(error, where=f"the arguments of {cls.__name__}") from error


class _Frozen(BaseModel, metaclass=_RaisesSpecError):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


LORA_VARIANTS = ("use_rslora", "use_dora", "modules_to_save", "trainable_token_indices")
"""The settings of a LoRA that only some backends have."""


class LoRA(_Frozen):
    """A low-rank adapter beside a frozen base model (Hu et al., 2021).

    `quantize="nf4"` keeps the base in 4-bit NormalFloat while training: QLoRA (Dettmers et al.,
    2023). `alpha` defaults to twice the rank.

    `use_rslora` scales by alpha/√rank instead of alpha/rank (Kalajdzievski, 2023). `use_dora` trains
    the norms of the weights as well (Liu et al., 2024). `modules_to_save` are layers that are
    trained whole, such as `lm_head`, and `trainable_token_indices` tokens, by id or as text, whose
    rows of the embedding are trained. A provider that cannot do one of these refuses it by name.
    """

    rank: Annotated[int, Field(ge=1, le=1024), NoBool] = 16
    alpha: _Positive | None = None
    dropout: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False), NoBool] = 0.0
    target_modules: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    quantize: Literal["nf4"] | None = None
    use_rslora: bool = False
    use_dora: bool = False
    modules_to_save: tuple[str, ...] = ()
    trainable_token_indices: tuple[Annotated[int, Field(ge=0), NoBool] | str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _alpha_follows_rank(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and data.get("alpha") is None:
            rank = data.get("rank", 16)
            if isinstance(rank, int) and not isinstance(rank, bool) and 0 < rank < 2**31:
                return {**data, "alpha": 2.0 * rank}
        return data

    @model_validator(mode="after")
    def _names_of_modules(self) -> Self:
        if self.target_modules == ():
            raise ValueError("target_modules is empty; name at least one, or use 'all-linear'")
        return self

    def variants(self) -> dict[str, Any]:
        """Return the settings beyond plain LoRA that are set, by name."""
        found = {name: getattr(self, name) for name in LORA_VARIANTS}
        return {name: value for name, value in found.items() if value}


_SCHEDULES_WITH: Mapping[str, tuple[Schedule, ...]] = {
    "min_lr_ratio": ("cosine_with_min_lr", "warmup_stable_decay"),
    "schedule_cycles": ("cosine_with_restarts",),
    "decay_ratio": ("warmup_stable_decay",),
}
"""The schedules that each of their settings is for."""


class Hyperparameters(_Frozen):
    """Training settings. `None` is the backend's default, which `plan` shows.

    `warmup_ratio` (a share of all steps) and `warmup_steps` exclude each other. `min_lr_ratio` is
    where `cosine_with_min_lr` (0.1 by default) and `warmup_stable_decay` (0) end, as a share of the
    learning rate; `schedule_cycles` is the number of falls of `cosine_with_restarts` (2);
    `decay_ratio` the share of all steps in which `warmup_stable_decay` falls (0.1).
    """

    epochs: _Positive | None = None
    max_steps: _Count | None = None
    learning_rate: _Positive | None = None
    learning_rate_multiplier: _Positive | None = None
    batch_size: _Count | None = None
    gradient_accumulation_steps: _Count | None = None
    max_length: _Count | None = None
    warmup_ratio: _Fraction | None = None
    warmup_steps: Annotated[int, Field(ge=0), NoBool] | None = None
    schedule: Schedule | None = None
    min_lr_ratio: _Fraction | None = None
    schedule_cycles: _Count | None = None
    decay_ratio: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False), NoBool] | None = None
    weight_decay: _NonNegative | None = None
    max_grad_norm: _NonNegative | None = None
    beta: _Positive | None = None

    @model_validator(mode="after")
    def _one_learning_rate(self) -> Self:
        if self.learning_rate is not None and self.learning_rate_multiplier is not None:
            raise ValueError(
                "learning_rate (absolute) and learning_rate_multiplier exclude each other"
            )
        return self

    @model_validator(mode="after")
    def _one_warmup(self) -> Self:
        if self.warmup_ratio is not None and self.warmup_steps is not None:
            raise ValueError("warmup_ratio and warmup_steps exclude each other")
        return self

    @model_validator(mode="after")
    def _fits_the_schedule(self) -> Self:
        for name, schedules in _SCHEDULES_WITH.items():
            if getattr(self, name) is not None and self.schedule not in schedules:
                wanted = " or ".join(repr(one) for one in schedules)
                raise ValueError(f"{name} is for schedule={wanted}, not {self.schedule!r}")
        return self

    def given(self) -> dict[str, Any]:
        """Return the fields that are set, by name."""
        return {k: v for k, v in self.model_dump().items() if v is not None}


_LATER_HYPERPARAMETERS = ("warmup_steps", "min_lr_ratio", "schedule_cycles", "decay_ratio")
"""Fields that the first fingerprints did not have: a job without them keeps its fingerprint."""


class JobSpec(_Frozen):
    """The complete specification of a job: what is trained, how, where, and the spending cap."""

    provider: Annotated[str, Field(min_length=1, max_length=64)]
    model: Annotated[str, Field(min_length=1, max_length=512)]
    method: Method = "sft"
    adapter: LoRA | None = Field(default_factory=LoRA)
    hyperparameters: Hyperparameters = Field(default_factory=Hyperparameters)
    name: Annotated[str, Field(max_length=200)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**31), NoBool] = 0
    tags: Mapping[str, str] = Field(default_factory=dict)
    max_cost: Annotated[Decimal, Field(ge=0, allow_inf_nan=False)] | None = None
    provider_options: Mapping[str, Any] = Field(default_factory=dict)

    @field_validator("provider", "model", "name", "tags")
    @classmethod
    def _can_be_stored(cls, value: Any) -> Any:
        """Reject NUL and lone surrogates, which neither the journal nor JSON can hold."""
        texts = [*value, *value.values()] if isinstance(value, Mapping) else [value]
        if not all(text is None or is_text(text) for text in texts):
            raise ValueError("has characters that cannot be stored: NUL or a lone surrogate")
        return value

    @field_validator("provider_options")
    @classmethod
    def _options_are_json(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """Reject values that JSON cannot represent: options are journaled and sent as JSON."""
        try:
            plain = to_jsonable_python(options)
            json.dumps(plain, allow_nan=False, ensure_ascii=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"cannot be written as JSON: {error}") from error
        return options

    def fingerprint(self, train_sha256: str, validation_sha256: str | None) -> str:
        """Return a SHA-256 of everything that determines what is trained and where.

        Tags and `max_cost` are left out: the same job with other tags is the same job.
        """
        canonical = self.model_dump(mode="json", exclude={"tags", "max_cost"})
        for name in _LATER_HYPERPARAMETERS:
            if canonical["hyperparameters"][name] is None:
                del canonical["hyperparameters"][name]
        for name in LORA_VARIANTS if self.adapter is not None else ():
            if not canonical["adapter"][name]:
                del canonical["adapter"][name]
        canonical["train_sha256"] = train_sha256
        canonical["validation_sha256"] = validation_sha256
        text = json.dumps(canonical, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    @classmethod
    def build(cls, **fields: Any) -> Self:
        """Create a spec; raises one `SpecError` with all faults, each with its field's name."""
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise spec_error(error) from error


def spec_error(error: ValidationError, *, where: str = "the job's arguments") -> SpecError:
    """Convert a pydantic error to a `SpecError`, with one fault per field and no input values."""
    faults = []
    for item in error.errors(include_url=False, include_input=False, include_context=False):
        field = ".".join(str(part) for part in item["loc"]) or "job"
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = _unknown_field(item["loc"], error.title)
        faults.append(f"{field}: {message[:1].lower()}{message[1:]}")
    what = faults[0] if len(faults) == 1 else f"{len(faults)} faults: " + "; ".join(faults)
    return SpecError(
        what,
        where=where,
        hint="correct these fields; `ftsdk plan` shows what would be sent",
        faults=tuple(faults),
    )


OTHER_NAMES: Mapping[str, str] = {
    "lr": "learning_rate",
    "n_epochs": "epochs",
    "num_epochs": "epochs",
    "num_train_epochs": "epochs",
    "bs": "batch_size",
    "per_device_train_batch_size": "batch_size",
    "lr_scheduler_type": "schedule",
    "num_warmup_steps": "warmup_steps",
    "min_lr_rate": "min_lr_ratio",
    "num_cycles": "schedule_cycles",
    "max_seq_length": "max_length",
    "grad_accum": "gradient_accumulation_steps",
    "dpo_beta": "beta",
    "r": "rank",
    "lora_r": "rank",
    "lora_alpha": "alpha",
    "lora_dropout": "dropout",
    "rslora": "use_rslora",
    "dora": "use_dora",
    "trainable_tokens": "trainable_token_indices",
}
"""What other libraries call our hyperparameters and adapter fields: transformers, peft, providers."""


def _unknown_field(place: tuple[int | str, ...], model: str) -> str:
    """Return what is wrong with a field that does not exist, with the nearest that do."""
    name, group = str(place[-1]), str(place[-2]) if len(place) > 1 else model
    if group in ("hyperparameters", "Hyperparameters"):
        return f"is not a hyperparameter{_meant(name, Hyperparameters.model_fields)}"
    if group in ("adapter", "LoRA"):
        return f"is not a field of LoRA{_meant(name, LoRA.model_fields)}"
    return f"is not a field of {model}{nearest(name, JobSpec.model_fields)}"


def _meant(name: str, known: Mapping[str, Any]) -> str:
    usual = OTHER_NAMES.get(name)
    return f"; did you mean {usual!r}?" if usual in known else nearest(name, known, most=3)


def misspelt(name: str) -> str | None:
    """Return the hyperparameter or adapter field that `name` is a slip of; None for other names."""
    known = [*Hyperparameters.model_fields, *LoRA.model_fields]
    found = close_names(name, known, cutoff=0.8)
    return OTHER_NAMES.get(name) or (found[0] if found else None)
