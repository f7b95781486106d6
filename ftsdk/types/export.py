"""An export: which files were written, and how the written model compares with the trained one."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from ftsdk.types.portability import Portability
from ftsdk.types.record import Record

__all__ = ["Agreement", "Export", "ExportTarget", "MergeLoss"]

ExportTarget = Literal["adapter", "merged", "gguf", "gguf-adapter", "ollama"]
"""What can be written: peft's adapter, one whole safetensors model, a GGUF of the merged model or of
the adapter alone, and a folder for `ollama create`."""


class Agreement(Record):
    """Greedy answers of the written model beside those of the trained one in float32.

    `same` of `probes` answers are equal token by token. `surest_difference` is the largest margin, in
    nats, that the reference had between its first and second token where an answer first differs (0
    where none does). `allowed` is what the form of the weights allows there, None for no limit.
    """

    runtime: str
    probes: int
    same: int
    surest_difference: float = 0.0
    allowed: float | None = None
    tokenization_checked: bool = False

    @property
    def ok(self) -> bool:
        """True when no answer differs where the reference was surer than is allowed."""
        return self.allowed is None or self.surest_difference <= self.allowed


class MergeLoss(Record):
    """What rounding took from the trained change of the weights: |error| / |change|, over the layers.

    Near 0 nothing is lost; above 1 the rounding is larger than the change, which may still be seen in the
    answers, since rounding errors are spread and the change is not.
    """

    median: float
    largest: float
    layers: int


class Export(Record):
    """A finished export. `agreement` is None where nothing could load it here; `notes` say why."""

    target: ExportTarget
    folder: Path
    files: tuple[str, ...]
    size_bytes: int
    dtype: str | None = None
    agreement: Agreement | None = None
    merge_loss: MergeLoss | None = None
    portability: tuple[Portability, ...] = ()
    notes: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
