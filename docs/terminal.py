"""Records a terminal from real commands: `docs/assets/terminal.svg` and `docs/assets/terminal.html`.

    python docs/terminal.py        needs the extras `local` and `data`; takes two minutes

The commands run in a pseudo-terminal, in an empty folder with an empty home. rich draws what they
printed: the README's picture from all of them, and for the home page the last two as text, whose colours
follow the page. `first_hour.py` records with the same functions.
"""

from __future__ import annotations

import html
import io
import os
import pty
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import SVG_EXPORT_THEME
from rich.text import Text

ASSETS = Path(__file__).resolve().parent / "assets"
PICTURE = ASSETS / "terminal.svg"
HOME_PAGE = ASSETS / "terminal.html"
WIDTH = 84
COMMANDS = {
    "ftsdk init --example": "",
    "ftsdk validate support.jsonl": "",
    "ftsdk create support.jsonl --epochs 1 --learning-rate 1e-3": "y\n",
    "ftsdk chat --beside-base -m 'my parcel is late'": "",
}
"""What is typed, and what is answered when the command asks."""

COLOURS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
CONTROL = re.compile(r"\x1b\[(?P<number>\d*)(?P<kind>[AK])|\x1b\[\?25[lh]|\r\n|\r|\n")
# rich's own template loads a font from elsewhere; a picture in a README must not.
FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


@dataclass(frozen=True)
class Recorded:
    """A command as it was typed, the lines of its last screen with their colours, and its seconds."""

    command: str
    lines: tuple[str, ...]
    seconds: float


def main() -> int:
    """Run the commands; write the picture and the text."""
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "FTSDK_HOME": f"{folder}/home"}
        env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
        work = Path(folder, "work")
        work.mkdir()
        subprocess.run(["ftsdk", "models", "pull", "smollm2-135m"], env=env, cwd=work, check=True)
        recorded = [record(command, answer, work, env) for command, answer in COMMANDS.items()]
    PICTURE.write_text(as_svg(recorded, "ftsdk"), encoding="utf-8")
    HOME_PAGE.write_text(as_html(recorded[-2:]), encoding="utf-8")
    print(f"written: {PICTURE}, {HOME_PAGE}")
    return 0


def record(command: str, answer: str, cwd: Path, env: Mapping[str, str]) -> Recorded:
    """Type a command, and keep what its terminal shows in the end. Raises when the command fails."""
    began = time.monotonic()
    printed = typed(command, answer, cwd, {**env, "COLUMNS": str(WIDTH)})
    return Recorded(command, tuple(last_screen(printed)), time.monotonic() - began)


def as_svg(recorded: Iterable[Recorded], title: str, *, minutes: bool = False) -> str:
    """Return a picture of the terminal, with the minutes beside each command if they are wanted."""
    screen = Console(record=True, width=WIDTH, file=io.StringIO())
    for one in recorded:
        took = f"   # {one.seconds / 60:.1f} min" if minutes else ""
        screen.print(Text.assemble(("$ ", "bold green"), (one.command, "bold"), (took, "dim")))
        for line in one.lines:
            screen.print(Text.from_ansi(line))
        screen.print()
    return without_fonts(
        screen.export_svg(title=title, theme=SVG_EXPORT_THEME, unique_id=title.partition(" ")[0])
    )


def as_html(recorded: Iterable[Recorded]) -> str:
    """Return the text as one `pre`; the stylesheet gives its classes their colours, light and dark."""
    blocks = []
    for one in recorded:
        typed_line = f'<span class="dim">$</span> <b>{html.escape(one.command, quote=False)}</b>'
        blocks.append("\n".join([typed_line, *(_styled(line) for line in one.lines)]))
    body = "\n\n".join(blocks)
    return f'<pre class="terminal" tabindex="0">{body}</pre>\n'


def _styled(line: str) -> str:
    """Return one line with a `span` around each piece that has a colour or a weight."""
    console = Console(width=1000)
    pieces = []
    for segment in Text.from_ansi(line).render(console):
        style = segment.style
        names = [name for name in ("bold", "dim") if style and getattr(style, name)]
        if style and style.color is not None and style.color.number is not None:
            names.append(COLOURS[style.color.number % 8])
        text = html.escape(segment.text, quote=False)
        pieces.append(f'<span class="{" ".join(names)}">{text}</span>' if names else text)
    return "".join(pieces).rstrip("\n")


def typed(command: str, answer: str, cwd: Path, env: Mapping[str, str]) -> str:
    """What a command prints on a terminal, control codes included."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        shlex.split(command), stdin=theirs, stdout=theirs, stderr=theirs, cwd=cwd, env=env
    ) as process:
        os.close(theirs)
        printed = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # Linux says so when the other side has closed
                break
            if not piece:
                break
            printed += piece
            if answer and b"[Y/n]" in printed:
                os.write(ours, answer.encode())
                answer = ""
    os.close(ours)
    if process.returncode:
        raise SystemExit(f"{command} ended with {process.returncode}\n{printed.decode()}")
    return printed.decode()


def last_screen(printed: str) -> list[str]:
    """The lines as they are in the end, after those that were drawn over."""
    lines, row, at = [""], 0, 0
    for code in CONTROL.finditer(printed):
        lines[row] += printed[at : code.start()]
        at = code.end()
        if code["kind"] == "A":
            row = max(0, row - int(code["number"] or 1))
        elif code["kind"] == "K":
            lines[row] = ""
        elif "\n" in code[0]:
            row += 1
            lines += [""] * (row + 1 - len(lines))
    lines[row] += printed[at:]
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def without_fonts(svg: str) -> str:
    """The picture with fonts that the reader's machine has, and with every space kept."""
    svg = svg.replace("<text ", '<text xml:space="preserve" ')
    svg = re.sub(r"@font-face \{.*?\}\n", "", svg, flags=re.DOTALL)
    return re.sub(r"font-family: [^;]+;", f"font-family: {FONT};", svg)


if __name__ == "__main__":
    sys.exit(main())
