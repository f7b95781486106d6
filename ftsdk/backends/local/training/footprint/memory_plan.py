"""What a plan of memory says; without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class MemoryPlan(BaseModel):
    """The memory of a run at its peak, in bytes by item, and the settings that it follows from.

    `room_bytes` is what the device has for it, and `free_bytes` what no other program has of that now;
    None where it is unknown. `sharding` says what so many `processes` divide, of which this is one.
    `lean` is True for a CPU trainer that gives freed memory back at once. `away_bytes` are those of layers' inputs in the memory of the machine, where
    `offload_activations` keeps them there. `micro_batch_tokens` is the most tokens of one forward pass. `would_fit` says,
    where nothing fits, what would; `unknown` says why the memory could not be found. `parameters` are
    the weights of the base model, and `matrix_rate` the operations a second in products of matrices
    that were measured on this machine, where it is planned for that.
    """

    model_config = ConfigDict(frozen=True)

    kind: Literal["cpu", "cuda"] = "cpu"
    device: str = ""
    room_bytes: int = 0
    free_bytes: int | None = None
    items: Mapping[str, int] = Field(default_factory=dict)
    micro_batch_tokens: int | None = None
    tokens_at_once: int = 0
    gradient_checkpointing: bool = False
    offload_activations: bool = False
    away_bytes: int = 0
    lean: bool = False
    fits: bool = True
    sharding: Literal["ddp", "fsdp"] = "ddp"
    processes: int = 1
    why: str = ""
    would_fit: tuple[str, ...] = ()
    unknown: str | None = None
    parameters: int = 0
    matrix_rate: float | None = None

    @property
    def peak_bytes(self) -> int:
        """The sum of the items."""
        return sum(self.items.values())

    @property
    def fits_now(self) -> bool:
        """Whether it fits in what is free now, as far as that is known."""
        return self.fits and (self.free_bytes is None or self.peak_bytes <= self.free_bytes)

    def warning(self) -> str | None:
        """Why a run that fits may not fit now, and who can change that; None where it fits."""
        if not self.fits or self.fits_now or self.free_bytes is None:
            return None
        return (
            f"it takes {gigabytes(self.peak_bytes)} of memory, and {gigabytes(self.free_bytes)} of "
            f"{gigabytes(self.room_bytes)} are free now ({self.device}): close other programs that "
            f"use it, or the run may stop for lack of memory"
        )

    def describe(self) -> str:
        """One line: the peak, the room, and the settings."""
        again = "activations computed again" if self.gradient_checkpointing else "activations kept"
        if self.offload_activations:
            again += f", {gigabytes(self.away_bytes)} of them in the machine's memory"
        over = f", weights divided over {self.processes} processes"
        again += over if self.sharding == "fsdp" else ""
        free = "" if self.free_bytes is None else f", {gigabytes(self.free_bytes)} free now"
        return (
            f"{gigabytes(self.peak_bytes)} of {gigabytes(self.room_bytes)} ({self.device}{free}): "
            f"{self.tokens_at_once:,} tokens at once, {again}{self.why and f'; {self.why}'}"
        )


def gigabytes(count: float) -> str:
    """A number of bytes as `12.3 GB`, or `340 MB` below one GB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
