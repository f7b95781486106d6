"""Which kind of device a tensor without memory simulates, in a simulation of a training step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_simulated: ContextVar[str] = ContextVar("simulated")


@contextlib.contextmanager
def simulating(kind: str) -> Iterator[None]:
    """Let tensors on the `meta` device simulate ones on `cpu` or `cuda` inside the block."""
    token = _simulated.set(kind)
    try:
        yield
    finally:
        _simulated.reset(token)


def device_kind(tensor: Tensor) -> str:
    """The type of a tensor's device; of one without memory, that which it simulates."""
    kind: str = tensor.device.type
    return _simulated.get(kind) if kind == "meta" else kind
