"""`estimate` and `costs`: what it would cost, here and elsewhere, and what it did cost."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ftsdk.cli.commands.plan import one_estimate
from ftsdk.cli.commands.retirements import date_words, write_text
from ftsdk.cli.context import find, open_client
from ftsdk.cli.job_options import JobOptions, takes_a_job
from ftsdk.cli.options import Json, Profile
from ftsdk.cli.view.formatting import clean, duration, many
from ftsdk.cli.view.output import columns, command, emit, note, say
from ftsdk.errors import UsageError

if TYPE_CHECKING:
    from ftsdk.catalogue import Option
    from ftsdk.client import Client
    from ftsdk.planning.estimate import Comparison
    from ftsdk.spending.ledger import Line, Total
    from ftsdk.types.cost import Cost

__all__ = ["costs", "estimate"]

Compare = Annotated[
    bool, typer.Option("--compare", help="A table over providers and models, the cheapest first.")
]
With = Annotated[
    list[str] | None,
    typer.Option("--with", metavar="PROVIDER[:MODEL]", help="Compare with this; may be repeated."),
]
Everything = Annotated[
    bool, typer.Option("--all", help="Compare every model that is known, closed ones too.")
]
Explain = Annotated[bool, typer.Option("--explain", help="Say what each figure rests on.")]
_NOT_PRICED = (
    "learning_rate", "max_length", "rank", "alpha", "quantize", "seed", "name", "tag", "max_cost",
)  # fmt: skip
"""What changes no price, so that `estimate` does not take it."""


@takes_a_job(without=_NOT_PRICED)
def estimate(
    said: JobOptions,
    compare: Compare = False,
    with_: With = None,
    everything: Everything = False,
    explain: Explain = False,
    as_json: Json = False,
) -> None:
    """Show what training would cost, here or elsewhere, as a range. Nothing is sent."""
    if not (compare or with_ or everything):
        one_estimate(said, as_json=as_json)
        return
    from ftsdk.planning.estimate import compare as compared

    client = open_client(said.profile)
    if said.provider or said.model:
        chosen = said.provider or client.config.require("provider").value
        with_ = [f"{chosen}:{said.model}" if said.model else str(chosen), *(with_ or [])]
    asked = said.asked(client)
    _no_options(asked.arguments["provider_options"])
    found = compared(
        client,
        said.dataset,
        places=with_ or (),
        method=_method(said.method),
        adapter=asked.adapter,
        hyperparameters=asked.arguments["hyperparameters"],
        everything=everything,
    )
    if as_json:
        emit(_comparison_document(found))
    else:
        _show_comparison(found, explain=explain)


def _no_options(options: Mapping[str, Any]) -> None:
    """Refuse what one provider alone understands: it says nothing about the others."""
    if options:
        raise UsageError(
            f"{', '.join(options)} is an option of one provider, and says nothing about the others",
            where="--set, with --compare",
            hint="leave it out, or estimate at one provider without --compare",
        )


def _method(word: str | None) -> Any:
    if word not in (None, "sft", "dpo"):
        raise UsageError(f"{word!r} is no method", where="--method", hint="sft or dpo")
    return word


def _comparison_document(found: Comparison) -> dict[str, Any]:
    return {
        "dataset": found.dataset,
        "rows": found.rows,
        "method": found.method,
        "epochs": found.epochs,
        "as_of": found.as_of,
        "options": [option.to_dict() for option in found.options],
    }


def _show_comparison(found: Comparison, *, explain: bool) -> None:
    rows: list[list[Any]] = [
        ["", ("train", "dim"), ("serve", "dim"), ("ends", "dim"), ("note", "dim")]
    ]
    for option in found.options:
        style = "" if option.is_open else "dim"
        where = " · ".join(word for word in (option.provider, option.model, _kind(option)) if word)
        rows.append([
            (clean(where, 60), style or "bold"),
            (_short_cost(option.training), style),
            (clean(option.serving.text, 44), style),
            (date_words(option.ends_on), style),
            (clean(_short_note(option)), "yellow" if not option.is_open else "dim"),
        ])  # fmt: skip
    columns(rows)
    say((
        f"Prices as of {found.as_of}; ranges show what we do not know"
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
    from ftsdk.planning.estimate import capabilities_of

    able = capabilities_of(provider)
    return able is not None and able.price == "free"


def _short_cost(cost: Cost) -> str:
    return "unknown" if cost.high is None else str(cost)


def _short_note(option: Option) -> str:
    """The one thing that decides: why it cannot be had, else what ends first, else a minimum."""
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
        parts.append(f"no new jobs from {date_words(option.no_new_jobs_from)}")
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


# --- what it did cost ------------------------------------------------------------------------------

By = Annotated[
    str,
    typer.Option("--by", metavar="WORD", help="day, month, provider, model, profile, tag:NAME…"),
]
Since = Annotated[str | None, typer.Option(metavar="DAY", help="From this day on: 2026-11-01.")]
Until = Annotated[str | None, typer.Option(metavar="DAY", help="Up to and with this day.")]
Csv = Annotated[
    str | None,
    typer.Option("--csv", metavar="FILE|-", help="Write every line as CSV; - prints it."),
]
Settle = Annotated[
    str | None, typer.Option("--settle", metavar="JOB", help="Say what a job really cost: --usd.")
]
Usd = Annotated[str | None, typer.Option("--usd", metavar="AMOUNT", help="With --settle: dollars.")]


def costs(
    by: By = "day",
    since: Since = None,
    until: Until = None,
    csv: Csv = None,
    settle: Settle = None,
    usd: Usd = None,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """Show what was spent, and what is held: estimate against actual, by day, provider or tag."""
    from ftsdk.spending.ledger import to_csv, totals
    from ftsdk.spending.reserve import ledger

    client = open_client(profile)
    if settle is not None or usd is not None:
        _settle(client, settle, usd)
    lines = ledger(client, since=_day(since, "--since"), until=_day(until, "--until"))
    if csv is not None:
        write_text(csv, to_csv(lines), many(len(lines), "line"), "--csv")
        return
    found = totals(lines, by)
    if as_json:
        emit(_costs_document(client, by, found, lines))
    else:
        _show_costs(client, by, found)


def _day(word: str | None, option: str) -> dt.date | None:
    try:
        return None if word is None else dt.date.fromisoformat(word)
    except ValueError as error:
        raise UsageError(
            f"{word!r} is no day", where=option, hint="for instance 2026-11-01"
        ) from error


def _settle(client: Client, job: str | None, usd: str | None) -> None:
    from ftsdk.store.reservations import Spending

    if job is None or usd is None:
        raise UsageError(
            "--settle and --usd go together", where="costs", hint="--settle JOB --usd 4.20"
        )
    try:
        amount = Decimal(usd.removeprefix("$"))
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0:
        raise UsageError(f"{usd!r} is no amount", where="--usd", hint="for instance 4.20")
    found = find(client, job)
    Spending(client.journal).settle(found.id, amount, "settled by hand")
    note(f"{found.id} counts ${amount:.2f} from now on.")


def _month(client: Client) -> list[tuple[str, Decimal, int, Decimal | None]]:
    """This month by scope: name, what counts, how much is unknown, the limit."""
    from ftsdk.spending.budget import budget_of
    from ftsdk.store.reservations import Spending

    money, now = Spending(client.journal), client.clock.now()
    limits = {limit.profile: limit.usd for limit in budget_of(client.config).limits}
    scopes = dict.fromkeys((None, *limits))
    return [(scope or "all", *money.spent(now, scope), limits.get(scope)) for scope in scopes]


def _costs_document(
    client: Client, by: str, found: list[Total], lines: list[Line]
) -> dict[str, Any]:
    return {
        "by": by,
        "totals": [one.to_dict() for one in found],
        "lines": [line.to_dict() for line in lines],
        "month": [
            {"scope": scope, "counted": counted, "unknown": unknown, "limit": limit}
            for scope, counted, unknown, limit in _month(client)
        ],
    }


def _show_costs(client: Client, by: str, found: list[Total]) -> None:
    if not found:
        say("Nothing was spent.", ("   what it would cost: ", "dim"),
            command("ftsdk estimate DATA --compare"))  # fmt: skip
        return
    quotes = any(one.quoted is not None for one in found)
    head = [by.removeprefix("tag:"), "lines", "estimate", "quoted", "billed", "counts", ""]
    rows: list[list[Any]] = [[(word, "dim") for word in head if quotes or word != "quoted"]]
    for one in found:
        span = f"${one.high:.2f}" if one.low == one.high else f"${one.low:.2f} – {one.high:.2f}"
        doubt = f"{one.unknown} of unknown cost" if one.unknown else ""
        billed = f"${one.actual:.2f}" + (
            f" ({one.billed}/{one.lines})" if one.billed < one.lines else ""
        )
        rows.append([
            (clean(one.key, 40), "bold"), str(one.lines), span,
            *(["–" if one.quoted is None else f"${one.quoted:.2f}"] if quotes else []),
            billed, f"${one.counted:.2f}", (doubt, "yellow"),
        ])  # fmt: skip
    columns(rows, right=(1, 2, 3, 5) if quotes else (1, 2, 4))
    for scope, counted, unknown, limit in _month(client):
        whom = "This month" if scope == "all" else f"Profile {scope}"
        of = "" if limit is None else f" of ${limit:.2f}"
        more = f", and {unknown} of unknown cost" if unknown else ""
        over = limit is not None and counted > limit
        say(f"{whom}: ", (f"${counted:.2f}{of}", "red" if over else "bold"), (more, "yellow"))
