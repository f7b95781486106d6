"""The memory of a run: `python -m ftsdk.backends.local.training.footprint.program QUESTION FILE`.

The question is a JSON object, and so is the answer, a `MemoryPlan`, which is written to the file. It
runs in a process of its own, so that planning a job loads no torch. Only config.json is read.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ftsdk.backends.local.compute.hardware import Hardware, choose_hardware
from ftsdk.backends.local.compute.skeleton import CannotBuild, build, config_of
from ftsdk.backends.local.models.row_paths import measured_paths
from ftsdk.backends.local.training.footprint.device_room import card_of, room_of
from ftsdk.backends.local.training.footprint.memory_plan import MemoryPlan
from ftsdk.backends.local.training.footprint.planner import Asked, Planner, Room
from ftsdk.backends.local.training.footprint.simulate import Way
from ftsdk.types.spec import LoRA

_NOT_SIMULATED = (
    CannotBuild,
    RuntimeError,
    TypeError,
    ValueError,
    NotImplementedError,
    AttributeError,
    KeyError,
    IndexError,
)
"""What models raise that compute with numbers where a simulation has none."""


def plan_memory(
    config: Any,
    adapter: LoRA | None,
    asked: Asked,
    dtype: torch.dtype,
    room: Room,
    *,
    advise: bool = True,
) -> MemoryPlan:
    """Plan the memory of one architecture. What cannot be simulated is `unknown`, with the reason."""
    way = Way(adapter, dtype, room.kind, flat=_is_flat(config))
    planner = Planner(lambda: build(config), room)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return planner.plan(way, asked, advise=advise)
    except _NOT_SIMULATED as error:
        first = str(error).strip().partition("\n")[0][:200]
        return MemoryPlan(unknown=f"{type(error).__name__}: {first}")


def _is_flat(config: Any) -> bool:
    found = measured_paths()[1].get(config.model_type)
    return found is None or found.path != "row by row"


def answer(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to a question as `memory_question` writes it, for JSON."""
    adapter = None if asked["adapter"] is None else LoRA.model_validate(asked["adapter"])
    try:
        config = _config(asked)
    except CannotBuild as error:
        return MemoryPlan(unknown=str(error)).model_dump(mode="json")
    if asked["card_bytes"] is not None:
        room, dtype = card_of(asked["card_bytes"]), torch.bfloat16
    else:
        hardware: Hardware = choose_hardware(asked["device"], asked["dtype"])
        room, dtype = room_of(hardware), hardware.dtype
    what = Asked(**asked["asked"])
    found = plan_memory(config, adapter, what, dtype, room, advise=asked.get("advise", True))
    return found.model_dump(mode="json")


def _config(asked: Mapping[str, Any]) -> Any:
    if asked["folder"] is not None:
        return config_of(Path(asked["folder"]))
    from transformers import AutoConfig

    return AutoConfig.for_model(**asked["config"])


def main(argv: Sequence[str]) -> int:
    """Write the answer to the question in the first argument to the file named in the second."""
    Path(argv[1]).write_text(json.dumps(answer(json.loads(argv[0]))), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
