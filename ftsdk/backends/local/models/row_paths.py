"""How rows go through the models of each architecture, as measured; read without torch.

The trainer finds out for the very model that it loads. This record says beforehand what to expect.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_POSITIONS = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "max_target_positions",
)
RECORD = Path(__file__).with_name("row_paths.json")
"""Written by `python -m tests.train.row_paths`."""


@dataclass(frozen=True)
class MeasuredPath:
    """`path` is `flat` (rows laid end to end), `padded`, `row by row`, `refused` or `not measured`.

    `fixed_positions`: the model has one weight or angle for each position, and none beyond.
    """

    path: str
    reason: str = ""
    fixed_positions: bool = False


@cache
def measured_paths() -> tuple[str, dict[str, MeasuredPath]]:
    """The release of transformers that was measured, and the path of each architecture by its name."""
    record = json.loads(RECORD.read_bytes())
    paths = {name: MeasuredPath(**entry) for name, entry in record["architectures"].items()}
    return record["transformers"], paths


def goes_flat(model_type: str) -> bool:
    """Whether rows of this architecture go end to end; one that was not measured is taken for such.

    Others are padded, also those that may go one by one where rows are long.
    """
    found = measured_paths()[1].get(model_type)
    return found is None or found.path not in ("padded", "row by row")


def positions_of(config: Any) -> int | None:
    """The number of positions that a config declares; None when it declares none.

    `config` is that of transformers, or its JSON.
    """
    for name in _POSITIONS:
        given = config.get(name) if isinstance(config, Mapping) else getattr(config, name, None)
        if isinstance(given, int):
            return given
    return None


def ropes_of(config: Any) -> list[Mapping[str, Any]]:
    """The settings of a config's rotary frequencies: one, or one for each kind of layer.

    `config` is that of transformers, or its JSON.
    """
    found: list[Mapping[str, Any]] = []
    for name in ("rope_parameters", "rope_scaling"):
        given = config.get(name) if isinstance(config, Mapping) else getattr(config, name, None)
        if isinstance(given, Mapping):
            found += [given, *(part for part in given.values() if isinstance(part, Mapping))]
    return found


def position_limit(folder: Path) -> int | None:
    """The longest row that the model in `folder` can take, in tokens; None when it has no such limit.

    It has one where each position has a weight of its own, and where the rotary frequencies depend
    on the rows before (dynamic) beyond it.
    """
    config = json.loads((folder / "config.json").read_bytes())
    found = measured_paths()[1].get(str(config.get("model_type")))
    if found is not None and found.fixed_positions:
        return positions_of(config)
    text = config.get("text_config")
    for part in (config, text if isinstance(text, Mapping) else {}):
        if any("dynamic" in (rope.get("rope_type"), rope.get("type")) for rope in ropes_of(part)):
            return positions_of(part)
    return None


def training_notes(folder: Path) -> list[str]:
    """What to say in a plan about training the model in `folder`, where it is not the usual."""
    config = json.loads((folder / "config.json").read_bytes())
    notes = (_batching_note(config), auxiliary_loss_note(config))
    return [note for note in notes if note is not None]


def _batching_note(config: Mapping[str, Any]) -> str | None:
    model_type = config.get("model_type")
    release, paths = measured_paths()
    found = paths.get(str(model_type))
    if found is None or found.path != "row by row":
        return None
    return (
        f"rows of a {model_type} model may go through it one at a time, which is slower than "
        f"together: {found.reason} (measured with transformers {release})"
    )


def auxiliary_loss_note(config: Mapping[str, Any]) -> str | None:
    """A note where a model's config asks for a loss beside that of the next token."""
    text = config.get("text_config")
    parts = (config, text if isinstance(text, Mapping) else {})
    if not any(part.get("output_router_logits") for part in parts):
        return None
    return (
        "the config asks for the router's auxiliary loss (output_router_logits); it is not part of "
        "this training, which learns the answers' tokens alone"
    )
