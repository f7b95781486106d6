"""The Typer application of `ftsdk`: its root options, and what runs before a command does."""

from __future__ import annotations

from typing import Annotated

import typer

from ftsdk._version import __version__
from ftsdk.cli.group import CONTEXT_SETTINGS, RootGroup

_CHECKS_SPENDING = frozenset({
    "create", "list", "show", "watch", "wait", "logs", "metrics", "events", "checkpoints",
    "cancel", "pause", "resume", "reconcile", "resolve", "adopt",
    "chat", "download", "delete", "deploy", "costs", "deployments", "leases",
})  # fmt: skip
"""The commands that first end overdue deployments and stop jobs at their spending cap."""


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ftsdk {__version__}")
        raise typer.Exit


app = typer.Typer(
    name="ftsdk",
    cls=RootGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings=CONTEXT_SETTINGS,
    help="Fine-tune language models anywhere through one job object.",
    epilog="Exit codes: 0 done, 2 usage, 3 data, 4 provider, 5 job failed or cancelled, 6 budget, "
    "7 needs a decision or more rows, 8 a comparison failed.",
)


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
    if context.invoked_subcommand in _CHECKS_SPENDING:
        from ftsdk.cli.spending_check import enforce_limits  # it imports the client: not for --help

        enforce_limits()
