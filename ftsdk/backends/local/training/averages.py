"""AdamW's two averages of each weight: in float32, or in 8 bits by bitsandbytes.

In 8 bits an average is a byte that names one of 256 values, times a float32 scale that 256 weights
share. bitsandbytes unpacks a block, takes the step in float32 and packs it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from ftsdk.backends.local.optimizers import BLOCK, OptimizerName

if TYPE_CHECKING:
    import torch

_PIECE = {"cpu": 1 << 22, "cuda": 1 << 26}
"""Weights of one update; whole blocks. bitsandbytes counts weights in 31 bits, and on a CPU it
unpacks all of a piece at once."""


class Averages(Protocol):
    """The averages of one flat vector of weights, and the step that uses them."""

    def step(self, learning_rate: float) -> None:
        """Change the weights by their gradient."""

    @property
    def size_bytes(self) -> int:
        """What the state takes, in memory and in a checkpoint."""

    def tensors(self) -> dict[str, torch.Tensor]:
        """The state by name; each is flat, and may be a copy."""

    def load(self, tensors: Mapping[str, torch.Tensor], step: int) -> None:
        """Take over the state after `step` steps. Raises `KeyError` for a name that is missing."""


def averages_of(
    kind: OptimizerName, weights: torch.Tensor, gradient: torch.Tensor, weight_decay: float
) -> Averages:
    """The averages of these weights, which all decay or all do not."""
    if kind == "adamw":
        return FloatAverages(weights, gradient, weight_decay)
    return EightBitAverages(weights, gradient, weight_decay, paged=kind == "paged_adamw_8bit")


class FloatAverages:
    """torch's AdamW: 8 bytes for each weight."""

    def __init__(self, weights: torch.Tensor, gradient: torch.Tensor, weight_decay: float) -> None:
        import torch

        weights.grad = gradient
        self._adam = torch.optim.AdamW([weights], lr=0.0, weight_decay=weight_decay, fused=True)
        self._state = self._adam.state[weights] = {
            "step": torch.zeros((), dtype=torch.float32, device=weights.device),
            "exp_avg": torch.zeros_like(weights),
            "exp_avg_sq": torch.zeros_like(weights),
        }

    def step(self, learning_rate: float) -> None:
        self._adam.param_groups[0]["lr"] = learning_rate
        self._adam.step()

    @property
    def size_bytes(self) -> int:
        return _size_bytes(self.tensors().values())

    def tensors(self) -> dict[str, torch.Tensor]:
        return {name: self._state[name] for name in ("exp_avg", "exp_avg_sq")}

    def load(self, tensors: Mapping[str, torch.Tensor], step: int) -> None:
        for name, tensor in self.tensors().items():
            tensor.copy_(tensors[name])
        self._state["step"].fill_(step)


class EightBitAverages:
    """AdamW of bitsandbytes: 2.03 bytes for each weight, on a GPU in pages where asked for."""

    _NAMES = ("state1", "absmax1", "state2", "absmax2")

    def __init__(
        self,
        weights: torch.Tensor,
        gradient: torch.Tensor,
        weight_decay: float,
        *,
        paged: bool,
    ) -> None:
        import torch
        from bitsandbytes.optim.adamw import AdamW8bit, PagedAdamW8bit

        size = _PIECE.get(weights.device.type, _PIECE["cuda"])
        self._pieces = list(torch.split(weights, size))
        for piece, part in zip(self._pieces, torch.split(gradient, size), strict=True):
            piece.grad = part
        make: Any = PagedAdamW8bit if paged else AdamW8bit
        self._adam = make(self._pieces, lr=0.0, weight_decay=weight_decay, min_8bit_size=0)
        for place, piece in enumerate(self._pieces):
            self._adam.init_state(self._adam.param_groups[0], piece, 0, place)

    def step(self, learning_rate: float) -> None:
        self._adam.param_groups[0]["lr"] = learning_rate
        self._adam.step()

    @property
    def size_bytes(self) -> int:
        states = (self._adam.state[piece] for piece in self._pieces)
        return _size_bytes(state[name] for state in states for name in self._NAMES)

    def _wait_for_pages(self) -> None:
        """Let the GPU finish: this machine reads and writes pages beside it."""
        import torch

        device = self._pieces[0].device
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    def tensors(self) -> dict[str, torch.Tensor]:
        import torch

        self._wait_for_pages()
        states = [self._adam.state[piece] for piece in self._pieces]
        # Paged states are tensors of this machine, the others of the device.
        return {name: torch.cat([state[name].cpu() for state in states]) for name in self._NAMES}

    def load(self, tensors: Mapping[str, torch.Tensor], step: int) -> None:
        self._wait_for_pages()
        begin = 0
        for piece in self._pieces:
            state, end = self._adam.state[piece], begin + piece.numel()
            for name in self._NAMES:
                unit = BLOCK if name.startswith("absmax") else 1
                state[name].copy_(tensors[name][begin // unit : -(-end // unit)])
            state["step"] = step
            begin = end


def _size_bytes(tensors: Iterable[torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
