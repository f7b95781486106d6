"""Lists the licences of everything that is installed with ftsdk, from the packages' own metadata.

    python .ci/licences.py               the core, as a table
    python .ci/licences.py local eval    with these extras
    python .ci/licences.py --check       ends with 1 where a licence is unknown or would bind its users

Reads what is installed in the environment of this Python; nothing is downloaded.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import Any

FREE = re.compile(
    r"\b(?:MIT|BSD|Apache|ISC|PSF|Python Software Foundation|MPL|Mozilla|Zlib|0BSD|CC0|Unlicense|HPND|"
    r"LGPL[\w.+-]*|NVIDIA|LicenseRef-NVIDIA\S*)\b|^(?:BSD|PSFL)",
    re.IGNORECASE,
)
"""Licences under which a package may be used beside any other. NVIDIA's come with torch's wheels; LGPL asks nothing of
who installs the package unchanged."""
_NAME = re.compile(r"^[A-Za-z0-9._-]+")


def main() -> int:
    """Print the table; with `--check` also end with 1 where something must be looked at."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("extras", nargs="*", help="extras of ftsdk, such as local")
    parser.add_argument("--check", action="store_true")
    asked = parser.parse_args()
    found = licences(["ftsdk", *(f"ftsdk[{extra}]" for extra in asked.extras)])
    width = max(map(len, found), default=0)
    for name, licence in sorted(found.items()):
        print(f"{name:<{width}}  {licence}")
    doubtful = sorted(name for name, licence in found.items() if not FREE.search(licence))
    for name in doubtful if asked.check else ():
        print(f"look at the licence of {name}: {found[name]}", file=sys.stderr)
    return 1 if asked.check and doubtful else 0


def licences(wanted: Iterable[str]) -> dict[str, str]:
    """Return the licence of each installed package that these requirements lead to, by name."""
    found: dict[str, str] = {}
    waiting, seen = list(wanted), set[str]()
    while waiting:
        requirement = waiting.pop()
        name, extras = _parsed(requirement)
        try:
            package = distribution(name)
        except PackageNotFoundError:
            continue  # for another platform, or an extra that is not installed
        if name.lower() != "ftsdk":
            found[package.metadata["Name"]] = licence_of(package)
        for needed in package.requires or ():
            text, _, marker = needed.partition(";")
            if text + marker + ",".join(extras) not in seen and _applies(marker, extras):
                seen.add(text + marker + ",".join(extras))
                waiting.append(text)
    return found


def _parsed(requirement: str) -> tuple[str, list[str]]:
    match = _NAME.match(requirement.strip())
    extras = re.search(r"\[([^\]]*)\]", requirement)
    names = [] if extras is None else [one.strip() for one in extras[1].split(",")]
    return (match[0] if match else requirement), names


def _applies(marker: str, extras: list[str]) -> bool:
    """Whether a requirement is wanted: without an extra, or of one that was asked for."""
    named = re.findall(r"extra\s*==\s*['\"]([^'\"]+)['\"]", marker)
    return not named or any(one in extras for one in named)


def licence_of(package: Distribution) -> str:
    """Return the licence that a package declares: its expression, its classifiers, else its text."""
    metadata: Any = package.metadata
    expression = metadata.get("License-Expression")
    if expression:
        return str(expression)
    named = [
        one.rpartition(" :: ")[2]
        for one in metadata.get_all("Classifier") or ()
        if one.startswith("License ::") and one != "License :: OSI Approved"
    ]
    text = str(metadata.get("License") or "").strip().split("\n", maxsplit=1)[0][:60]
    return " / ".join(named) or text or "not declared"


if __name__ == "__main__":
    sys.exit(main())
