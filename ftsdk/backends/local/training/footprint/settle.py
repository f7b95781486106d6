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
from ftsdk.backends.local.models.model_folder import weight_files
from ftsdk.backends.local.options import RunOptions
from ftsdk.backends.local.runs.files import read_json
from ftsdk.backends.local.runs.run_spec import RunSpec
from ftsdk.backends.local.training.footprint.device_room import room_of
from ftsdk.backends.local.training.footprint.lean import give_memory_back
from ftsdk.backends.local.training.footprint.memory_plan import MemoryPlan, gigabytes
from ftsdk.backends.local.training.footprint.planner import MICRO_BATCH_TOKENS, Asked, Room
from ftsdk.backends.local.training.footprint.program import plan_memory
from ftsdk.backends.local.training.outcome import Failed
from ftsdk.types.spec import LoRA
from ftsdk.util.files import atomic_write_json

if TYPE_CHECKING:
    import torch

_FILE = "memory.json"
_PER_WEIGHT = {True: 8, False: 24}
"""Bytes for each weight at most, with an adapter and without."""


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
    if _has_checkpoint(run) or hardware.device.type not in MICRO_BATCH_TOKENS:
        return Settled(options)
    room = room_of(hardware)
    try:
        config = config_of(spec.base_model.path)
    except CannotBuild as error:
        return Settled(options, MemoryPlan(unknown=str(error)))
    if _plainly_fits(config, spec, room, hardware.dtype):
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


def _has_checkpoint(run: Path) -> bool:
    """True for a run that an older version began: it goes on as it began."""
    return any((run / "checkpoints").glob("step-*"))


def _plainly_fits(config: Any, spec: RunSpec, room: Room, dtype: torch.dtype) -> bool:
    """True where a bound that needs no simulation is below half of the room."""
    text, weights = config.get_text_config(), 0
    for path in weight_files(spec.base_model.path):
        weights += path.stat().st_size // 2
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    sizes = [size for name in names if isinstance(size := getattr(text, name, None), int)]
    if len(sizes) < len(names):
        return False
    width, inner, layers, heads = sizes
    longest = spec.hyperparameters.max_length
    tokens = max(longest, spec.options.micro_batch_tokens or MICRO_BATCH_TOKENS[room.kind])
    per_token = layers * (24 * width + 8 * inner) * dtype.itemsize
    scores = 4 * heads * longest * longest * dtype.itemsize
    needed = weights * _PER_WEIGHT[spec.adapter is not None] + 2 * tokens * per_token + scores
    return needed + room.process_bytes < room.room_bytes // 2
