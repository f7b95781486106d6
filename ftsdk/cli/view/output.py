"""What commands print: lines for people, coloured on a terminal, or one JSON document.

`rich` is imported only to print on a terminal; a pipe or file gets plain text without it.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from ftsdk.cli.view.formatting import clean

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_UNLIMITED = 100_000
_UNSAFE_IN_JSON = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")


def console(*, stderr: bool = False) -> Console:
    """Return a console on the current standard output (or error), unlimited in width in a pipe."""
    from rich.console import Console

    stream = _stream(stderr)
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


def _stream(stderr: bool) -> TextIO:
    return sys.stderr if stderr else sys.stdout


def is_narrow(columns_needed: int) -> bool:
    """Return whether standard output is a terminal with fewer columns."""
    return sys.stdout.isatty() and console().width < columns_needed


def text(*parts: Any) -> Text:
    """Return one line made of parts: plain strings, `(string, style)` pairs, or `Text`."""
    from rich.text import Text

    line = Text()
    for part in parts:
        if isinstance(part, tuple):
            line.append(part[0], style=part[1])
        else:
            line.append(part)
    return line


def plain_text(*parts: Any) -> str:
    """Return the same parts without their styles, tabs expanded as on a terminal."""
    joined = "".join(part[0] if isinstance(part, tuple) else str(part) for part in parts)
    return "\n".join(line.expandtabs(8) for line in joined.split("\n"))


def say(*parts: Any, stderr: bool = False) -> None:
    """Print one line; the terminal wraps a long one."""
    stream = _stream(stderr)
    if stream.isatty():
        console(stderr=stderr).print(text(*parts), soft_wrap=True)
    else:
        _write(stream, plain_text(*parts))


def _write(stream: TextIO, line: str) -> None:
    stream.write(line + "\n")
    stream.flush()  # so that lines of standard output and of standard error keep their order


def note(*parts: Any) -> None:
    """Print one line on standard error."""
    say(*parts, stderr=True)


@contextlib.contextmanager
def busy(words: str, *, quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """Show a spinner on a terminal's standard error while the block runs.

    The block gets a function that replaces the words beside it.
    """
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    with console(stderr=True).status(text((clean(words), "dim"))) as status:
        yield lambda now: status.update(text((clean(now), "dim")))


def columns(
    rows: Iterable[Sequence[Any]],
    *,
    head: Sequence[str] | None = None,
    indent: int = 2,
    right: Sequence[int] = (),
    fold: bool = False,
) -> None:
    """Print rows with aligned columns; a terminal cuts each row at its width.

    `head` has a heading for each column; a column without values is not shown. Columns whose index is
    in `right` are aligned to the right. With `fold`, a last column that does not fit is not cut: it
    continues under itself, or on lines below the row where there is little room beside it.
    """
    from rich.cells import cell_len

    table = [list(row) for row in rows]
    if head is not None and table:
        used = [any(plain_text(row[at]).strip() for row in table) for at in range(len(head))]
        table.insert(0, [(word if used[at] else "", "dim") for at, word in enumerate(head)])
    if not table:
        return
    sizes = [[cell_len(plain_text(cell)) for cell in row] for row in table]
    widths = [max(column) for column in zip(*sizes, strict=True)]
    last = max((at for at, width in enumerate(widths) if width), default=0)
    for number, (row, lengths) in enumerate(zip(table, sizes, strict=True)):
        line: list[Any] = [" " * indent]
        for index, (cell, length) in enumerate(zip(row, lengths, strict=True)):
            if not widths[index] or (fold and index == last):
                continue
            space = " " * (widths[index] - length)
            line += [space, cell, "  "] if index in right else [cell, space, "  "]
        if fold:
            is_head = head is not None and number == 0
            _print_folded(line, row[last], widest=widths[last], is_head=is_head)
        else:
            _print_cut(line)


_LEAST_ROOM = 24
"""Columns of a terminal below which a folded column goes to lines of its own."""


def _print_cut(parts: Sequence[Any]) -> None:
    if not sys.stdout.isatty():
        _write(sys.stdout, plain_text(*parts).rstrip())
        return
    screen, line = console(), text(*parts)
    line.rstrip()
    line.truncate(screen.width, overflow="ellipsis")
    screen.print(line, soft_wrap=True)


def _print_folded(parts: Sequence[Any], last: Any, *, widest: int, is_head: bool) -> None:
    """Print a row whose last cell has at most `widest` columns, like that of all rows."""
    if not sys.stdout.isatty():
        _print_cut([*parts, last])
        return
    screen, line = console(), text(*parts)
    room = screen.width - line.cell_len
    beside = room >= min(widest, _LEAST_ROOM)
    pieces = list(text(last).wrap(screen, room if beside else screen.width - 6))
    _print_cut([line, pieces.pop(0)] if beside and pieces else [line])
    if beside or not is_head:
        for piece in filter(None, pieces):
            _print_cut([" " * (line.cell_len if beside else 6), piece])


def labelled(
    pairs: Iterable[tuple[str, Any]], *, indent: int = 2, label: int = 8, stderr: bool = False
) -> None:
    """Print `label  value` lines; on a terminal a long value continues under itself.

    A value is one part of a line, or a list of parts.
    """
    lines = [(name, value if isinstance(value, list) else [value]) for name, value in pairs]
    if not _stream(stderr).isatty():
        for name, parts in lines:
            line = f"{' ' * indent}{name:<{label}} {plain_text(*parts)}"
            _write(_stream(stderr), line.rstrip())
        return
    _print_wrapped(console(stderr=stderr), lines, indent, label)


def _print_wrapped(
    screen: Console, lines: Iterable[tuple[str, list[Any]]], indent: int, label: int
) -> None:
    from rich.text import Text

    for name, parts in lines:
        body = text(*parts)
        room = screen.width - indent - label - 1
        wrapped = [body] if room <= 20 else list(body.wrap(screen, room))
        for index, line in enumerate(wrapped):
            head = Text(" " * indent).append(f"{name if index == 0 else '':<{label}} ", style="dim")
            line.rstrip()
            screen.print(head.append_text(line), soft_wrap=True)


def emit(document: Mapping[str, Any]) -> None:
    """Print one JSON document and nothing else; what a terminal would obey is escaped."""
    body = json.dumps(plain(document), indent=2, ensure_ascii=False, allow_nan=False)
    body = _UNSAFE_IN_JSON.sub(lambda found: f"\\u{ord(found.group()):04x}", body)
    if (sys.stdout.encoding or "ascii").lower().replace("-", "") != "utf8":
        body = json.dumps(json.loads(body), indent=2)
    sys.stdout.write(body + "\n")


def emit_blocks(blocks: Iterable[bytes]) -> None:
    """Print one JSON document that comes in blocks, as `emit` does; none but the last is in memory."""
    is_utf8 = (sys.stdout.encoding or "ascii").lower().replace("-", "") == "utf8"
    for block in blocks:
        body = _UNSAFE_IN_JSON.sub(lambda found: f"\\u{ord(found.group()):04x}", block.decode())
        if not is_utf8:
            body = _NOT_ASCII.sub(lambda found: json.dumps(found.group())[1:-1], body)
        sys.stdout.write(body)


def plain(value: Any) -> Any:
    """Return records, money, times and paths as JSON types; NaN and infinity become None."""
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
    """Return a suggested command as a part of a line."""
    return clean(words), "cyan"
