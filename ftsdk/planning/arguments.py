"""The arguments of a job as typed options, from the front ends to the plan.

To add an option: declare it in `JobOptions` (or in `CreateOptions`, when it does not change what is
trained), and use it where it is needed. `Client`, `AsyncClient` and the module functions take their
signatures from here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict

from ftsdk.backends.upload_progress import Listener
from ftsdk.config import Config
from ftsdk.errors import UsageError
from ftsdk.types.model import ModelHandle
from ftsdk.types.spec import Hyperparameters, JobSpec, LoRA, Method, Schedule
from ftsdk.util.arguments import COUNT, FLAG, FUNCTION, MAPPING, TEXT, TEXTS, Check

if TYPE_CHECKING:
    from ftsdk.dataset import Dataset

Rows: TypeAlias = "str | Path | Dataset | Iterable[Mapping[str, Any]]"
"""Training rows: a path, a `Dataset`, a list of rows, or any iterable of rows."""

DEFAULT: Literal["default"] = "default"
AdapterArgument = LoRA | Mapping[str, Any] | Literal["default"] | None
"""An adapter, the configured one (`DEFAULT`), or None for full fine-tuning."""


class ReadingOptions(TypedDict, total=False):
    """How the rows are read, where the guess is wrong. See `ftsdk.Dataset.load`."""

    format: str | None
    """The format of the rows, by name; by default it is detected from the first rows."""
    map: Mapping[str, str] | None
    """Which columns are which: `{"question": "prompt", "sql": "completion"}`."""
    drop: Collection[str] | None
    """Keys to leave out: `["id"]`, or `["messages.name"]` for a key of every message."""


class HyperparameterOptions(TypedDict, total=False):
    """The hyperparameters as keywords of a job: `epochs=3` is `hyperparameters={"epochs": 3}`."""

    epochs: float | None
    max_steps: int | None
    learning_rate: float | None
    learning_rate_multiplier: float | None
    batch_size: int | None
    gradient_accumulation_steps: int | None
    max_length: int | None
    warmup_ratio: float | None
    warmup_steps: int | None
    schedule: Schedule | None
    min_lr_ratio: float | None
    schedule_cycles: int | None
    decay_ratio: float | None
    weight_decay: float | None
    max_grad_norm: float | None
    beta: float | None


class JobOptions(ReadingOptions, HyperparameterOptions, total=False):
    """What to train and where. Options that are left out are read from the configuration."""

    model: str | ModelHandle | None
    """The base model, by the provider's name for it. On this machine also the result of an earlier
    job, as a handle or by the job's id: a new job continues it."""
    provider: str | None
    """The backend: `local`, `openai`, `together`, `replicate`, …"""
    validation: Rows | float | None
    """Held-out rows, or the fraction of the rows to hold out, such as 0.1."""
    method: Method | None
    """`sft` (the default), `dpo`, `kto` or `orpo`."""
    adapter: AdapterArgument
    """A `LoRA`, its fields, or None for full fine-tuning. The default is the configured adapter."""
    hyperparameters: Hyperparameters | Mapping[str, Any] | None
    """The hyperparameters to set, beside those given as keywords; others come from the configuration,
    then the backend's defaults."""
    name: str | None
    """A display name."""
    seed: int
    """The seed of shuffling, splitting and initialising; 0 by default."""
    tags: Mapping[str, str] | None
    """Labels to find the job by, added to the configured ones."""
    max_cost: Decimal | str | int | None
    """US dollars. A job that may cost more is refused before anything is sent."""
    provider_options: Mapping[str, Any] | None
    """Provider-specific fields, passed on unchanged."""
    allow_findings: bool | Collection[str]
    """Acknowledges rows with secrets or personal data: True, a list of FT4xx codes, or values by
    pattern, such as `["FT406:*@ourcompany.com"]`."""
    strict: bool
    """Refuses rows with a notice, too: duplicates, reasoning that the model is not shown, …"""


class CreateOptions(JobOptions, total=False):
    """`JobOptions`, and options for sending the job."""

    key: str | None
    """Your idempotency key: calling again with the same key returns the same job."""
    again: bool
    """Creates another job, even if the very same one was created in the last ten minutes, or was not
    decided yet."""
    on_upload: Listener | None
    """Called with the bytes sent so far and the total, while rows are uploaded."""


class EstimateOptions(ReadingOptions, total=False):
    """The options of `estimate`; those left out are read from the configuration."""

    provider: str | None
    model: str | None
    method: Method | None
    adapter: AdapterArgument
    epochs: float | None


class InspectOptions(ReadingOptions, total=False):
    """The options of `inspect`. See `ftsdk.dataset.inspect`."""

    provider: str | None
    model: str | None
    tokenizer: Any
    """A model folder, the name of an OpenAI encoding, or a `ChatTokenizer`."""
    max_length: int | None
    rows: int
    """How many rows the report keeps to show; all are counted."""
    line: int | None
    """Keeps the row at this line only."""


class ValidateOptions(ReadingOptions, total=False):
    """The options of `validate`. See `ftsdk.dataset.validate`."""

    provider: str | None
    model: str | None
    method: Method | None
    validation: Rows | None
    tokenizer: Any
    """A model folder, the name of an OpenAI encoding, or a `ChatTokenizer`."""
    tokens: bool | None
    near_duplicates: bool | None
    max_length: int | None
    allow_findings: bool | Collection[str]
    """Values that are no findings, such as `["FT406:*@ourcompany.com"]`."""
    on_bytes: Callable[[int], None] | None
    """Called with the number of bytes read, for a progress bar."""


DEFAULTS: Mapping[str, Any] = {
    "adapter": DEFAULT,
    "seed": 0,
    "allow_findings": False,
    "again": False,
    "strict": False,
}
"""The option defaults that are not None, for signatures."""

CHECKS: Mapping[str, Check] = {
    "adapter": Check(
        "a LoRA, its fields, or None",
        lambda v: isinstance(v, LoRA | Mapping) or (isinstance(v, str) and v == DEFAULT),
    ),
    "hyperparameters": Check(
        "a mapping or Hyperparameters", lambda v: isinstance(v, Hyperparameters | Mapping)
    ),
    "provider_options": MAPPING,
    "tags": MAPPING,
    "key": TEXT,
    "allow_findings": Check(
        "true, false or codes", lambda v: isinstance(v, bool) or TEXTS.accepts(v)
    ),
    "again": FLAG,
    "strict": FLAG,
    "on_upload": FUNCTION,
    "on_bytes": FUNCTION,
    "format": TEXT,
    "map": MAPPING,
    "drop": TEXTS,
    "tokens": FLAG,
    "near_duplicates": FLAG,
    "max_length": COUNT,
    "line": COUNT,
}
"""The checks of options by name. Those of a spec's fields are in `JobSpec`."""


def spec_of(config: Config, options: JobOptions) -> JobSpec:
    """Return the spec of a job: the options merged over the configuration. Raises `ConfigError`, `SpecError`."""
    adapter = options.get("adapter", DEFAULT)
    if isinstance(adapter, str) and adapter == DEFAULT:
        adapter = config.table("adapter") or LoRA()
    method = config.setting("method", options.get("method"))
    max_cost = config.setting("max_cost", options.get("max_cost"))
    return JobSpec.build(
        provider=config.require("provider", options.get("provider")).value,
        model=config.require("model", options.get("model")).value,
        method="sft" if method is None else method.value,
        adapter=adapter,
        hyperparameters={**config.table("hyperparameters"), **_hyperparameters(options)},
        name=options.get("name"),
        seed=options.get("seed", 0),
        tags={**config.table("tags"), **(options.get("tags") or {})},
        max_cost=None if max_cost is None else max_cost.value,
        provider_options={
            **config.table("provider_options"),
            **(options.get("provider_options") or {}),
        },
    )


def _hyperparameters(options: JobOptions) -> dict[str, Any]:
    """Return the hyperparameters of both places. Raises `UsageError` for one that is in both."""
    table = options.get("hyperparameters") or {}
    given = table.given() if isinstance(table, Hyperparameters) else dict(table)
    names = HyperparameterOptions.__annotations__
    keywords = {k: v for k, v in options.items() if k in names and v is not None}
    twice = sorted(keywords.keys() & given.keys())
    if twice:
        raise UsageError(
            f"{', '.join(twice)} is given twice",
            where="as a keyword and in hyperparameters=",
            hint="give it once",
            submitted="no",
        )
    return {**given, **keywords}
