"""Builds the wheel and the source archive twice and compares them byte by byte.

    python .ci/release.py --out dist     build, compare, and keep the files; prints their SHA-256
    python .ci/release.py --version      print the version of this checkout

Two builds of one commit are equal: times are those of SOURCE_DATE_EPOCH, or a fixed day without it.
Needs hatchling. Everybody can repeat a release in this way, and compare the digests.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Build twice; 1 when the builds differ."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path, help="where to keep the files")
    parser.add_argument("--version", action="store_true", help="print the version and stop")
    asked = parser.parse_args()
    if asked.version:
        print(version())
        return 0
    with tempfile.TemporaryDirectory() as folder:
        first = build(Path(folder) / "first", TZ="UTC", PYTHONHASHSEED="1")
        second = build(Path(folder) / "second", TZ="Asia/Tokyo", PYTHONHASHSEED="2")
        differing = sorted(
            name for name in {*first, *second} if first.get(name) != second.get(name)
        )
        for name in differing:
            print(f"two builds of {name} differ", file=sys.stderr)
        if differing:
            return 1
        for name, data in sorted(first.items()):
            print(f"{hashlib.sha256(data).hexdigest()}  {name}")
            if asked.out is not None:
                asked.out.mkdir(parents=True, exist_ok=True)
                (asked.out / name).write_bytes(data)
    return 0


def version() -> str:
    """Return the version of this checkout."""
    found = re.search(
        r'^__version__ = "([^"]+)"', (ROOT / "ftsdk" / "_version.py").read_text(), re.MULTILINE
    )
    if found is None:
        raise SystemExit("ftsdk/_version.py has no version")
    return found[1]


def build(folder: Path, **settings: str) -> dict[str, bytes]:
    """Return the files of one build by name."""
    command = [
        sys.executable,
        "-m",
        "hatchling",
        "build",
        "-t",
        "sdist",
        "-t",
        "wheel",
        "-d",
        str(folder),
    ]
    done = subprocess.run(
        command,
        check=False,
        cwd=ROOT,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"the build failed:\n{done.stdout}{done.stderr}")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


if __name__ == "__main__":
    sys.exit(main())
