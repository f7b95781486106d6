"""Install packages into a virtual environment by uv, from where pip would take them.

    python tests/install.py [--into PYTHON] [-e .[dev]] REQUIREMENT…

uv unpacks a package once for all environments of a machine, which takes seconds where pip takes minutes. It
does not read pip's settings, so they are handed on.
"""

from __future__ import annotations

import argparse
import ast
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

# pip's setting, uv's variable, and what is between the values of that variable.
SETTINGS = {
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "constraint": ("UV_CONSTRAINT", " "),
    "cert": ("SSL_CERT_FILE", " "),
    "no-index": ("UV_NO_INDEX", " "),
}
# A setting of the environment counts more than one of `pip install`, and that more than one of pip.
SECTIONS = ("global", "install", ":env:")


def install(python: Path | str, requirements: Sequence[str], *, cwd: Path | None = None) -> None:
    """Install into the environment of `python`.

    Raises:
        RuntimeError: uv failed; the text is what it printed.
    """
    command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", str(python)]
    done = subprocess.run(
        [*command, *requirements], cwd=cwd, env=variables(), capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(requirements)}\n{done.stdout}{done.stderr}")


def variables() -> dict[str, str]:
    """Return the environment for uv: this one, and pip's settings where uv has none of its own."""
    shown = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    )
    best = {"UV_INDEX_STRATEGY": "unsafe-best-match"}  # of all indexes, as pip does
    return {**best, **for_uv(shown.stdout), **os.environ}


def for_uv(listed: str) -> dict[str, str]:
    """Return uv's variables for what `pip config list` printed: lines like global.cert='/a/file'."""
    found: dict[str, str] = {}
    for section in SECTIONS:
        for line in listed.split("\n"):
            name, _, value = line.partition("=")
            setting = name.removeprefix(f"{section}.")
            if name != setting and setting in SETTINGS:
                variable, between = SETTINGS[setting]
                found[variable] = between.join(ast.literal_eval(value).split())
    return found


def main() -> int:
    """Install what the command line names."""
    asked = argparse.ArgumentParser(description=str(__doc__).split("\n", maxsplit=1)[0])
    asked.add_argument("--into", default=sys.executable, metavar="PYTHON")
    asked.add_argument("-e", "--editable", action="append", default=[], metavar="FOLDER")
    asked.add_argument("requirements", nargs="*")
    given = asked.parse_args()
    wanted = [*(f"--editable={one}" for one in given.editable), *given.requirements]
    try:
        install(given.into, wanted)
    except RuntimeError as error:
        print(f"could not install {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
