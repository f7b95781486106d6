"""The pieces as Liger's Triton kernels compute them, on a CUDA device where liger-kernel is installed.

Each is compared with the plain one before it is used, gradients too; one that differs stays plain.
The loss is not among them: ours keeps a chunk of the logits at a time and no gradient of the head.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ftsdk.backends.local.compute.pieces import Pieces

_ROWS = 5
_WIDTH = 96
_HEADS = (4, 16)
_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 2e-2, torch.float16: 4e-3}
"""Largest difference, as a share of the norm."""
NormKernel = Callable[[Tensor, Tensor, float, float], Tensor]
TurnKernel = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class LigerPieces(Pieces):
    """Pieces some of which are Liger's: `norm_kernel` and `turn_kernel` are whole operations."""

    norm_kernel: NormKernel | None = None
    turn_kernel: TurnKernel | None = None

    def apply_norm(self, rows: Tensor, weight: Tensor, eps: float, shift: float) -> Tensor:
        """RMSNorm of [n, d]."""
        if self.norm_kernel is None:
            return super().apply_norm(rows, weight, eps, shift)
        return self.norm_kernel(rows, weight, eps, shift)

    def apply_turns(self, q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        """The rotary turn of queries and keys, [1, heads, n, d]."""
        if self.turn_kernel is None:
            return super().apply_turns(q, k, cos, sin)
        return self.turn_kernel(q, k, cos, sin)


@dataclass(frozen=True)
class Chosen:
    """The pieces to compute with; `names` are those of Liger's, `differs` says why others stay plain."""

    pieces: LigerPieces
    names: tuple[str, ...]
    differs: Mapping[str, str]


def _norm_kernel() -> dict[str, Any]:
    from liger_kernel.ops.rms_norm import LigerRMSNormFunction

    def norm(rows: Tensor, weight: Tensor, eps: float, shift: float) -> Tensor:
        casting = "gemma" if shift else "llama"
        out: Tensor = LigerRMSNormFunction.apply(rows, weight, eps, shift, casting, False)
        return out

    return {"norm_kernel": norm}


def _silu_gate() -> dict[str, Any]:
    from liger_kernel.ops.swiglu import swiglu_backward, swiglu_forward

    def forward(gate: Tensor, up: Tensor) -> Tensor:
        out: Tensor = swiglu_forward(gate, up)[2]
        return out

    def backward(gate: Tensor, up: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        # The kernel writes the gradients over its inputs.
        d_gate, d_up = swiglu_backward(gate.clone(), up.clone(), gradient)[:2]
        return d_gate, d_up

    return {"silu_gate": forward, "silu_gate_backward": backward}


def _gelu_gate() -> dict[str, Any]:
    from liger_kernel.ops.geglu import geglu_backward, geglu_forward

    def forward(gate: Tensor, up: Tensor) -> Tensor:
        out: Tensor = geglu_forward(gate, up)[2]
        return out

    def backward(gate: Tensor, up: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        d_gate, d_up = geglu_backward(gate.clone(), up.clone(), gradient)[:2]
        return d_gate, d_up

    return {"gelu_gate": forward, "gelu_gate_backward": backward}


def _turn_kernel() -> dict[str, Any]:
    from liger_kernel.ops.rope import LigerRopeFunction

    def turn(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        # The kernel turns its inputs in place.
        q, k = LigerRopeFunction.apply(q.clone(), k.clone(), cos, sin)
        return q, k

    return {"turn_kernel": turn}


LOADERS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "RMSNorm": _norm_kernel,
    "SwiGLU": _silu_gate,
    "GEGLU": _gelu_gate,
    "rope": _turn_kernel,
}


def choose(device: torch.device, dtype: torch.dtype) -> Chosen:
    """Return the pieces of which each is right on this device, in this number format."""
    pieces, names, differs = LigerPieces(), list[str](), dict[str, str]()
    for name, load in LOADERS.items():
        try:
            tried = replace(pieces, **load())
            reason = difference(name, tried, device, dtype)
        except Exception as error:  # noqa: BLE001  # compilers raise classes of their own; it is reported
            line = str(error).strip().partition("\n")[0][:160]
            differs[name] = line or type(error).__name__
            continue
        if reason:
            differs[name] = reason
        else:
            pieces = tried
            names.append(name)
    return Chosen(pieces, tuple(names), differs)


def difference(name: str, pieces: Pieces, device: torch.device, dtype: torch.dtype) -> str:
    """How a piece differs from the plain one on a few rows; empty where it does not."""
    for computes, made in _CASES[name](device, dtype):
        found = _with_gradients(lambda *given, c=computes: c(pieces, *given), made)
        expected = _with_gradients(lambda *given, c=computes: c(Pieces(), *given), made)
        for one, other in zip(found, expected, strict=True):
            error = float((one.float() - other.float()).norm() / other.float().norm())
            if not error <= _TOLERANCE[dtype]:
                return f"gives other results (they differ by {error:.2g})"
    return ""


Case = tuple[Callable[..., Any], list[Tensor]]


def _norm_cases(device: torch.device, dtype: torch.dtype) -> list[Case]:
    rows, weight = _random(device, dtype, (_ROWS, _WIDTH), (_WIDTH,))
    return [
        (lambda p, x, w: p.apply_norm(x, w, 1e-6, 0.0), [rows, weight]),
        (lambda p, x, w: p.apply_norm(x, w, 1e-5, 1.0), [rows, weight]),
    ]


def _gate_cases(name: str) -> Callable[[torch.device, torch.dtype], list[Case]]:
    def cases(device: torch.device, dtype: torch.dtype) -> list[Case]:
        gate, up = _random(device, dtype, (_ROWS, _WIDTH), (_ROWS, _WIDTH))
        return [(lambda p, a, b: p.apply_gate(name, a, b), [gate, up])]

    return cases


def _turn_cases(device: torch.device, dtype: torch.dtype) -> list[Case]:
    count, size = _HEADS
    # As a model has them: tokens first in memory, angles the same in both halves of a head.
    q, k, half = _random(
        device, dtype, (1, _ROWS, count, size), (1, _ROWS, count // 2, size), (1, _ROWS, size // 2)
    )
    angles = torch.cat((half, half), -1)
    cos, sin = angles.cos(), angles.sin()

    def turn(pieces: Pieces, q: Tensor, k: Tensor) -> Tensor:
        turned = pieces.apply_turns(q.transpose(1, 2), k.transpose(1, 2), cos, sin)
        return torch.cat([one.flatten() for one in turned])

    return [(turn, [q, k])]


_CASES: Mapping[str, Callable[[torch.device, torch.dtype], list[Case]]] = {
    "RMSNorm": _norm_cases,
    "SwiGLU": _gate_cases("silu_gate"),
    "GEGLU": _gate_cases("gelu_gate"),
    "rope": _turn_cases,
}


def _random(device: torch.device, dtype: torch.dtype, *shapes: tuple[int, ...]) -> list[Tensor]:
    source = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=source).to(device, dtype) for shape in shapes]


def _with_gradients(compute: Callable[..., Tensor], inputs: list[Tensor]) -> list[Tensor]:
    leaves = [one.clone().requires_grad_() for one in inputs]
    with torch.enable_grad():
        out = compute(*leaves)
        source = torch.Generator().manual_seed(1)
        weights = torch.randn(out.shape, generator=source).to(out.device, out.dtype)
        return [out.detach(), *torch.autograd.grad((out * weights).sum(), leaves)]
