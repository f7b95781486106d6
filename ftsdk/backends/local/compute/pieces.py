"""The small steps between the matrix products of a layer, each as one function over its activations.

RMSNorm, the rotary turn of queries and keys, and the gate of an MLP pass over the same numbers many
times when each operation of them is run alone. As one function each, forward and backward, they can
be compiled (`Pieces.compiled`), and they keep only their inputs for the backward pass. No function
here sums over tokens, so its results do not depend on how the work is divided between threads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

WARM_ROWS = 2048
"""Rows that each function is compiled with: its code must not depend on the first batch of a run."""


# --- the functions: rows are the first dimension --------------------------------------------------


def norm(rows: Tensor, weight: Tensor, eps: float) -> Tensor:
    """RMSNorm of [n, d] with a weight [d] in the format of the rows, or in float32; computed in float32."""
    wide = rows.float()
    scaled = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)
    return (scaled.to(weight.dtype) * weight).to(rows.dtype)


def norm_backward(rows: Tensor, weight: Tensor, gradient: Tensor, eps: float) -> Tensor:
    """The gradient of `norm` for its rows, [n, d]."""
    wide = rows.float()
    factor = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)
    scaled, wanted = wide * factor, (gradient * weight).float()
    return (factor * (wanted - scaled * (wanted * scaled).mean(-1, keepdim=True))).to(rows.dtype)


def silu_gate(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) · up, [n, d]."""
    return torch.nn.functional.silu(gate) * up


def silu_gate_backward(gate: Tensor, up: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of `silu_gate` for gate and up."""
    d_gate = torch.ops.aten.silu_backward(gradient * up, gate)
    return d_gate, gradient * torch.nn.functional.silu(gate)


def gelu_gate(gate: Tensor, up: Tensor) -> Tensor:
    """gelu(gate) · up with the tanh form of GELU, [n, d]."""
    return torch.nn.functional.gelu(gate, approximate="tanh") * up


def gelu_gate_backward(gate: Tensor, up: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of `gelu_gate` for gate and up."""
    d_gate = torch.ops.aten.gelu_backward(gradient * up, gate, approximate="tanh")
    return d_gate, gradient * torch.nn.functional.gelu(gate, approximate="tanh")


def _half_turned(heads: Tensor) -> Tensor:
    first, second = heads.chunk(2, -1)
    return torch.cat((-second, first), -1)


def turn(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """The rotary turn of [n, heads, d] by [n, 1, d]."""
    return heads * cos + _half_turned(heads) * sin


def turn_backward(gradient: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """The gradient of `turn` for the heads."""
    return gradient * cos - _half_turned(gradient * sin)


def cross_entropy(logits: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """The loss of each row in nats, [n] in float32, and its gradient for the logits, [n, vocabulary].

    `wanted` is [n, 1].
    """
    scores = logits.float()
    top = scores.amax(-1, keepdim=True)
    log_sum = top + (scores - top).exp().sum(-1, keepdim=True).log()
    places = torch.arange(logits.shape[1], device=logits.device)
    hit = (places[None] == wanted).to(scores.dtype)
    gradient = (scores - log_sum).exp() - hit
    return (log_sum - scores.gather(1, wanted))[:, 0], gradient.to(logits.dtype)


# --- as they are, or compiled ---------------------------------------------------------------------


@dataclass(frozen=True)
class Pieces:
    """The functions above, by name."""

    norm: Callable[..., Tensor] = norm
    norm_backward: Callable[..., Tensor] = norm_backward
    silu_gate: Callable[..., Tensor] = silu_gate
    silu_gate_backward: Callable[..., tuple[Tensor, Tensor]] = silu_gate_backward
    gelu_gate: Callable[..., Tensor] = gelu_gate
    gelu_gate_backward: Callable[..., tuple[Tensor, Tensor]] = gelu_gate_backward
    turn: Callable[..., Tensor] = turn
    turn_backward: Callable[..., Tensor] = turn_backward
    cross_entropy: Callable[..., tuple[Tensor, Tensor]] = cross_entropy

    @classmethod
    def compiled(cls) -> Pieces:
        """The functions as torch compiles them, each at its first call."""
        plain = cls()
        return cls(**{one.name: _compiled(getattr(plain, one.name)) for one in fields(cls)})

    def apply_norm(self, rows: Tensor, weight: Tensor, eps: float, shift: float) -> Tensor:
        """RMSNorm of [n, d] with its gradient; `shift` is added to the weight."""
        out: Tensor = Norm.apply(rows, weight, eps, shift, self)  # type: ignore[no-untyped-call]  # torch has no types for it
        return out

    def apply_gate(self, name: str, gate: Tensor, up: Tensor) -> Tensor:
        """act(gate) · up of [n, d] with its gradient, by the function of this name."""
        out: Tensor = Gate.apply(gate, up, name, self)  # type: ignore[no-untyped-call]  # torch has no types for it
        return out

    def apply_turns(self, q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        """The rotary turn of queries and keys, [1, heads, n, d], by [1, n, d]."""
        turned = [
            Turn.apply(  # type: ignore[no-untyped-call]  # torch has no types for it
                heads.transpose(1, 2)[0].contiguous(), cos[0][:, None], sin[0][:, None], self
            ).transpose(0, 1)[None]
            for heads in (q, k)
        ]
        return turned[0], turned[1]


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    compiled = torch.compile(function, dynamic=True)

    def call(first: Tensor, *others: Any) -> Any:
        # A size of one would be compiled as a special case.
        return (compiled if first.shape[0] > 1 else function)(first, *others)

    return call


# --- as operations of autograd --------------------------------------------------------------------


class Norm(torch.autograd.Function):
    """RMSNorm of [n, d]; `shift` is added to the weight (1 where a model keeps it so)."""

    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, weight: Tensor, eps: float, shift: float, pieces: Pieces
    ) -> Tensor:
        ctx.save_for_backward(rows, weight)
        ctx.eps, ctx.shift, ctx.pieces = eps, shift, pieces
        return pieces.norm(rows, _shifted(weight, shift), eps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        d_rows = ctx.pieces.norm_backward(rows, _shifted(weight, ctx.shift), gradient, ctx.eps)
        d_weight = None
        if ctx.needs_input_grad[1]:
            wide = rows.float()
            scaled = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + ctx.eps)
            d_weight = (scaled * gradient).sum(0).to(weight.dtype)
        return d_rows, d_weight, None, None, None


def _shifted(weight: Tensor, shift: float) -> Tensor:
    return weight.float() + shift if shift else weight


class Gate(torch.autograd.Function):
    """act(gate) · up of [n, d]; `name` is `silu_gate` or `gelu_gate`."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor, name: str, pieces: Pieces) -> Tensor:
        ctx.save_for_backward(gate, up)
        ctx.name, ctx.pieces = name, pieces
        out: Tensor = getattr(pieces, name)(gate, up)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        gate, up = ctx.saved_tensors
        backward = getattr(ctx.pieces, f"{ctx.name}_backward")
        d_gate, d_up = backward(gate, up, gradients[0].contiguous())
        return d_gate, d_up, None, None


class Turn(torch.autograd.Function):
    """The rotary turn of [n, heads, d] by cos and sin, [n, 1, d], which have no gradient."""

    @staticmethod
    def forward(ctx: Any, heads: Tensor, cos: Tensor, sin: Tensor, pieces: Pieces) -> Tensor:
        ctx.save_for_backward(cos, sin)
        ctx.pieces = pieces
        return pieces.turn(heads, cos, sin)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        cos, sin = ctx.saved_tensors
        return ctx.pieces.turn_backward(gradients[0].contiguous(), cos, sin), None, None, None
