"""The command line: the only part of the package that prints.

`ftsdk --help` stays quick because commands are imported when they run (`group.py`). Inside
functions, the modules here import only what a command may not need: the client in `app.py` and
`completion.py`, `rich` where nothing may be printed on a terminal, and packages that are heavy.
"""

from __future__ import annotations

from ftsdk.cli.startup import begin_imports


def main() -> None:
    """Run the command line with this process's arguments, and exit with its code."""
    begin_imports()
    from ftsdk.cli.app import app

    app(prog_name="ftsdk")
