"""The memory of a run: `python -m ftsdk.backends.local.training.footprint.program QUESTION FILE`.

The question is a JSON object, and so is the answer, a `MemoryPlan`, which is written to the file. It
runs in a process of its own, so that planning a job loads no torch. Only config.json is read. With
`--each` instead it answers questions from its input, a line each, on its output.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter

from ftsdk.backends.local.compute.adapters import grow_embedding
from ftsdk.backends.local.compute.hardware import Hardware, choose_hardware
from ftsdk.backends.local.compute.probe import matrix_rate
from ftsdk.backends.local.compute.skeleton import CannotBuild, build, config_of
from ftsdk.backends.local.models.row_paths import goes_flat
from ftsdk.backends.local.runs.ask_many import EACH
from ftsdk.backends.local.training.footprint.asked import Asked
from ftsdk.backends.local.training.footprint.device_room import card_of, room_of
from ftsdk.backends.local.training.footprint.memory_plan import MemoryPlan
from ftsdk.backends.local.training.footprint.planner import Planner, Room
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
    way = Way(
        adapter,
        dtype,
        room.kind,
        padded=not goes_flat(config.model_type),
        method=asked.method,
        noise=asked.noise,
        compiled=asked.kernels == "compiled",
        token_ids=asked.token_ids,
        optimizer=asked.optimizer,
    )

    def network() -> Any:
        made = build(config)
        grow_embedding(made, asked.token_ids.rows)
        return made

    planner = Planner(network, room)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _with_sharding(planner, way, asked, advise=advise)
    except _NOT_SIMULATED as error:
        first = str(error).strip().partition("\n")[0][:200]
        return MemoryPlan(unknown=f"{type(error).__name__}: {first}")


def _with_sharding(planner: Planner, way: Way, asked: Asked, *, advise: bool) -> MemoryPlan:
    """The plan; weights are divided where that is asked for, or where nothing else fits."""
    if asked.processes == 1:
        return planner.plan(way, replace(asked, sharding="ddp"), advise=advise)
    shares = replace(asked, sharding="fsdp", offload=False)
    if asked.sharding is not None:
        given = shares if asked.sharding == "fsdp" else asked
        return planner.plan(way, given, advise=advise)
    found = planner.plan(way, asked, advise=False)
    if found.fits:
        return found
    shared = planner.plan(way, shares, advise=False)
    return shared if shared.fits else planner.plan(way, asked, advise=advise)


def answer(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to a question as `memory_question` writes it, for JSON."""
    adapter = None if asked["adapter"] is None else LoRA.model_validate(asked["adapter"])
    try:
        config = _config(asked)
    except CannotBuild as error:
        return MemoryPlan(unknown=str(error)).model_dump(mode="json")
    hardware: Hardware | None = None
    what = TypeAdapter(Asked).validate_python(asked["asked"])
    if asked["card_bytes"] is not None:
        room, dtype = card_of(asked["card_bytes"]), torch.bfloat16
    else:
        hardware = choose_hardware(asked["device"], asked["dtype"])
        room = room_of(hardware)
        if room.kind == "cpu":
            room = room.shared_by(what.processes)
        # What is free changes from one moment to the next, and answers are kept.
        room = replace(room, free_bytes=asked.get("free_bytes"))
        dtype = hardware.dtype
    found = plan_memory(config, adapter, what, dtype, room, advise=asked.get("advise", True))
    if hardware is not None and found.unknown is None:
        found = found.model_copy(update={"matrix_rate": matrix_rate(hardware)})
    return found.model_dump(mode="json")


def answer_each() -> int:
    """Answer each line of the input with a line; what libraries print goes to the errors instead."""
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    for line in sys.stdin.buffer:
        output.write(json.dumps(answer(json.loads(line))).encode() + b"\n")
        output.flush()
    return 0


def _config(asked: Mapping[str, Any]) -> Any:
    if asked["folder"] is not None:
        return config_of(Path(asked["folder"]))
    from transformers import AutoConfig

    try:
        return AutoConfig.for_model(**asked["config"])
    except (ValueError, TypeError) as error:
        raise CannotBuild(str(error).strip().partition("\n")[0][:200]) from error


def main(argv: Sequence[str]) -> int:
    """Write the answer to the question in the first argument to the file named in the second."""
    if argv[0] == EACH:
        return answer_each()
    Path(argv[1]).write_text(json.dumps(answer(json.loads(argv[0]))), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
