"""What a terminal shows while a job is sent: a spinner, and a bar during the upload."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from ftsdk.backends.upload_progress import on_upload
from ftsdk.cli.view.output import console

if TYPE_CHECKING:
    from rich.progress import ProgressColumn, Task
    from rich.text import Text


@contextlib.contextmanager
def show_upload(*, quiet: bool) -> Iterator[None]:
    """Show on a terminal's standard error what is sent while the block runs, and how far it is."""
    if quiet or not sys.stderr.isatty():
        yield
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn
    from rich.progress import TransferSpeedColumn as Speed

    columns = (
        SpinnerColumn(),
        TextColumn("[dim]{task.description}"),
        *map(_while_uploading, (BarColumn(), DownloadColumn(), Speed())),
    )
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task("sending", total=None)

        def show(sent: int, size: int) -> None:
            going = sent < size  # after the last byte the provider still has to answer
            words = "uploading" if going else "sending"
            bar.update(task, description=words, completed=sent, total=size, going=going)

        with on_upload(show):
            yield


def _while_uploading(column: ProgressColumn) -> ProgressColumn:
    """Return the column, empty while nothing is uploaded."""
    from rich.progress import ProgressColumn
    from rich.text import Text

    class WhileUploading(ProgressColumn):
        """Draws the column during an upload only."""

        def render(self, task: Task) -> Text:
            shown = column(task) if task.fields.get("going") else Text()
            return cast("Text", shown)  # whatever rich can draw

    return WhileUploading()
