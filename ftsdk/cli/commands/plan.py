"""`plan`: what `create` would send, and what it may cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ftsdk.backends.local.fits import Fit
from ftsdk.backends.local.fits import fits as fits_of
from ftsdk.cli.context import open_client
from ftsdk.cli.job_options import JobArguments, takes_job_arguments
from ftsdk.cli.options import Json
from ftsdk.cli.view.formatting import clean, size
from ftsdk.cli.view.output import busy, columns, emit, say
from ftsdk.cli.view.plan_view import show_plan_table
from ftsdk.errors import UsageError

Fits = Annotated[
    bool,
    typer.Option("--fits", help="Show which models can be tuned on this machine; without DATA."),
]
Memory = Annotated[
    float | None,
    typer.Option(
        "--memory", metavar="GB", min=0.1, help="With --fits: on a GPU with this much memory."
    ),
]


@takes_job_arguments(rows_optional=True)
def plan(
    job: JobArguments, fits: Fits = False, memory: Memory = None, as_json: Json = False
) -> None:
    """Show what `create` would send and what it may cost.

    Every field is shown as asked and as sent. Nothing is sent to a provider.
    """
    client = open_client(job.profile)
    if fits:
        _show_fits(_fits(job, memory, as_json=as_json, home=client.session.home), as_json=as_json)
        return
    if job.dataset is None:
        raise UsageError(
            "there are no rows to plan a job for",
            where="the argument DATA",
            hint="`ftsdk plan DATA`, or `ftsdk plan --fits` for the models that fit here",
        )
    prepared = job.prepare(client.session, quiet=as_json)
    if as_json:
        emit({**prepared.plan.model_dump(mode="json"), "adapter": prepared.spec.adapter})
    else:
        show_plan_table(prepared.plan, prepared.spec.adapter)


def _fits(job: JobArguments, memory: float | None, *, as_json: bool, home: Path) -> list[Fit]:
    """The memory of the known models, and of the one that is named."""
    counts: list[int] = []
    found: list[Fit] = []
    with busy("planning the memory of each model", quiet=as_json) as say_now:
        for one in fits_of(
            home,
            card_bytes=None if memory is None else round(memory * 1e9),
            models=[] if job.model is None else [job.model],
            longest=job.max_length or 1024,
            batch_size=job.batch_size or 8,
            rank=job.rank or 16,
            on_count=counts.append,
        ):
            found.append(one)
            say_now(f"planned {one.model} as {one.way}: {len(found)} of {counts[0]}")
    return found


def _show_fits(found: list[Fit], *, as_json: bool) -> None:
    if as_json:
        emit({"fits": [one.to_dict() for one in found]})
        return
    kinds = list(dict.fromkeys(one.way for one in found))
    models = dict.fromkeys(one.model for one in found)
    cells = {(one.model, one.way): _cell(one) for one in found}
    room = next((one.plan for one in found if one.plan.unknown is None), None)
    if room is not None:
        say(f"On {clean(room.device)}, with room for {size(room.room_bytes)}:")
    columns([[clean(m), *(cells[m, way] for way in kinds)] for m in models], head=("model", *kinds))


def _cell(one: Fit) -> str:
    plan = one.plan
    if plan.unknown is not None:
        return f"not known: {clean(plan.unknown, 60)}"
    if not plan.fits:
        return f"no, needs {size(plan.peak_bytes)}"
    return f"yes, {size(plan.peak_bytes)}"
