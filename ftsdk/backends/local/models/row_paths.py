"""How rows go through the models of each architecture, as measured; read without torch.

The trainer finds out for the very model that it loads. This record says beforehand what to expect.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

RECORD = Path(__file__).with_name("row_paths.json")
"""Written by `python -m tests.train.row_paths`."""


@dataclass(frozen=True)
class MeasuredPath:
    """`path` is `flat` (rows laid end to end), `row by row`, `refused` or `not measured`."""

    path: str
    reason: str = ""


@cache
def measured_paths() -> tuple[str, dict[str, MeasuredPath]]:
    """The release of transformers that was measured, and the path of each architecture by its name."""
    record = json.loads(RECORD.read_bytes())
    paths = {name: MeasuredPath(**entry) for name, entry in record["architectures"].items()}
    return record["transformers"], paths


def batching_note(folder: Path) -> str | None:
    """What to say in a plan about a model whose rows go one at a time; None for any other model."""
    model_type = json.loads((folder / "config.json").read_bytes()).get("model_type")
    release, paths = measured_paths()
    found = paths.get(model_type)
    if found is None or found.path != "row by row":
        return None
    return (
        f"rows of a {model_type} model go through it one at a time, which is slower than laid end "
        f"to end: {found.reason} (measured with transformers {release})"
    )
