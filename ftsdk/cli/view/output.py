"""What is printed and where: people's lines with colour on a terminal, or one JSON document."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ftsdk.cli.view.formatting import clean

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

__all__ = ["Cell", "busy", "columns", "console", "emit", "labelled", "note", "say", "text"]

Cell = "str | tuple[str, str] | Text"
"""A piece of a line: plain, with a style, or ready."""

_UNLIMITED = 100_000
_UNSAFE_IN_JSON = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def console(*, stderr: bool = False) -> Console:
    """A console on today's standard output (or error); as wide as the lines when it is no terminal."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    terminal = stream.isatty()
    return Console(
        file=stream,
        highlight=False,
        markup=False,
        emoji=False,
        no_color=True if not terminal or "NO_COLOR" in os.environ else None,
        force_terminal=terminal,
        width=None if terminal else _UNLIMITED,
    )


def text(*parts: Any) -> Text:
    """One line out of cells."""
    from rich.text import Text

    line = Text()
    for part in parts:
        if isinstance(part, tuple):
            line.append(part[0], style=part[1])
        else:
            line.append(part)
    return line


def say(*parts: Any, stderr: bool = False) -> None:
    """Print one line; long ones are left to the terminal to wrap."""
    console(stderr=stderr).print(text(*parts), soft_wrap=True)


def note(*parts: Any) -> None:
    """Print one line beside the output, on standard error."""
    say(*parts, stderr=True)


@contextlib.contextmanager
def busy(words: str, *, quiet: bool = False) -> Iterator[None]:
    """While the block runs, show on a terminal's standard error that something is done."""
    if quiet or not sys.stderr.isatty():
        yield
        return
    with console(stderr=True).status(text((clean(words), "dim"))):
        yield


def columns(rows: Iterable[Sequence[Any]], *, indent: int = 2, right: Sequence[int] = ()) -> None:
    """Print rows with aligned columns; on a terminal each is cut at its width."""
    from rich.text import Text

    screen = console()
    table = [[cell if isinstance(cell, Text) else text(cell) for cell in row] for row in rows]
    if not table:
        return
    widths = [max(cell.cell_len for cell in column) for column in zip(*table, strict=True)]
    for row in table:
        line = Text(" " * indent)
        for index, (cell, width) in enumerate(zip(row, widths, strict=True)):
            if not width:
                continue
            space = " " * (width - cell.cell_len)
            line.append(space if index in right else "").append_text(cell)
            line.append((space if index not in right else "") + "  ")
        line.rstrip()
        if screen.is_terminal:
            line.truncate(screen.width, overflow="ellipsis")
        screen.print(line, soft_wrap=True)


def labelled(
    pairs: Iterable[tuple[str, Any]], *, indent: int = 2, label: int = 8, stderr: bool = False
) -> None:
    """Print `label  value` lines; on a terminal a long value goes on under itself."""
    from rich.text import Text

    screen = console(stderr=stderr)
    for name, value in pairs:
        body = value if isinstance(value, Text) else text(value)
        room = screen.width - indent - label - 1
        fits = not screen.is_terminal or room <= 20
        lines = [body] if fits else list(body.wrap(screen, room))
        for index, line in enumerate(lines):
            head = Text(" " * indent).append(f"{name if index == 0 else '':<{label}} ", style="dim")
            line.rstrip()
            screen.print(head.append_text(line), soft_wrap=True)


def emit(document: Mapping[str, Any]) -> None:
    """Print one JSON document and nothing else. What a terminal would obey is escaped."""
    body = json.dumps(plain(document), indent=2, ensure_ascii=False, allow_nan=False)
    body = _UNSAFE_IN_JSON.sub(lambda found: f"\\u{ord(found.group()):04x}", body)
    if (sys.stdout.encoding or "ascii").lower().replace("-", "") != "utf8":
        body = json.dumps(json.loads(body), indent=2)
    sys.stdout.write(body + "\n")


def plain(value: Any) -> Any:
    """Records, money, times and paths as JSON has them; a number that is none becomes null."""
    if hasattr(value, "model_dump"):
        return plain(value.model_dump(mode="json"))
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value, key=str) if isinstance(value, set | frozenset) else value
        return [plain(item) for item in items]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return str(value) if isinstance(value, str) else value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def command(words: str) -> tuple[str, str]:
    """A command that can be run next, as a cell."""
    return clean(words), "cyan"
