"""How fast this machine computes matrix products: a short measurement."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ftsdk.backends.local.compute.hardware import Hardware
from ftsdk.backends.local.runs.environment import available_threads

if TYPE_CHECKING:
    import torch

_SIZE = {"cpu": 1024, "cuda": 8192}
_CHUNKS, _CHUNK_S = 5, 0.04


def matrix_rate(hardware: Hardware) -> float:
    """Floating-point operations a second in products of matrices, with all threads of a trainer.

    The best of a few short measurements: other programs may take the processor meanwhile.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(available_threads())
    size = _SIZE.get(hardware.device.type, _SIZE["cpu"])
    try:
        one = torch.ones(size, size, dtype=hardware.dtype, device=hardware.device)
        _products_a_second(one)  # the first one starts threads and libraries
        return 2.0 * size**3 * max(_products_a_second(one) for _ in range(_CHUNKS))
    finally:
        torch.set_num_threads(before)


def _products_a_second(one: torch.Tensor) -> float:
    import torch

    out, count, took = torch.empty_like(one), 0, 0.0
    begun = time.perf_counter()
    while took < _CHUNK_S:
        torch.mm(one, one, out=out)
        if one.is_cuda:
            torch.cuda.synchronize(one.device)
        count, took = count + 1, time.perf_counter() - begun
    return count / took
