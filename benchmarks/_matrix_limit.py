"""How near a training step comes to the time that its matrix products alone would take.

The products of one real step are recorded where they are computed: shapes, layout in memory, number
format, and how often. Each is then computed alone by `torch.matmul`, into memory that is there
already. The share is the time of all of them over the time of the step.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

Layout = tuple[tuple[int, ...], tuple[int, ...]]
Product = tuple[Layout, Layout, torch.dtype]
ROUNDS = 3
_MOST_REPEATS = 20
_OPERANDS = {"mm": (0, 1), "bmm": (0, 1), "addmm": (1, 2), "addmm_": (1, 2), "baddbmm": (1, 2)}


class Products(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no types for it
    """Counts the matrix products that are computed inside the block."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has no types for it
        self.counts: Counter[Product] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = func._schema.name.partition("::")[2]
        if name in _OPERANDS:
            first, second = (args[place] for place in _OPERANDS[name])
            self._note(first, second)
        elif name.startswith("_scaled_dot_product"):
            backward = "backward" in name
            for one, other in _attention_products(*args[backward : backward + 3], backward):
                self._note(one.flatten(0, 1), other.flatten(0, 1))
        return func(*args, **(kwargs or {}))

    def _note(self, first: torch.Tensor, second: torch.Tensor) -> None:
        layouts = (tuple(first.shape), first.stride()), (tuple(second.shape), second.stride())
        self.counts[(*layouts, first.dtype)] += 1


def _attention_products(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, backward: bool
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The products inside a fused attention: scores and output, or those of the gradients."""
    group = query.shape[1] // key.shape[1]
    key, value = (one.repeat_interleave(group, 1) for one in (key, value))
    weights = query.new_empty(query.shape[:-1] + key.shape[-2:-1])
    scores = (query, key.transpose(-1, -2))
    if not backward:
        return [scores, (weights, value)]
    turned = weights.transpose(-1, -2)
    d_weights = (query, value.transpose(-1, -2))
    return [scores, d_weights, (turned, query), (weights, key), (turned, query)]


def seconds_alone(counts: Mapping[Product, int], device: torch.device) -> tuple[float, float]:
    """Seconds and CPU seconds of all products, each computed alone."""
    wall = cpu = 0.0
    for (first, second, dtype), count in counts.items():
        one, other = (_filled(*layout, dtype, device) for layout in (first, second))
        out = torch.matmul(one, other)  # the first call chooses its code
        repeats = min(count, _MOST_REPEATS)
        took = timed(
            lambda one=one, other=other, out=out, repeats=repeats: _repeat(
                one, other, out, repeats
            ),
            device,
        )
        wall += took[0] * count / repeats
        cpu += took[1] * count / repeats
    return wall, cpu


def _repeat(one: torch.Tensor, other: torch.Tensor, out: torch.Tensor, repeats: int) -> None:
    for _ in range(repeats):
        torch.matmul(one, other, out=out)


def _filled(
    shape: tuple[int, ...], stride: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> torch.Tensor:
    if 0 in stride:  # heads that are repeated in place
        return torch.randn(shape, device=device).to(dtype)
    made = torch.empty_strided(shape, stride, dtype=dtype, device=device)
    return made.copy_(torch.randn(shape, device=device))


def timed(compute: Callable[[], Any], device: torch.device) -> tuple[float, float]:
    """Seconds and CPU seconds of a call."""
    _wait(device)
    began, cpu = time.perf_counter(), time.process_time()
    compute()
    _wait(device)
    return time.perf_counter() - began, time.process_time() - cpu


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def flops(counts: Mapping[Product, int]) -> float:
    """Floating-point operations of all products."""
    total = 0.0
    for ((shape, _), (other, _), _), count in counts.items():
        size = 2.0 * other[-1]
        for one in shape:
            size *= one
        total += size * count
    return total


def share_of(step: Callable[[], Any], device: torch.device) -> dict[str, Any]:
    """The share of the matrix products in a step: of each round, and the median."""
    with Products() as products:
        step()
    found = []
    for _ in range(ROUNDS):
        whole = timed(step, device)
        alone = seconds_alone(products.counts, device)
        found.append((alone[0] / whole[0], alone[1] / max(whole[1], 1e-9), whole[0]))
    by_wall, by_cpu, took = (statistics.median(one) for one in zip(*found, strict=True))
    return {
        "share": by_wall,
        "share_by_cpu": by_cpu,
        "rounds": [round(one[0], 4) for one in found],
        "gflops_per_s": flops(products.counts) / took / 1e9,
        "products": sum(products.counts.values()),
    }
