"""`estimate`: what training would cost with one provider, or a comparison of several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from ftsdk.backends.registry import capabilities_of
from ftsdk.catalogue.comparison import Option
from ftsdk.cli.context import open_client
from ftsdk.cli.job_options import JobArguments, takes_job_arguments
from ftsdk.cli.options import Json
from ftsdk.cli.view.formatting import clean, date_text, duration
from ftsdk.cli.view.output import columns, emit, is_narrow, say
from ftsdk.cli.view.plan_view import cost_line, planned_adapter
from ftsdk.client import Client
from ftsdk.errors import UsageError
from ftsdk.planning.estimate import Comparison
from ftsdk.planning.estimate import compare as compare_places
from ftsdk.types.cost import Cost
from ftsdk.types.plan import Plan
from ftsdk.types.spec import METHODS, LoRA

Compare = Annotated[
    bool, typer.Option("--compare", help="Compare providers and models, cheapest first.")
]
With = Annotated[
    list[str] | None,
    typer.Option(
        "--with", metavar="PROVIDER[:MODEL]", help="Compare with this one; may be repeated."
    ),
]
Everything = Annotated[
    bool, typer.Option("--all", help="Compare every known model, including closed ones.")
]
Explain = Annotated[
    bool, typer.Option("--explain", help="Show the sources and assumptions of each figure.")
]
_NOT_PRICED = (
    "learning_rate", "max_length", "rank", "alpha", "quantize", "seed", "name", "tag", "max_cost",
    "allow_findings",
)  # fmt: skip
"""Options that change no price: `estimate` does not take them."""


@takes_job_arguments(without=_NOT_PRICED)
def estimate(
    job: JobArguments,
    compare: Compare = False,
    with_: With = None,
    everything: Everything = False,
    explain: Explain = False,
    as_json: Json = False,
) -> None:
    """Estimate the cost of training, here or at other providers.

    The result is a range. Nothing is sent to a provider.
    """
    client = open_client(job.profile)
    if not (compare or with_ or everything):
        _estimate_one(client, job, as_json=as_json)
        return
    if job.provider or job.model:
        chosen = job.provider or client.config.require("provider").value
        with_ = [f"{chosen}:{job.model}" if job.model else str(chosen), *(with_ or [])]
    options = job.options(client.config)
    _refuse_provider_options(options["provider_options"] or {})
    found = compare_places(
        client.session,
        job.dataset,
        places=with_ or (),
        method=_method(job.method),
        adapter=options["adapter"],
        hyperparameters=options["hyperparameters"],
        everything=everything,
        reading=job.reading(),
    )
    if as_json:
        emit(_comparison_document(found))
    else:
        _show_comparison(found, explain=explain)


def _estimate_one(client: Client, job: JobArguments, *, as_json: bool) -> None:
    prepared = job.prepare(client.session, quiet=as_json)
    plan = prepared.plan
    if as_json:
        emit({
            "provider": plan.provider, "model": plan.model, "method": plan.method,
            "rows": plan.rows, "tokens": plan.tokens, "tokens_basis": plan.tokens_basis,
            "duration_s": plan.duration_s, "memory_bytes": plan.memory_bytes, "cost": plan.cost,
        })  # fmt: skip
    else:
        _show_estimate(plan, prepared.spec.adapter)


def _show_estimate(plan: Plan, adapter: LoRA | None) -> None:
    cost = plan.cost
    say(f"{clean(plan.provider)} · {clean(plan.model)} · {planned_adapter(plan, adapter)}   ",
        (cost_line(cost), "bold"))  # fmt: skip
    if cost.source:
        as_of = f", as of {cost.as_of}" if cost.as_of else ""
        say((f"  {clean(cost.source)}{as_of}", "dim"))
    if cost.high is None:
        say(("  the price is not known; --max-cost would refuse this job", "dim"))
    if cost.hosting_usd_per_hour is not None:
        say(f"  serving costs ${cost.hosting_usd_per_hour} an hour; training alone deploys nothing")
    for line in cost.assumptions:
        say(("  · ", "dim"), clean(line))


def _refuse_provider_options(options: Mapping[str, Any]) -> None:
    """Refuse options of one provider in a comparison of several. Raises `UsageError`."""
    if options:
        raise UsageError(
            f"{', '.join(options)} is an option of one provider and cannot be compared",
            where="--set, with --compare",
            hint="leave it out, or estimate for one provider without --compare",
        )


def _method(method: str | None) -> Any:
    if method not in (None, *METHODS):
        raise UsageError(
            f"{method!r} is not a method", where="--method", hint=f"one of {', '.join(METHODS)}"
        )
    return method


def _comparison_document(found: Comparison) -> dict[str, Any]:
    return {
        "dataset": found.dataset,
        "rows": found.rows,
        "method": found.method,
        "epochs": found.epochs,
        "as_of": found.as_of,
        "options": [option.to_dict() for option in found.options],
    }


_WIDE = 150
"""Columns of a terminal from which on what serving costs has a column of its own."""


def _show_comparison(found: Comparison, *, explain: bool) -> None:
    rows: list[list[Any]] = []
    narrow = is_narrow(_WIDE)
    for option in found.options:
        style = "" if option.is_open else "dim"
        where = " · ".join(word for word in (option.provider, option.model, _kind(option)) if word)
        serve, note = clean(option.serving.text, 44), clean(_short_note(option))
        if narrow:
            note = " · ".join(filter(None, (f"serve: {serve}" if serve else "", note)))
        rows.append([
            (clean(where, 46 if narrow else 60), style or "bold"),
            (_short_cost(option.training), style),
            ("" if narrow else serve, style),
            (date_text(option.ends_on), style),
            (note, "yellow" if not option.is_open else "dim"),
        ])  # fmt: skip
    columns(rows, head=("where", "train", "serve", "ends", "note"), fold=True)
    say((
        f"Prices as of {found.as_of}; ranges show what is not known"
        + ("" if explain else ": --explain"), "dim",
    ))  # fmt: skip
    if explain:
        for option in found.options:
            _explain(option)


def _kind(option: Option) -> str:
    if _is_free(option.provider):
        return ""
    return {"lora": "LoRA", "nf4": "QLoRA", "full": "full"}.get(option.adapter_kind or "", "")


def _is_free(provider: str) -> bool:
    able = capabilities_of(provider)
    return able is not None and able.price == "free"


def _short_cost(cost: Cost) -> str:
    return "unknown" if cost.high is None else str(cost)


def _short_note(option: Option) -> str:
    """The most important note: why it is not available, else what ends first, else a minimum."""
    if option.closed:
        return option.closed
    if option.unsupported:
        return f"not supported: {'; '.join(option.unsupported)}"
    if option.training.high is None and option.training.assumptions:
        return (
            option.training.assumptions[-1].partition(" for ")[0].removeprefix(f"{option.title}: ")
        )
    parts = []
    if option.duration_s is not None and _is_free(option.provider):
        parts.append(f"{duration(option.duration_s[1])} here")
    elif any("time is a guess" in line for line in option.training.assumptions):
        parts.append("time is a guess")
    if option.no_new_jobs_from is not None:
        parts.append(f"no new jobs from {date_text(option.no_new_jobs_from)}")
    dated = (option.title, *([option.model.rpartition("/")[2]] if option.ends_on else []))
    parts += [
        text for text in option.notes if not text.startswith(dated) and " end on " not in text
    ][:1]
    return " · ".join(parts)


def _explain(option: Option) -> None:
    say("")
    say((clean(f"{option.provider} · {option.model}"), "bold"), "  ", _short_cost(option.training))
    cost, serving = option.training, option.serving
    for source, day in dict.fromkeys(((cost.source, cost.as_of), (serving.source, serving.as_of))):
        if source:
            say((f"  {clean(source)}" + (f", as of {day}" if day else ""), "dim"))
    doubt = [] if serving.confirmed else ["the price of serving is UNCONFIRMED"]
    for line in dict.fromkeys((*cost.assumptions, *doubt, serving.note, *option.notes)):
        if line:
            say(("  · ", "dim"), clean(line))
