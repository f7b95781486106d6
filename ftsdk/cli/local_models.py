"""Base models on this machine: where one is, and pulling one with a progress bar."""

from __future__ import annotations

import sys
from pathlib import Path

from ftsdk.backends.local.models.pull_progress import PullProgress
from ftsdk.backends.local.models.resolve import (
    ResolvedModel,
    pull_model,
    pulled_folder,
)
from ftsdk.cli.view.formatting import clean, size
from ftsdk.cli.view.output import console, note
from ftsdk.client import Client


def model_folder(client: Client, model: str | None) -> Path | None:
    """Return the folder of a model that is on this machine; None for any other model."""
    return None if model is None else pulled_folder(model, home=client.home)


def pull_with_bar(
    home: Path, name: str, *, source: Path | None = None, quiet: bool = False
) -> ResolvedModel:
    """Pull a model, with a progress bar on a terminal's standard error and lines elsewhere."""
    if quiet:
        return pull_model(name, home=home, source=source)
    if not sys.stderr.isatty():
        return pull_model(name, home=home, source=source, on_progress=_StageLines())
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    with Progress(
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
        console=console(stderr=True), transient=True,
    ) as bar:  # fmt: skip
        task = bar.add_task(name, total=None)

        def show(update: PullProgress) -> None:
            words = clean(f"{update.model}  {update.stage}")
            bar.update(
                task, description=words, completed=update.done_bytes, total=update.total_bytes
            )

        return pull_model(name, home=home, source=source, on_progress=show)


class _StageLines:
    """Prints one line for each stage of a download."""

    def __init__(self) -> None:
        self._stage = ""

    def __call__(self, update: PullProgress) -> None:
        if update.stage != self._stage:
            self._stage = update.stage
            total = f"  {size(update.total_bytes)}" if update.total_bytes else ""
            note(clean(f"{update.model}  {update.stage}{total}"))
