"""The options that describe a job, shared by `create`, `plan` and `estimate`.

Each option is declared once, as an annotated type and a field of `JobArguments`.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Concatenate, ParamSpec, cast, get_type_hints

import typer
from pydantic import ValidationError

from ftsdk.cli import completion
from ftsdk.cli.options import (
    AllowFindings,
    Model,
    Profile,
    Provider,
    RowDrop,
    RowFormat,
    RowMap,
    Rows,
    pairs,
    row_map,
    values,
)
from ftsdk.cli.view.output import busy
from ftsdk.config import Config
from ftsdk.errors import UsageError
from ftsdk.planning.arguments import JobOptions, ReadingOptions
from ftsdk.planning.prepare import PreparedJob, prepare
from ftsdk.session import Session
from ftsdk.types.spec import METHODS, Hyperparameters, LoRA, misspelt, spec_error
from ftsdk.types.spec import Method as MethodName

_P = ParamSpec("_P")
_GROUPS = ("hyperparameters", "adapter", "options", "provider_options")

Validation = Annotated[
    str | None,
    typer.Option(
        metavar="DATA|FRACTION", help="Validation rows, or the fraction to hold out, such as 0.1."
    ),
]
Method = Annotated[
    str | None,
    typer.Option(
        metavar="|".join(METHODS), help="Training method.", autocompletion=completion.methods
    ),
]
Epochs = Annotated[float | None, typer.Option(metavar="N", help="Passes over the dataset.")]
LearningRate = Annotated[
    float | None, typer.Option(metavar="LR", help="Absolute learning rate, such as 2e-4.")
]
BatchSize = Annotated[int | None, typer.Option(metavar="N", help="Rows per step.")]
MaxLength = Annotated[
    int | None, typer.Option(metavar="N", help="Maximum length of a row in tokens.")
]
Rank = Annotated[int | None, typer.Option(metavar="N", help="LoRA rank.")]
Alpha = Annotated[
    float | None, typer.Option(metavar="X", help="LoRA alpha; twice the rank by default.")
]
Quantize = Annotated[
    str | None, typer.Option(metavar="nf4", help="Quantize the base model to 4 bits (QLoRA).")
]
Full = Annotated[bool, typer.Option("--full", help="Train all weights instead of an adapter.")]
Seed = Annotated[int, typer.Option(metavar="N", help="Random seed.")]
Name = Annotated[str | None, typer.Option(metavar="NAME", help="A name for the job.")]
Tag = Annotated[list[str] | None, typer.Option(metavar="K=V", help="A tag; may be repeated.")]
MaxCost = Annotated[
    str | None, typer.Option(metavar="USD", help="Refuse the job when it may cost more than this.")
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Any other hyperparameter, adapter field or provider option; may be repeated.",
    ),
]


Strict = Annotated[
    bool,
    typer.Option("--strict", help="Refuse rows with a notice, too: duplicates, lost reasoning, …"),
]


@dataclass(frozen=True)
class JobArguments:
    """A job as the command line describes it: one field for each option."""

    dataset: Rows
    profile: Profile = None
    provider: Provider = None
    model: Model = None
    validation: Validation = None
    method: Method = None
    epochs: Epochs = None
    learning_rate: LearningRate = None
    batch_size: BatchSize = None
    max_length: MaxLength = None
    rank: Rank = None
    alpha: Alpha = None
    quantize: Quantize = None
    full: Full = False
    seed: Seed = 0
    name: Name = None
    tag: Tag = None
    max_cost: MaxCost = None
    set_: Set = None
    row_format: RowFormat = None
    row_map: RowMap = None
    drop: RowDrop = None
    allow_findings: AllowFindings = None
    strict: Strict = False

    def options(self, config: Config) -> JobOptions:
        """Return the options of `create_job`. Raises `UsageError`, `SpecError`."""
        hyperparameters = {
            "epochs": self.epochs,
            "learning_rate": self.learning_rate,
            "batch_size": self.batch_size,
            "max_length": self.max_length,
        }
        adapter = {"rank": self.rank, "alpha": self.alpha, "quantize": self.quantize}
        provider_options: dict[str, Any] = {}
        _sort_set(values(self.set_), hyperparameters, adapter, provider_options)
        return {
            "model": self.model,
            "provider": self.provider,
            "method": cast("MethodName | None", self.method),  # the spec checks it
            "adapter": _adapter(config, _given(adapter), self.full),
            "hyperparameters": _given(hyperparameters),
            "name": self.name,
            "seed": self.seed,
            "tags": pairs(self.tag, "--tag"),
            "max_cost": self.max_cost,
            "provider_options": provider_options,
            "validation": _validation(self.validation),
            "allow_findings": self.allowed,
            "strict": self.strict,
            "format": self.row_format,
            "map": row_map(self.row_map),
            "drop": self.drop,
        }

    @property
    def allowed(self) -> bool | list[str]:
        """The acknowledged findings; True for all of them."""
        return "all" in (self.allow_findings or ()) or (self.allow_findings or [])

    def reading(self) -> ReadingOptions:
        """Return how the rows are to be read. Raises `UsageError`."""
        return {"format": self.row_format, "map": row_map(self.row_map), "drop": self.drop}

    def prepare(self, session: Session, *, quiet: bool, fetch: bool = False) -> PreparedJob:
        """Check and plan the job; nothing is sent. `fetch` downloads a base model that may be."""
        options = self.options(session.config)
        with busy(f"checking {self.dataset.name}", quiet=quiet):
            return prepare(session, self.dataset, options, fetch=fetch)


def _default_of(field: dataclasses.Field[Any], rows_optional: bool) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    return None if rows_optional else inspect.Parameter.empty


def takes_job_arguments(
    *, without: tuple[str, ...] = (), rows_optional: bool = False
) -> Callable[[Callable[Concatenate[JobArguments, _P], None]], Callable[..., None]]:
    """Give a command the options of `JobArguments`, except those in `without`, before its own.

    With `rows_optional`, the `dataset` of a command without rows is None. The command gets them as its first argument; an option it leaves out has its default there.
    """
    hints = get_type_hints(JobArguments, include_extras=True)
    shared = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=_default_of(field, rows_optional),
            annotation=hints[field.name],
        )
        for field in dataclasses.fields(JobArguments)
        if field.name not in without
    ]

    def wrap(function: Callable[Concatenate[JobArguments, _P], None]) -> Callable[..., None]:
        def command(**given: Any) -> None:
            job = JobArguments(**{one.name: given.pop(one.name) for one in shared})
            function(job, **given)  # type: ignore[call-arg]  # checked by the signature below

        signature = inspect.signature(function, eval_str=True)
        own = [
            one.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for one in list(signature.parameters.values())[1:]
        ]
        command.__signature__ = inspect.Signature([*shared, *own])  # type: ignore[attr-defined]  # inspect reads it
        command.__annotations__ = {one.name: one.annotation for one in (*shared, *own)}
        command.__name__, command.__doc__ = function.__name__, function.__doc__
        command.__module__ = function.__module__
        return command

    return wrap


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _sort_set(
    given: Mapping[str, Any],
    hyperparameters: dict[str, Any],
    adapter: dict[str, Any],
    provider_options: dict[str, Any],
) -> None:
    """Add each `--set NAME=VALUE` to the group it belongs to.

    `adapter.rank=8` names its group; a name alone is looked for among the hyperparameters, then
    the adapter's fields. Raises `UsageError` for a value that is given twice, and for a misspelt name.
    """
    groups = {"hyperparameters": hyperparameters, "adapter": adapter}
    for name, value in given.items():
        group, dot, field = name.partition(".")
        if dot and group in _GROUPS:
            target = groups.get(group, provider_options)
        else:
            field = name
            if name in Hyperparameters.model_fields:
                target = hyperparameters
            elif name in LoRA.model_fields:
                target = adapter
            else:
                _refuse_misspelt(name)
                target = provider_options
        if target.get(field) is not None:
            raise UsageError(
                f"{field} is given twice",
                where=f"--{field.replace('_', '-')} and --set {name}",
                hint="give it once",
            )
        target[field] = value


def _refuse_misspelt(name: str) -> None:
    """Raise `UsageError` for a slip of a hyperparameter, which would reach the provider unchecked."""
    meant = misspelt(name)
    if meant is not None:
        raise UsageError(
            f"{name} is not a hyperparameter; did you mean {meant!r}?",
            where=f"--set {name}",
            hint=f"--set {meant}=…, or --set provider_options.{name}=… for a field of the provider",
            submitted="no",
        )


def _adapter(config: Config, given: dict[str, Any], full: bool) -> LoRA | None:
    if full and given:
        raise UsageError(
            f"--full trains all weights, and {', '.join(given)} is for an adapter",
            where="the command line",
            hint="leave one of them out",
        )
    if full:
        return None
    try:
        return LoRA.model_validate({**config.table("adapter"), **given})
    except ValidationError as error:
        raise spec_error(
            error, where="the adapter, from the command line and ftsdk.toml"
        ) from error


def _validation(value: str | None) -> str | float | None:
    """Return the fraction or path; a file that is called `0.1` counts as a file."""
    if value is None or Path(value).exists():
        return value
    try:
        return float(value)
    except ValueError:
        return value
