"""The memory of a step whose layers' inputs are kept away from the device, in a simulation."""

from __future__ import annotations

from typing import Any

import torch

from ftsdk.backends.local.compute.offload import AT_ONCE, Away, Offload, offload_inputs


class Inputs:
    """Counts the inputs that a network gives away while it is simulated.

    Those that are on their way are left out of the simulation, since their number does not grow with
    the layers: `on_the_way` is what they take on the device at most.
    """

    def __init__(self, network: Any) -> None:
        self.away_bytes = self._largest = 0
        offload_inputs(network, Offload(self._store))

    @property
    def on_the_way(self) -> int:
        """Bytes of the inputs that are being copied, in either direction."""
        return AT_ONCE * self._largest

    def _store(self, tensor: torch.Tensor, _: Away | None) -> Away:
        size = tensor.numel() * tensor.element_size()
        self.away_bytes += size
        self._largest = max(self._largest, size)
        return _Forgotten(tensor)


class _Forgotten(Away):
    """An input of which only the shape is known."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self._shape, self._dtype = tensor.shape, tensor.dtype

    def take(self) -> torch.Tensor:
        return torch.empty(self._shape, dtype=self._dtype, device="meta")
