"""A loss curve drawn in text: braille dots for training, circles for validation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ftsdk.cli.view.output import text

if TYPE_CHECKING:
    from rich.text import Text

Point = tuple[float, float]
# A braille cell is two dots wide and four high; bit by (column, row from above).
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))


def draw(
    train: Sequence[Point], validation: Sequence[Point] = (), *, width: int = 64, height: int = 10
) -> list[Text]:
    """Return `(step, loss)` points drawn as `height` rows and an axis; empty below two points.

    `width` and `height` are in characters, without the labels of the axes.
    """
    everything = [*train, *validation]
    if len(everything) < 2:
        return []
    x0, x1 = min(x for x, _ in everything), max(x for x, _ in everything)
    y0, y1 = min(y for _, y in everything), max(y for _, y in everything)
    across, down = (x1 - x0) or 1.0, (y1 - y0) or 1.0

    def place(point: Point) -> tuple[int, int]:
        x, y = point
        return (
            round((x - x0) / across * (width * 2 - 1)),
            round((y1 - y) / down * (height * 4 - 1)),
        )

    cells = [[0] * width for _ in range(height)]
    spots = [place(point) for point in sorted(train)]
    for start, end in zip(spots, spots[1:] or spots, strict=False):
        for x, y in _line(start, end):
            cells[y // 4][x // 2] |= _DOTS[x % 2][y % 4]
    marks = {(y // 4, x // 2) for x, y in map(place, validation)}
    return _rows(cells, marks, (y0, y1), (x0, x1))


def _line(start: tuple[int, int], end: tuple[int, int]) -> list[tuple[int, int]]:
    (x0, y0), (x1, y1) = start, end
    steps = max(abs(x1 - x0), abs(y1 - y0), 1)
    return [
        (round(x0 + (x1 - x0) * i / steps), round(y0 + (y1 - y0) * i / steps))
        for i in range(steps + 1)
    ]


def _rows(cells: list[list[int]], marks: set[tuple[int, int]], ys: Point, xs: Point) -> list[Text]:
    height, width = len(cells), len(cells[0])
    lines = []
    for row, cell_row in enumerate(cells):
        value = ys[1] - (ys[1] - ys[0]) * row / max(1, height - 1)
        label = f"{value:7.3f}" if row in (0, height // 2, height - 1) else " " * 7
        line = text((f"{label} ┤" if label.strip() else f"{label} │", "dim"))
        for column, dots in enumerate(cell_row):
            if (row, column) in marks:
                line.append("●", style="yellow")
            else:
                line.append(chr(0x2800 + dots) if dots else " ", style="cyan")
        line.rstrip()
        lines.append(line)
    first, last = f"step {xs[0]:g}", f"{xs[1]:g}"
    lines.append(text((" " * 8 + "└" + "─" * width, "dim")))
    lines.append(text((" " * 9 + first + last.rjust(max(1, width - len(first))), "dim")))
    return lines
