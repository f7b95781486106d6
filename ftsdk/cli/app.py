"""The command line's picture: every command and the panel it stands in."""

from __future__ import annotations

from typing import Annotated

import typer

from ftsdk.cli.commands import (
    actions,
    backends,
    chat,
    costs,
    create,
    data,
    deployments,
    doctor,
    feeds,
    init,
    journal,
    lab,
    list_jobs,
    models,
    plan,
    retirements,
    show,
    validate,
    watch,
)
from ftsdk.cli.errors import Root

__all__ = ["app"]

app = typer.Typer(
    name="ftsdk",
    cls=Root,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Fine-tune language models anywhere through one job object.",
    epilog="Exit codes: 0 done · 2 usage · 3 data · 4 provider · 5 job failed or cancelled · "
    "6 budget · 7 needs a decision.",
)


def _version(wanted: bool) -> None:
    if wanted:
        from ftsdk._version import __version__

        typer.echo(f"ftsdk {__version__}")
        raise typer.Exit


_ATTENDING = frozenset({
    "create", "list", "show", "watch", "wait", "logs", "metrics", "events", "checkpoints",
    "cancel", "pause", "resume", "reconcile", "resolve", "adopt",
    "chat", "download", "delete", "deploy", "costs", "deployments", "leases",
})  # fmt: skip
"""The commands that first end leases that are over and stop jobs at their cap, and say what costs."""


@app.callback()
def root(
    context: typer.Context,
    _: Annotated[
        bool,
        typer.Option(
            "--version", "-V", is_eager=True, callback=_version, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Fine-tune language models anywhere through one job object."""
    if context.invoked_subcommand in _ATTENDING:
        deployments.attend()


_PANELS = {
    "Set up": (
        ("init", init.init),
        ("doctor", doctor.doctor),
        ("path", doctor.path),
        ("backends", backends.backends),
    ),
    "Before": (
        ("validate", validate.validate),
        ("inspect", data.inspect),
        ("convert", data.convert),
        ("split", data.split),
        ("fix", data.fix),
        ("plan", plan.plan),
        ("estimate", costs.estimate),
    ),
    "Jobs": (
        ("create", create.create),
        ("list", list_jobs.list_),
        ("show", show.show),
        ("watch", watch.watch),
        ("wait", watch.wait),
        ("logs", feeds.logs),
        ("metrics", feeds.metrics),
        ("events", feeds.events),
        ("checkpoints", feeds.checkpoints),
        ("cancel", actions.cancel),
        ("pause", actions.pause),
        ("resume", actions.resume),
    ),
    "When in doubt": (
        ("reconcile", actions.reconcile),
        ("resolve", actions.resolve),
        ("adopt", actions.adopt),
    ),
    "Result": (
        ("chat", chat.chat),
        ("download", actions.download),
        ("delete", actions.delete),
        ("deploy", deployments.deploy),
        ("undeploy", deployments.undeploy),
    ),
    "Money": (
        ("costs", costs.costs),
        ("deployments", deployments.deployments),
        ("retirements", retirements.retirements),
    ),
}
for _panel, _commands in _PANELS.items():
    for _name, _function in _commands:
        app.command(_name, rich_help_panel=_panel)(_function)
_FORMER_NAMES = (("leases", deployments.leases), ("radar", retirements.radar))
"""Hidden aliases with the JSON keys they always had: cron jobs and CI pipelines run them."""
for _name, _function in _FORMER_NAMES:
    app.command(_name, hidden=True)(_function)
app.add_typer(models.app, name="models", rich_help_panel="Set up")
app.add_typer(journal.app, name="journal", rich_help_panel="When in doubt")
app.add_typer(lab.app, name="lab", rich_help_panel="Set up")
