"""What a plan of memory says; without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class MemoryPlan(BaseModel):
    """The memory of a run at its peak, in bytes by item, and the settings that it follows from.

    `room_bytes` is what the device has for it. `lean` is True for a CPU trainer that gives freed
    memory back at once. `micro_batch_tokens` is the most tokens of one forward pass. `would_fit` says,
    where nothing fits, what would; `unknown` says why the memory could not be found.
    """

    model_config = ConfigDict(frozen=True)

    kind: Literal["cpu", "cuda"] = "cpu"
    device: str = ""
    room_bytes: int = 0
    items: Mapping[str, int] = Field(default_factory=dict)
    micro_batch_tokens: int | None = None
    tokens_at_once: int = 0
    gradient_checkpointing: bool = False
    lean: bool = False
    fits: bool = True
    why: str = ""
    would_fit: tuple[str, ...] = ()
    unknown: str | None = None

    @property
    def peak_bytes(self) -> int:
        """The sum of the items."""
        return sum(self.items.values())

    def describe(self) -> str:
        """One line: the peak, the room, and the settings."""
        again = "activations computed again" if self.gradient_checkpointing else "activations kept"
        return (
            f"{gigabytes(self.peak_bytes)} of {gigabytes(self.room_bytes)} ({self.device}): "
            f"{self.tokens_at_once:,} tokens at once, {again}{self.why and f'; {self.why}'}"
        )


def gigabytes(count: float) -> str:
    """A number of bytes as `12.3 GB`, or `340 MB` below one GB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
