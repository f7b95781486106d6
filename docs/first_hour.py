"""Records the first hour of a new user: `docs/assets/first-hour.svg`, with the minutes of each step.

    python docs/first_hour.py [--torch torch==2.13.0]

Builds the wheel of this checkout, makes an empty environment, an empty folder and an empty home, and types
what the tutorial says: from `pip install` to a chat with the model that was trained. The first command that
fails ends the recording. Needs hatchling, rich and the network of `pip`; takes ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from terminal import ASSETS, Recorded, as_svg, record

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ASSETS / "first-hour.svg"
STEPS = {
    "ftsdk init --example": "",
    "ftsdk models pull smollm2-135m": "",
    "ftsdk validate support.jsonl": "",
    "ftsdk create support.jsonl --epochs 1 --learning-rate 1e-3": "y\n",
    "ftsdk show": "",
    "ftsdk chat -m 'my parcel is late'": "",
}
"""What is typed after the installation, and what is answered when the command asks."""
KEPT = re.compile(
    r"PIP_\w+|SSL_CERT_\w+|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|\w+_proxy", re.IGNORECASE
)
"""Settings of this machine's network; nothing else of the caller's environment is seen."""


def main() -> int:
    """Record every step, print its minutes, write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--torch", help="the release of torch to install: torch==2.13.0")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work, home = Path(folder, "work"), Path(folder, "home")
        work.mkdir()
        home.mkdir()
        venv.create(Path(folder, "env"), with_pip=True)
        env = environment(Path(folder, "env", "bin"), home)
        recorded = []
        for command, answer in {install(build(work), given.torch): "", **STEPS}.items():
            recorded.append(at_home(record(command, answer, work, env), home))
            print(f"{recorded[-1].seconds / 60:5.1f} min  {command}", flush=True)
    print(f"{sum(one.seconds for one in recorded) / 60:5.1f} min  in all")
    PICTURE.write_text(picture(recorded), encoding="utf-8")
    print(f"written: {PICTURE}")
    return 0


def build(folder: Path) -> str:
    """Build the wheel into a folder; returns its name."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    (wheel,) = folder.glob("*.whl")
    return wheel.name


def install(wheel: str, torch: str | None) -> str:
    """Return the command that installs the wheel as `pip install 'ftsdk[local]'` does."""
    return f"pip install -q './{wheel}[local]'" + (f" '{torch}'" if torch else "")


def environment(scripts: Path, home: Path) -> dict[str, str]:
    """Return the variables of a user who has just opened a terminal."""
    kept = {name: value for name, value in os.environ.items() if KEPT.fullmatch(name)}
    return kept | {
        "PATH": os.pathsep.join([str(scripts), "/usr/bin", "/bin"]),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }


def at_home(recorded: Recorded, home: Path) -> Recorded:
    """Return what was recorded with `~` for the home that was made for it."""
    lines = tuple(line.replace(str(home), "~") for line in recorded.lines)
    return dataclasses.replace(recorded, lines=lines)


def picture(recorded: list[Recorded]) -> str:
    """Return the picture of all steps."""
    minutes = sum(one.seconds for one in recorded) / 60
    return as_svg(recorded, f"first-hour · {minutes:.0f} minutes in all", minutes=True)


if __name__ == "__main__":
    sys.exit(main())
