"""`create`, `plan`, `estimate`: show what would be sent, ask, send it once, watch it."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ftsdk.cli.asking import decide, stop
from ftsdk.cli.boundary import INTERRUPTED
from ftsdk.cli.figures import figures
from ftsdk.cli.options import Json, Model, Profile, Provider, Rows, pairs, values
from ftsdk.cli.output import busy, command, emit, note, say
from ftsdk.cli.planview import adapter_words, cost_line, show_plan, show_plan_table
from ftsdk.cli.session import job_document, open_client, short_id
from ftsdk.cli.uploading import sending
from ftsdk.cli.words import clean, cost_words
from ftsdk.errors import Unavailable, UsageError

if TYPE_CHECKING:
    from ftsdk.client import Client, PreparedJob
    from ftsdk.job import FineTuneJob
    from ftsdk.records import Cost, Plan
    from ftsdk.spec import LoRA

__all__ = ["create", "estimate", "plan"]

TWIN_WITHIN = dt.timedelta(minutes=10)
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
Key = Annotated[
    str | None,
    typer.Option(metavar="KEY", help="Your own mark: the same key twice is one job, never two."),
]
Again = Annotated[
    bool, typer.Option("--again", help="Make the very same job a second time, within minutes.")
]
AllowFindings = Annotated[
    list[str] | None,
    typer.Option(metavar="CODE|all", help="Send rows with these secrets or personal data: FT406."),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Start without asking.")]
NoInput = Annotated[
    bool, typer.Option("--no-input", help="Refuse (exit code 7) instead of asking.")
]
Detach = Annotated[
    bool, typer.Option("--detach", "--no-wait", "-d", help="Return once it is accepted.")
]


@dataclass(frozen=True)
class Asked:
    """What the command line asked for: arguments for the client, and the adapter that results."""

    dataset: Path
    arguments: dict[str, Any]
    adapter: LoRA | None


def _asked(client: Client, dataset: Path, given: dict[str, Any]) -> Asked:
    from ftsdk.spec import Hyperparameters

    hyper = {n: given[n] for n in ("epochs", "learning_rate", "batch_size", "max_length")}
    adapter = {n: given[n] for n in ("rank", "alpha", "quantize")}
    options: dict[str, Any] = {}
    for name, value in values(given["set_"]).items():
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
                mend="give it once",
            )
        target[rest] = value
    chosen = _adapter(client, {n: v for n, v in adapter.items() if v is not None}, given["full"])
    arguments = {
        "model": given["model"],
        "provider": given["provider"],
        "validation": _validation(given["validation"]),
        "method": given["method"],
        "adapter": chosen,
        "hyperparameters": {n: v for n, v in hyper.items() if v is not None},
        "name": given["name"],
        "seed": given["seed"],
        "tags": pairs(given["tag"], "--tag"),
        "max_cost": given["max_cost"],
        "provider_options": options,
    }
    return Asked(dataset, arguments, chosen)


def _adapter(client: Client, asked: dict[str, Any], full: bool) -> LoRA | None:
    from pydantic import ValidationError

    from ftsdk.spec import LoRA, spec_error

    if full and asked:
        raise UsageError(
            f"--full trains all weights, and {', '.join(asked)} is for an adapter",
            where="the command line",
            mend="leave one of them out",
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


def plan(
    dataset: Rows,
    profile: Profile = None,
    provider: Provider = None,
    model: Model = None,
    validation: Validation = None,
    method: Method = None,
    epochs: Epochs = None,
    learning_rate: LearningRate = None,
    batch_size: BatchSize = None,
    max_length: MaxLength = None,
    rank: Rank = None,
    alpha: Alpha = None,
    quantize: Quantize = None,
    full: Full = False,
    seed: Seed = 0,
    name: Name = None,
    tag: Tag = None,
    max_cost: MaxCost = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Show what `create` would send, field by field, and what it may cost. Nothing is sent."""
    given = dict(locals())
    client = open_client(profile)
    asked = _asked(client, dataset, given)
    made = _plan(client, asked, quiet=as_json)
    if as_json:
        emit(_plan_document(made, asked.adapter))
    else:
        show_plan_table(made, asked.adapter)


def estimate(
    dataset: Rows,
    profile: Profile = None,
    provider: Provider = None,
    model: Model = None,
    validation: Validation = None,
    method: Method = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    full: Full = False,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Show what training would cost, as a range with its source and assumptions. Nothing is sent."""
    unasked = dict.fromkeys(
        ("learning_rate", "max_length", "rank", "alpha", "quantize", "name", "tag", "max_cost")
    )
    given = {**unasked, **locals(), "seed": 0}
    client = open_client(profile)
    asked = _asked(client, dataset, given)
    made = _plan(client, asked, quiet=as_json)
    if as_json:
        emit({
            "provider": made.provider, "model": made.model, "method": made.method,
            "rows": made.rows, "tokens": made.tokens, "tokens_basis": made.tokens_basis,
            "duration_s": made.duration_s, "memory_bytes": made.memory_bytes, "cost": made.cost,
        })  # fmt: skip
    else:
        _show_estimate(made, asked.adapter)


def _show_estimate(made: Plan, adapter: LoRA | None) -> None:
    cost = made.cost
    say(f"{clean(made.provider)} · {clean(made.model)} · {adapter_words(adapter)}   ",
        (cost_line(cost), "bold"))  # fmt: skip
    if cost.source:
        as_of = f", as of {cost.as_of}" if cost.as_of else ""
        say((f"  {clean(cost.source)}{as_of}", "dim"))
    if cost.high is None:
        say(("  no price is known for it here; a --max-cost would refuse it", "dim"))
    if cost.hosting_usd_per_hour is not None:
        say(f"  serving it costs ${cost.hosting_usd_per_hour} an hour; training alone starts none")
    for line in cost.assumptions:
        say(("  · ", "dim"), clean(line))


def create(
    dataset: Rows,
    profile: Profile = None,
    provider: Provider = None,
    model: Model = None,
    validation: Validation = None,
    method: Method = None,
    epochs: Epochs = None,
    learning_rate: LearningRate = None,
    batch_size: BatchSize = None,
    max_length: MaxLength = None,
    rank: Rank = None,
    alpha: Alpha = None,
    quantize: Quantize = None,
    full: Full = False,
    seed: Seed = 0,
    name: Name = None,
    tag: Tag = None,
    max_cost: MaxCost = None,
    set_: Set = None,
    key: Key = None,
    again: Again = False,
    allow_findings: AllowFindings = None,
    yes: Yes = False,
    no_input: NoInput = False,
    detach: Detach = False,
    as_json: Json = False,
) -> None:
    """Check the rows, show the plan, ask, start one job, and watch it.

    --json never asks: without --yes it refuses with exit code 7, whatever the cost. With it, the
    job is printed once it is accepted (--detach), else once it has ended.
    """
    from ftsdk.client import _check_key

    given = dict(locals())
    _check_key(key)
    client = open_client(profile)
    asked = _asked(client, dataset, given)
    silent = no_input or as_json
    prepared = _prepared(client, asked, yes=yes, no_input=silent, quiet=as_json)
    made = prepared.plan
    there = _already_there(client, key)
    if not as_json and there is None:
        show_plan(made, asked.adapter)
    if key is None and not _meant_twice(client, prepared, again=again, yes=yes, no_input=silent):
        raise stop("Nothing was started.")
    if there is None and not _agreed(made.cost, given["max_cost"], yes=yes, no_input=silent):
        raise stop("Nothing was started.")
    agreed = None if yes or given["max_cost"] else made.cost.high  # --max-cost is the job's own cap
    job = _send(client, prepared, key, allow_findings or (), agreed, quiet=as_json)
    _follow(client, job, there=there is not None, detach=detach, as_json=as_json)


def _plan_document(made: Plan, adapter: LoRA | None) -> dict[str, Any]:
    return {**made.model_dump(mode="json"), "adapter": adapter}


def _prepared(
    client: Client, asked: Asked, *, yes: bool, no_input: bool, quiet: bool
) -> PreparedJob:
    """The job, checked and planned; a base model that is missing is fetched first, when wanted."""
    try:
        return _prepare(client, asked, quiet=quiet)
    except Unavailable as error:
        missing = getattr(error, "missing_model", None)
        if missing is None:
            raise
        if not decide(
            f"{missing} is not on this machine yet. Fetch it now?",
            yes=yes,
            no_input=no_input,
            default=True,
            unasked=error.what,
            mend=f"ftsdk models pull {missing}, or --yes",
        ):
            raise
    from ftsdk.cli.models import pull_with_bar

    pull_with_bar(client.home, missing, quiet=quiet)
    return _prepare(client, asked, quiet=quiet)


def _prepare(client: Client, asked: Asked, *, quiet: bool) -> PreparedJob:
    arguments = dict(asked.arguments)
    validation = arguments.pop("validation")
    with busy(f"checking {asked.dataset.name}", quiet=quiet):
        return client._prepare(asked.dataset, validation, **arguments)


def _plan(client: Client, asked: Asked, *, quiet: bool) -> Plan:
    return _prepare(client, asked, quiet=quiet).plan


def _meant_twice(
    client: Client, prepared: PreparedJob, *, again: bool, yes: bool, no_input: bool
) -> bool:
    """Ask before the very same job is made a second time within minutes.

    That is nearly always a slip or a script that tries again, so where it may cost something not
    even --yes answers this one: --again does, or a --key, which makes the second call harmless.
    """
    twin = client._twin(prepared, TWIN_WITHIN)
    if twin is None:
        return True
    free = client.backend(prepared.spec.provider).capabilities.price == "free"
    minutes = round((client.clock.now() - twin.created_at).total_seconds() / 60)
    ago = "just now" if minutes < 1 else f"{minutes} min ago"
    return decide(
        f"{short_id(client, twin.id)}, made {ago}, is this very job. Make it again?",
        yes=again or (yes and free),
        no_input=no_input,
        default=False,
        unasked=f"{twin.id}, made {ago}, is this very job: same rows, same settings, same provider",
        mend=f"ftsdk watch {twin.id}; or say --again to make a second one, or give each its --key",
    )


def _already_there(client: Client, key: str | None) -> FineTuneJob | None:
    """The accepted job of this key: creating it again starts and spends nothing."""
    if key is None:
        return None
    same = (job for job in client.list_jobs() if job.snapshot.key == key)
    return next((job for job in same if job.status.is_remote), None)


def _agreed(cost: Cost, max_cost: str | None, *, yes: bool, no_input: bool) -> bool:
    if cost.high is None:
        question, default = "Start, though its cost is not known?", False
    elif cost.high > 0:
        limit = cost.high if max_cost is None else Decimal(max_cost)
        question, default = f"Spend up to ${limit:.2f}?", False
    else:
        question, default = "Start?", True
    return decide(
        question,
        yes=yes,
        no_input=no_input,
        default=default,
        unasked=f"create asks before it starts a job ({cost_words(cost)})",
        mend="say --yes to start it without a question",
    )


def _send(
    client: Client,
    prepared: PreparedJob,
    key: str | None,
    allowed: Collection[str],
    agreed: Decimal | None,
    *,
    quiet: bool,
) -> FineTuneJob:
    before = {job.id for job in client.list_jobs()}
    try:
        with sending(quiet=quiet):
            return client._submit(prepared, key, "all" in allowed or allowed, agreed)
    except KeyboardInterrupt:
        fresh = [job for job in client.list_jobs(limit=5) if job.id not in before]
        if not fresh:
            raise
        note(
            f"Interrupted while {fresh[0].id} was being sent; it may exist. Do not create it again:"
        )
        note("  ", command(f"ftsdk reconcile {fresh[0].id}"), ("  finds out", "dim"))
        raise typer.Exit(INTERRUPTED) from None


def _follow(client: Client, job: FineTuneJob, *, there: bool, detach: bool, as_json: bool) -> None:
    from ftsdk.cli.watch import follow_jobs
    from ftsdk.money import line_of

    short = short_id(client, job.id) if sys.stdout.isatty() else job.id
    if as_json and detach:
        emit(job_document(job))
        return
    if not as_json:
        theirs = f" as {clean(job.provider_job_id)}" if job.provider_job_id != job.id else ""
        how = "was there already" if there else f"accepted{theirs}"
        say((short, "bold"), f"  {how}", ("  ·  watch: ", "dim") if detach else "",
            command(f"ftsdk watch {short}") if detach else "")  # fmt: skip
        line = line_of(client, job.snapshot)
        if line.quoted is not None:
            say(("  " + figures(line), "dim"))
    if not detach:
        follow_jobs(client, [job], quiet=as_json, as_json=as_json)
