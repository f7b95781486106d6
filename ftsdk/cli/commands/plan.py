"""`plan`, and what `estimate` says of one place: what would be sent, and its price. Sends nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftsdk.cli.context import open_client
from ftsdk.cli.job_options import JobOptions, takes_a_job
from ftsdk.cli.options import Json
from ftsdk.cli.view.formatting import clean
from ftsdk.cli.view.output import emit, say
from ftsdk.cli.view.plan_view import adapter_words, cost_line, show_plan_table

if TYPE_CHECKING:
    from ftsdk.types.plan import Plan
    from ftsdk.types.spec import LoRA

__all__ = ["one_estimate", "plan"]


@takes_a_job()
def plan(said: JobOptions, as_json: Json = False) -> None:
    """Show what `create` would send, field by field, and what it may cost. Nothing is sent."""
    made, adapter = _planned(said, quiet=as_json)
    if as_json:
        emit({**made.model_dump(mode="json"), "adapter": adapter})
    else:
        show_plan_table(made, adapter)


def one_estimate(said: JobOptions, *, as_json: bool) -> None:
    """Show what training would cost there, as a range with its source and assumptions."""
    made, adapter = _planned(said, quiet=as_json)
    if as_json:
        emit({
            "provider": made.provider, "model": made.model, "method": made.method,
            "rows": made.rows, "tokens": made.tokens, "tokens_basis": made.tokens_basis,
            "duration_s": made.duration_s, "memory_bytes": made.memory_bytes, "cost": made.cost,
        })  # fmt: skip
    else:
        _show_estimate(made, adapter)


def _planned(said: JobOptions, *, quiet: bool) -> tuple[Plan, LoRA | None]:
    client = open_client(said.profile)
    asked = said.asked(client)
    return asked.prepared(client, quiet=quiet).plan, asked.adapter


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
