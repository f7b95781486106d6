"""Draws the README's picture of a terminal, `docs/assets/terminal.svg`, from real commands.

    python docs/terminal.py        needs the extras `local` and `data`; takes two minutes

The commands run in a pseudo-terminal, in an empty folder with an empty home. rich draws what they
printed.
"""

from __future__ import annotations

import io
import os
import pty
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import SVG_EXPORT_THEME
from rich.text import Text

PICTURE = Path(__file__).resolve().parent / "assets" / "terminal.svg"
WIDTH = 104
COMMANDS = {
    "ftsdk init --example": "",
    "ftsdk validate support.jsonl": "",
    "ftsdk create support.jsonl --epochs 1 --learning-rate 1e-3": "y\n",
    "ftsdk chat --beside-base -m 'my parcel is late'": "",
}
"""What is typed, and what is answered when the command asks."""

CONTROL = re.compile(r"\x1b\[(?P<number>\d*)(?P<kind>[AK])|\x1b\[\?25[lh]|\r\n|\r|\n")
# rich's own template loads a font from elsewhere; a picture in a README must not.
FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


def main() -> int:
    """Run the commands and write the picture."""
    screen = Console(record=True, width=WIDTH, file=io.StringIO())
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "FTSDK_HOME": f"{folder}/home", "COLUMNS": str(WIDTH)}
        env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
        work = Path(folder, "work")
        work.mkdir()
        subprocess.run(["ftsdk", "models", "pull", "smollm2-135m"], env=env, cwd=work, check=True)
        for command, answer in COMMANDS.items():
            screen.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
            for line in last_screen(typed(command, answer, work, env)):
                screen.print(Text.from_ansi(line))
            screen.print()
    svg = screen.export_svg(title="ftsdk", theme=SVG_EXPORT_THEME, unique_id="ftsdk")
    PICTURE.write_text(without_fonts(svg), encoding="utf-8")
    print(f"written: {PICTURE}")
    return 0


def typed(command: str, answer: str, cwd: Path, env: dict[str, str]) -> str:
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
