"""How often do notices about contents alarm wrongly? `python benchmarks/false_alarms.py --files DIR`.

DIR has real public files and a `manifest.json` that names them:

    [{"file": "alpaca.json", "repository": "owner/name", "commit": "…", "path": "data/alpaca.json",
      "sha256": "…", "right": {"FT406": [65, 97]}}]

`right` are the lines of the findings that a person looked at and found right. Every other finding counts
as a false alarm. A file whose SHA-256 is another one is an error. The tables are Markdown.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

from ftsdk.dataset import validate

JUDGED = ("FT306", "FT315", "FT316", "FT317", "FT318", "FT319", "FT320", "FT401", "FT402", "FT403", "FT404", "FT405",
          "FT406", "FT407", "FT408", "FT409")  # fmt: skip
"""The codes about what a text means or hides; others state what the bytes are."""


def lines_of(path: Path) -> tuple[int, dict[str, set[int]]]:
    """The number of rows, and the lines with a finding by code."""
    report = validate(path, near_duplicates=False)
    found: dict[str, set[int]] = {}
    for fault in (*report.faults, *report.notices):
        if fault.code in JUDGED:
            found.setdefault(fault.code, set()).add(fault.line)
    short = [code for code in found if report.row_counts[code] > len(found[code])]
    if short:
        raise SystemExit(f"{path.name}: only the first findings of {', '.join(short)} are kept")
    return report.rows, found


def checked_path(folder: Path, entry: dict[str, Any]) -> Path:
    path: Path = folder / entry["file"]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != entry["sha256"]:
        raise SystemExit(f"{path} has the SHA-256 {digest}, the manifest says {entry['sha256']}")
    return path


def measure(folder: Path, *, show: bool) -> None:
    entries = json.loads((folder / "manifest.json").read_text())
    every, false, rows_all = Counter[str](), Counter[str](), 0
    print("| File | Repository, commit | SHA-256 | Rows | Findings | False | False per 1,000 |")
    print("|---|---|---|---|---|---|---|")
    for entry in entries:
        rows, found = lines_of(checked_path(folder, entry))
        right = {code: set(lines) for code, lines in entry.get("right", {}).items()}
        wrong = {code: sorted(lines - right.get(code, set())) for code, lines in found.items()}
        some, bad = sum(map(len, found.values())), sum(map(len, wrong.values()))
        every.update({code: len(lines) for code, lines in found.items()})
        false.update({code: len(lines) for code, lines in wrong.items()})
        rows_all += rows
        print(f"| `{entry['path']}` | {entry['repository']} `{entry['commit'][:7]}` | `{entry['sha256'][:12]}` "
              f"| {rows:,} | {some:,} | {bad:,} | {1000 * bad / max(rows, 1):.2f} |")  # fmt: skip
        if show:
            print({code: lines for code, lines in wrong.items() if lines})
    total, bad = sum(every.values()), sum(false.values())
    print(
        f"| **all** | | | {rows_all:,} | {total:,} | {bad:,} | {1000 * bad / max(rows_all, 1):.2f} |\n"
    )
    print("| Code | Findings | False | False per 1,000 rows |\n|---|---|---|---|")
    for code in JUDGED:
        print(f"| {code} | {every[code]:,} | {false[code]:,} | {1000 * false[code] / max(rows_all, 1):.2f} |")  # fmt: skip


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--files", type=Path, required=True, metavar="DIR")
    arguments.add_argument(
        "--show", action="store_true", help="also print the lines that are false"
    )
    given = arguments.parse_args()
    measure(given.files, show=given.show)
