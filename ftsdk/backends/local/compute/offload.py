"""Gradient checkpointing whose saved inputs wait in this machine's memory, not in the GPU's.

With gradient checkpointing a layer keeps its input alone. Here that input is copied to pinned memory
of this machine while the layer computes, and comes back while the layer after it computes its
gradient. Both run on a stream of their own, and there are never more than two inputs on the device
beside those that compute.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

if TYPE_CHECKING:
    from torch import Tensor

AT_ONCE = 2
"""Inputs on the device at once that are leaving it; and as many that are coming back."""


class Copies(Protocol):
    """Copies between a device and this machine's memory that run beside the computing."""

    def store(self, tensor: Tensor) -> Tensor:
        """Begin to copy a tensor of the device; returns the copy, which only `fetch` may read."""

    def fetch(self, stored: Tensor) -> tuple[Tensor, Any]:
        """Begin to copy it back; returns a tensor of the device, and what `wait` waits for."""

    def wait(self, arrival: Any) -> None:
        """Let what is computed from now on wait until the copy has arrived."""


class StreamCopies:
    """Copies on a CUDA stream beside that which computes."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch has no types for it
        self._leaving: deque[tuple[Tensor, torch.cuda.Event]] = deque()

    def store(self, tensor: Tensor) -> Tensor:
        computing = torch.cuda.current_stream(self._device)
        self._let_go(AT_ONCE - 1)
        stored = torch.empty_like(tensor, device="cpu", pin_memory=True)
        self._stream.wait_stream(computing)
        with torch.cuda.stream(self._stream):
            stored.copy_(tensor, non_blocking=True)
        # The tensor is kept until computing waits for the copy: then its memory can be used again.
        self._leaving.append((tensor, self._stream.record_event()))
        return stored

    def fetch(self, stored: Tensor) -> tuple[Tensor, torch.cuda.Event]:
        computing = torch.cuda.current_stream(self._device)
        self._let_go(0)
        tensor = torch.empty_like(stored, device=self._device)
        self._stream.wait_stream(computing)  # what its memory held before may be in use
        with torch.cuda.stream(self._stream):
            tensor.copy_(stored, non_blocking=True)
        return tensor, self._stream.record_event()

    def wait(self, arrival: torch.cuda.Event) -> None:
        torch.cuda.current_stream(self._device).wait_event(arrival)

    def _let_go(self, most: int) -> None:
        """Let at most so many tensors be on their way to this machine's memory."""
        while len(self._leaving) > most:
            tensor, left = self._leaving.popleft()
            torch.cuda.current_stream(self._device).wait_event(left)
            del tensor


class Away:
    """The input of one layer, which is not on the device."""

    def take(self) -> Tensor:
        """The input, on the device again."""
        raise NotImplementedError


class Stored(Away):
    """One in this machine's memory; `before` is the input of the layer before it."""

    def __init__(self, copies: Copies, tensor: Tensor, before: Stored | None) -> None:
        self._copies, self._stored = copies, copies.store(tensor)
        self._before = None if before is None else weakref.ref(before)
        self._arriving: tuple[Tensor, Any] | None = None
        self._used = False

    def begin(self) -> None:
        """Begin to copy it back, unless that has begun or its layer is done."""
        if self._arriving is None and not self._used:
            self._arriving = self._copies.fetch(self._stored)

    def take(self) -> Tensor:
        """The input on the device; that of the layer before is on its way from now on."""
        self._used = False
        self.begin()
        if self._arriving is None:
            raise RuntimeError("a stored input was not fetched")
        (tensor, arrival), self._arriving, self._used = self._arriving, None, True
        self._copies.wait(arrival)
        before = None if self._before is None else self._before()
        if before is not None:
            before.begin()
        return tensor


class Offload:
    """Computes layers with gradient checkpointing, and keeps their inputs away from the device.

    `store` gives an input away, beside the one before it.
    """

    def __init__(self, store: Callable[[Tensor, Away | None], Away]) -> None:
        self._put_away = store
        self._last: weakref.ref[Away] | None = None

    @classmethod
    def to_machine(cls, copies: Copies) -> Offload:
        """Inputs are kept in this machine's memory."""

        def store(tensor: Tensor, before: Away | None) -> Stored:
            return Stored(copies, tensor, before if isinstance(before, Stored) else None)

        return cls(store)

    def checkpoint(self, layer: Callable[..., Any], *inputs: Any) -> Any:
        """The output of a layer, computed again in the backward pass from its stored inputs.

        Inputs without a gradient, such as positions, are shared by the layers and stay where they
        are.
        """
        learning = (x for x in inputs if isinstance(x, torch.Tensor) and x.requires_grad)
        wanted = {_place(x) for x in learning}

        def pack(tensor: Tensor) -> Any:
            return self._store(tensor) if _place(tensor) in wanted else tensor

        def unpack(kept: Any) -> Any:
            return kept.take() if isinstance(kept, Away) else kept

        with saved_tensors_hooks(pack, unpack):
            return checkpoint(layer, *inputs, use_reentrant=False)

    def _store(self, tensor: Tensor) -> Away:
        stored = self._put_away(tensor, None if self._last is None else self._last())
        self._last = weakref.ref(stored)
        return stored


def _place(tensor: Tensor) -> tuple[int, int]:
    """Where the numbers of a tensor are: the same for one that is detached from it."""
    return tensor.untyped_storage()._cdata, int(tensor.storage_offset())


def offload_inputs(network: Any, offload: Offload) -> None:
    """Let a transformers model keep its layers' inputs outside the device while it trains."""
    network.gradient_checkpointing_enable({"use_reentrant": False})
    for module in network.modules():
        if hasattr(module, "_gradient_checkpointing_func"):
            module._gradient_checkpointing_func = offload.checkpoint
