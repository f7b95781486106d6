"""How a run goes through its device: decided once, before the model is loaded, and kept in its folder.

A resumed run takes the same decision, because how rows are divided changes the last bits of a sum.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftsdk.backends.local.compute.hardware import Hardware
from ftsdk.backends.local.compute.skeleton import CannotBuild, config_of
from ftsdk.backends.local.options import RunOptions
from ftsdk.backends.local.runs.files import read_json
from ftsdk.backends.local.runs.run_spec import RunSpec
from ftsdk.backends.local.training.checkpoint import has_checkpoint
from ftsdk.backends.local.training.footprint.bound import (
    MICRO_BATCH_TOKENS,
    most_bytes,
    most_tokens,
)
from ftsdk.backends.local.training.footprint.device_room import room_of
from ftsdk.backends.local.training.footprint.lean import give_memory_back
from ftsdk.backends.local.training.footprint.memory_plan import MemoryPlan, gigabytes
from ftsdk.backends.local.training.footprint.planner import Asked, Room
from ftsdk.backends.local.training.footprint.program import plan_memory
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

    def events(self) -> Mapping[str, Any] | None:
        """The facts of a log event about it; None where there was nothing to decide."""
        if self.plan is None:
            return None
        if self.plan.unknown is not None:
            return {"message": f"The memory it takes is not known: {self.plan.unknown}."}
        return {"message": f"Memory: {self.plan.describe()}.", "memory": dict(self.plan.items)}


def settle(run: Path, spec: RunSpec, hardware: Hardware, longest: int) -> Settled:
    """Decide the micro-batch and the checkpointing of a run whose longest example is `longest` tokens.

    A small model that plainly fits is left as it is. Raises `Failed` where nothing fits.
    """
    options = spec.options
    kept = read_json(run / _FILE)
    if kept is not None:
        return Settled(_with(options, kept))
    # A run that an older version began goes on as it began.
    if has_checkpoint(run) or hardware.device.type not in MICRO_BATCH_TOKENS:
        return Settled(options)
    room = room_of(hardware)
    try:
        config = config_of(spec.base_model.path)
    except CannotBuild as error:
        return Settled(options, MemoryPlan(unknown=str(error)))
    if _plainly_fits(config, spec, room, hardware.dtype, longest):
        return Settled(options)
    adapter = None
    if spec.adapter is not None:
        adapter = LoRA.model_validate(spec.adapter.model_dump(exclude={"kind"}))
    asked = Asked(
        longest,
        spec.hyperparameters.batch_size,
        options.micro_batch_tokens,
        options.gradient_checkpointing,
    )
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
    if plan.lean:
        give_memory_back()
    keep(run, plan.micro_batch_tokens, plan.gradient_checkpointing, lean=plan.lean)
    decided = {"tokens": plan.micro_batch_tokens, "checkpointing": plan.gradient_checkpointing}
    return Settled(_with(options, decided), plan)


def keep(run: Path, tokens: int | None, checkpointing: bool, *, lean: bool) -> None:
    """Write down what was decided, for a resumed run."""
    facts = {"tokens": tokens, "checkpointing": checkpointing, "lean": lean}
    atomic_write_json(run / _FILE, facts)


def keep_tokens(run: Path, options: RunOptions, tokens: int) -> None:
    """Write down that from now on a forward pass has at most so many tokens."""
    before = read_json(run / _FILE) or {}
    checkpointing = bool(before.get("checkpointing", options.gradient_checkpointing))
    keep(run, tokens, checkpointing, lean=bool(before.get("lean")))


def _with(options: RunOptions, decided: Mapping[str, Any]) -> RunOptions:
    if decided.get("lean"):
        give_memory_back()
    return options.model_copy(
        update={
            "micro_batch_tokens": decided["tokens"],
            "gradient_checkpointing": decided["checkpointing"],
        }
    )


def _plainly_fits(config: Any, spec: RunSpec, room: Room, dtype: torch.dtype, longest: int) -> bool:
    """True where a bound that needs no simulation is below half of the room."""
    budget = spec.options.micro_batch_tokens or MICRO_BATCH_TOKENS[room.kind]
    most = most_bytes(
        config.get_text_config().to_dict(),
        spec.base_model.path,
        adapter=spec.adapter is not None,
        longest=longest,
        tokens=most_tokens(longest, spec.hyperparameters.batch_size, budget),
        width=dtype.itemsize,
    )
    return most is not None and most + room.process_bytes < room.room_bytes // 2
