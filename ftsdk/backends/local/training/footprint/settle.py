"""How a run goes through its device: decided once, before the model is loaded, and kept in its folder.

A resumed run takes the same decision, because how rows are divided changes the last bits of a sum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftsdk.backends.local.compute.hardware import Hardware
from ftsdk.backends.local.compute.skeleton import CannotBuild, config_of
from ftsdk.backends.local.device_options import sharding_of
from ftsdk.backends.local.models.tokenizer_files import TokenIds
from ftsdk.backends.local.options import RunOptions
from ftsdk.backends.local.runs.events import EventWriter
from ftsdk.backends.local.runs.files import read_json
from ftsdk.backends.local.runs.run_spec import RunSpec
from ftsdk.backends.local.training.checkpoint import has_checkpoint
from ftsdk.backends.local.training.footprint.asked import Asked, lengths_of
from ftsdk.backends.local.training.footprint.bound import MICRO_BATCH_TOKENS, most_bytes
from ftsdk.backends.local.training.footprint.device_room import room_of
from ftsdk.backends.local.training.footprint.lean import give_memory_back
from ftsdk.backends.local.training.footprint.memory_plan import MemoryPlan, gigabytes
from ftsdk.backends.local.training.footprint.planner import Room
from ftsdk.backends.local.training.footprint.program import plan_memory
from ftsdk.backends.local.training.objectives.objective import MicroBatchLimits, Objective
from ftsdk.backends.local.training.outcome import Failed
from ftsdk.types.spec import LoRA
from ftsdk.util.files import atomic_write_json

if TYPE_CHECKING:
    import torch

_FILE = "memory.json"


@dataclass(frozen=True)
class Settled:
    """The options of a run with what its memory decided, and the plan, where one was made."""

    options: RunOptions
    plan: MemoryPlan | None = None

    def report(self, events: EventWriter) -> None:
        """Write to the event log what was decided, and what may go wrong."""
        plan = self.plan
        if plan is None:
            return
        if plan.unknown is not None:
            events.write("log", message=f"The memory it takes is not known: {plan.unknown}.")
            return
        events.write("log", message=f"Memory: {plan.describe()}.", memory=dict(plan.items))
        warning = plan.warning()
        if warning is not None:
            events.write("warning", message=f"{warning[0].upper()}{warning[1:]}.")


def asked_of_run(
    spec: RunSpec,
    objective: Objective[Any],
    train: Sequence[Any],
    validation: Sequence[Any],
    token_ids: TokenIds,
    processes: int = 1,
) -> Asked:
    """What decides the memory of a run with these examples, as the plan of its job has it."""
    examples = [*train, *validation]
    longest = objective.batch_size(examples, MicroBatchLimits(1, 1)).longest
    lengths = lengths_of(examples, longest)
    options = spec.options
    asked = Asked.of(
        spec.method, spec.hyperparameters, options, lengths, token_ids, train_rows=len(train)
    )
    return replace(asked, processes=processes, sharding=sharding_of(options, spec.adapter))


def settle(run: Path, spec: RunSpec, hardware: Hardware, asked: Asked) -> Settled:
    """Decide the micro-batch and the checkpointing of a run.

    On a CPU the processes share the memory. A small model that plainly fits is left as it is.
    Raises `Failed` where nothing fits.
    """
    options = spec.options
    kept = read_json(run / _FILE)
    if kept is not None:
        return Settled(_with(options, kept))
    # A run that an older version began goes on as it began.
    if has_checkpoint(run) or hardware.device.type not in MICRO_BATCH_TOKENS:
        return Settled(options)
    room = room_of(hardware, data_tokens=asked.data_tokens)
    if room.kind == "cpu":
        room = room.shared_by(asked.processes)
    try:
        config = config_of(spec.base_model.path)
    except CannotBuild as error:
        return Settled(options, MemoryPlan(unknown=str(error)))
    if _plainly_fits(config, spec, room, hardware.dtype, asked):
        return Settled(options)
    adapter = None
    if spec.adapter is not None:
        adapter = LoRA.model_validate(spec.adapter.model_dump(exclude={"kind"}))
    plan = plan_memory(config, adapter, asked, hardware.dtype, room)
    if plan.unknown is not None:
        return Settled(options, plan)
    if not plan.fits:
        raise Failed(
            f"It takes {gigabytes(plan.peak_bytes)}, and {plan.device} has room for "
            f"{gigabytes(plan.room_bytes)}.",
            "out_of_memory",
            "; ".join(plan.would_fit) or "choose a smaller model",
        )
    decided = {
        "tokens": plan.micro_batch_tokens,
        "checkpointing": plan.gradient_checkpointing,
        "offload": plan.offload_activations,
        "lean": plan.lean,
        "sharding": plan.sharding,
    }
    atomic_write_json(run / _FILE, decided)
    return Settled(_with(options, decided), plan)


def keep_tokens(run: Path, options: RunOptions, tokens: int) -> None:
    """Write down that from now on a forward pass has at most so many tokens."""
    chosen = {
        "checkpointing": bool(options.gradient_checkpointing),
        "offload": bool(options.offload_activations),
        "lean": False,
    }
    before = read_json(run / _FILE) or {}
    atomic_write_json(run / _FILE, {**chosen, **before, "tokens": tokens})


def _with(options: RunOptions, decided: Mapping[str, Any]) -> RunOptions:
    if decided.get("lean"):
        give_memory_back()
    return options.model_copy(
        update={
            "micro_batch_tokens": decided["tokens"],
            "gradient_checkpointing": decided["checkpointing"],
            "offload_activations": decided.get("offload", options.offload_activations),
            "sharding": decided.get("sharding", options.sharding),
        }
    )


def _plainly_fits(config: Any, spec: RunSpec, room: Room, dtype: torch.dtype, asked: Asked) -> bool:
    """True where a bound that needs no simulation is below half of the room that is free."""
    most = most_bytes(
        config.get_text_config().to_dict(),
        spec.base_model.path,
        asked,
        asked.tokens or MICRO_BATCH_TOKENS[room.kind],
        adapter=spec.adapter is not None,
        width=dtype.itemsize,
    )
    least = room.room_bytes if room.free_bytes is None else room.free_bytes
    return most is not None and most + room.process_bytes < least // 2
