"""The options that say which job is meant: one list, which `create`, `plan` and `estimate` take."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, ParamSpec, get_type_hints

import typer

from ftsdk.cli.options import Model, Profile, Provider, Rows, pairs, values
from ftsdk.cli.view.output import busy
from ftsdk.errors import UsageError

if TYPE_CHECKING:
    from ftsdk.client import Client
    from ftsdk.planning.prepare import PreparedJob
    from ftsdk.types.spec import LoRA

__all__ = ["Asked", "JobOptions", "takes_a_job"]

_P = ParamSpec("_P")
_ADAPTER_FIELDS = ("rank", "alpha", "dropout", "target_modules", "quantize")

Validation = Annotated[
    str | None,
    typer.Option(metavar="DATA|FRACTION", help="Held-out rows, or a share to set aside: 0.1."),
]
Method = Annotated[str | None, typer.Option(metavar="sft|dpo", help="How the model learns.")]
Epochs = Annotated[float | None, typer.Option(metavar="N", help="Passes over the rows.")]
LearningRate = Annotated[float | None, typer.Option(metavar="LR", help="Absolute, such as 2e-4.")]
BatchSize = Annotated[int | None, typer.Option(metavar="N", help="Rows per step.")]
MaxLength = Annotated[int | None, typer.Option(metavar="N", help="Longest row, in tokens.")]
Rank = Annotated[int | None, typer.Option(metavar="N", help="LoRA's rank.")]
Alpha = Annotated[
    float | None, typer.Option(metavar="X", help="LoRA's alpha; twice the rank if left out.")
]
Quantize = Annotated[str | None, typer.Option(metavar="nf4", help="A 4-bit base: QLoRA.")]
Full = Annotated[bool, typer.Option("--full", help="Train all weights, no adapter.")]
Seed = Annotated[int, typer.Option(metavar="N", help="The same seed, the same run.")]
Name = Annotated[str | None, typer.Option(metavar="NAME", help="A name for people.")]
Tag = Annotated[list[str] | None, typer.Option(metavar="K=V", help="A label; may be repeated.")]
MaxCost = Annotated[
    str | None, typer.Option(metavar="USD", help="Refuse when it may cost more than this.")
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Any other hyperparameter or adapter field by name; else an option of the provider.",
    ),
]


@dataclass(frozen=True)
class JobOptions:
    """What was said about the job on the command line, word for word."""

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

    def asked(self, client: Client) -> Asked:
        """What is asked for, with the adapter that results. Raises `UsageError`, `SpecError`."""
        hyper: dict[str, Any] = {
            "epochs": self.epochs,
            "learning_rate": self.learning_rate,
            "batch_size": self.batch_size,
            "max_length": self.max_length,
        }
        adapter: dict[str, Any] = {
            "rank": self.rank,
            "alpha": self.alpha,
            "quantize": self.quantize,
        }
        options: dict[str, Any] = {}
        _set(values(self.set_), hyper, adapter, options)
        chosen = _adapter(client, {n: v for n, v in adapter.items() if v is not None}, self.full)
        arguments = {
            "model": self.model,
            "provider": self.provider,
            "method": self.method,
            "adapter": chosen,
            "hyperparameters": {n: v for n, v in hyper.items() if v is not None},
            "name": self.name,
            "seed": self.seed,
            "tags": pairs(self.tag, "--tag"),
            "max_cost": self.max_cost,
            "provider_options": options,
        }
        return Asked(self.dataset, _validation(self.validation), arguments, chosen)


@dataclass(frozen=True)
class Asked:
    """What the command line asked for: arguments for the client, and the adapter that results."""

    dataset: Path
    validation: str | float | None
    arguments: dict[str, Any]
    adapter: LoRA | None

    def prepared(self, client: Client, *, quiet: bool, fetch: bool = False) -> PreparedJob:
        """The job, checked and planned; nothing is sent. `fetch` downloads a base model that may be."""
        from ftsdk.planning.prepare import prepare

        with busy(f"checking {self.dataset.name}", quiet=quiet):
            return prepare(client, self.dataset, self.validation, fetch=fetch, **self.arguments)


def takes_a_job(
    *, without: tuple[str, ...] = ()
) -> Callable[[Callable[Concatenate[JobOptions, _P], None]], Callable[..., None]]:
    """Give a command the options of `JobOptions` before its own, but for those in `without`.

    The command gets them as its first argument; what it leaves out has its default there.
    """
    hints = get_type_hints(JobOptions, include_extras=True)
    shared = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty
            if field.default is dataclasses.MISSING
            else field.default,
            annotation=hints[field.name],
        )
        for field in dataclasses.fields(JobOptions)
        if field.name not in without
    ]

    def wrap(function: Callable[Concatenate[JobOptions, _P], None]) -> Callable[..., None]:
        def command(**given: Any) -> None:
            said = JobOptions(**{one.name: given.pop(one.name) for one in shared})
            function(said, **given)  # type: ignore[call-arg]  # the signature below sees to it

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


def _set(
    given: dict[str, Any], hyper: dict[str, Any], adapter: dict[str, Any], options: dict[str, Any]
) -> None:
    """Put each `--set NAME=VALUE` where its name belongs. Raises `UsageError` for one given twice."""
    from ftsdk.types.spec import Hyperparameters

    for name, value in given.items():
        kind, dot, rest = name.partition(".")
        if dot and kind in ("hyperparameters", "adapter", "options", "provider_options"):
            target = {"hyperparameters": hyper, "adapter": adapter}.get(kind, options)
        else:
            rest = name
            known = Hyperparameters.model_fields
            target = hyper if name in known else adapter if name in _ADAPTER_FIELDS else options
        if target.get(rest) is not None:
            raise UsageError(
                f"{rest} is given twice",
                where=f"--{rest.replace('_', '-')} and --set {name}",
                hint="give it once",
            )
        target[rest] = value


def _adapter(client: Client, asked: dict[str, Any], full: bool) -> LoRA | None:
    from pydantic import ValidationError

    from ftsdk.types.spec import LoRA, spec_error

    if full and asked:
        raise UsageError(
            f"--full trains all weights, and {', '.join(asked)} is for an adapter",
            where="the command line",
            hint="leave one of them out",
        )
    if full:
        return None
    try:
        return LoRA.model_validate({**client.config.table("adapter"), **asked})
    except ValidationError as error:
        raise spec_error(
            error, where="the adapter, from the command line and ftsdk.toml"
        ) from error


def _validation(word: str | None) -> str | float | None:
    if word is None or Path(word).exists():
        return word
    try:
        return float(word)
    except ValueError:
        return word
