"""`plan`: what `create` would send, and what it may cost."""

from __future__ import annotations

from ftsdk.cli.context import open_client
from ftsdk.cli.job_options import JobArguments, takes_job_arguments
from ftsdk.cli.options import Json
from ftsdk.cli.view.output import emit
from ftsdk.cli.view.plan_view import show_plan_table


@takes_job_arguments()
def plan(job: JobArguments, as_json: Json = False) -> None:
    """Show what `create` would send and what it may cost.

    Every field is shown as asked and as sent. Nothing is sent to a provider.
    """
    client = open_client(job.profile)
    prepared = job.prepare(client.session, quiet=as_json)
    if as_json:
        emit({**prepared.plan.model_dump(mode="json"), "adapter": prepared.spec.adapter})
    else:
        show_plan_table(prepared.plan, prepared.spec.adapter)
