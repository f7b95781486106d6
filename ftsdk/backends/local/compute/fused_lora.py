"""A linear layer with its LoRA adapter as one operation: fewer passes over the activations.

The last layer of a gated MLP also takes the gate into its operation. What the gate gives, as wide as
the MLP, is then computed again in the backward pass instead of being kept.

With separate modules, `x W + s (x A) B` allocates three tensors of the output's size and two of the
input's size, forward and backward, only to add them up. Here the low-rank product is added inside
the matrix product that computes it. The results equal peft's up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

if TYPE_CHECKING:
    from torch import Tensor


class GateFunctions(NamedTuple):
    """act(gate) · up, and its gradients for gate and up from both and the gradient of the result."""

    forward: Callable[[Tensor, Tensor], Tensor]
    backward: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def fuse_adapters(owner: Any) -> int:
    """Let every plain LoRA layer of a peft model compute in one operation; returns their number.

    Layers over a dense or an NF4 base are plain; others (DoRA, several adapters) keep peft's code.
    """
    from peft.tuners.lora.layer import LoraLayer

    count = 0
    for module in owner.modules():
        # One that wraps a parameter, such as the matrices of all experts, adapts no product.
        wraps_parameter = hasattr(module, "parameter_name")
        if isinstance(module, LoraLayer) and not wraps_parameter and _is_plain(module):
            module.__dict__["forward"] = MethodType(_forward, module)
            count += 1
    return count


def _is_plain(module: Any) -> bool:
    base = module.base_layer
    dense = type(base) is torch.nn.Linear
    packed = type(base).__name__ == "Linear4bit" and base.weight.quant_state is not None
    return (
        (dense or packed)
        and list(module.lora_A) == ["default"]
        and not module.lora_variant
        and not module.fan_in_fan_out
        and module.lora_A["default"].bias is None
        and module.lora_B["default"].bias is None
    )


def adapted_gate(module: Any, gate: Tensor, up: Tensor, act: GateFunctions) -> Tensor | None:
    """act(gate) · up through a layer of `fuse_adapters`, [n, out]; None where that has to be kept.

    `gate` and `up` are [n, in]. Other layers, and adapters with dropout, need their input itself.
    """
    own = getattr(vars(module).get("forward"), "__func__", None)
    if own is not _forward or not _is_used_alone(module) or (module.training and _drops(module)):
        return None
    base = module.base_layer
    down, lift = module.lora_A["default"].weight, module.lora_B["default"].weight
    state = getattr(base.weight, "quant_state", None)
    out: Tensor = _GatedAdaptedLinear.apply(  # type: ignore[no-untyped-call]  # torch has no types for it
        gate, up, act, base.weight, state, base.bias, down, lift, float(module.scaling["default"])
    )
    return out


def _drops(module: Any) -> bool:
    return getattr(module.lora_dropout["default"], "p", 0.0) > 0


def _is_used_alone(module: Any) -> bool:
    """True while the fused adapter is the one to compute with: active, not disabled, not merged.

    peft switches these on the module at any time, also by adding another adapter.
    """
    active = module._active_adapter
    return (
        active in ("default", ["default"])
        and not module._disable_adapters
        and not module.merged_adapters
    )


def _forward(self: Any, x: Tensor, *given: Any, **named: Any) -> Tensor:
    if named.get("adapter_names") is not None or not _is_used_alone(self):
        plain: Tensor = type(self).forward(self, x, *given, **named)
        return plain
    base = self.base_layer
    down, up = self.lora_A["default"].weight, self.lora_B["default"].weight
    scale = float(self.scaling["default"])
    dropped = self.lora_dropout["default"](x)
    state = getattr(base.weight, "quant_state", None)
    rows = x.reshape(-1, x.shape[-1])
    seen = rows if dropped is x else dropped.reshape(rows.shape)
    out: Tensor = _AdaptedLinear.apply(  # type: ignore[no-untyped-call]  # torch has no types for it
        rows, seen, base.weight, state, base.bias, down, up, scale
    )
    # Reshaped here, because models may add to the output in place, and torch forbids that for a
    # view that a Function returns.
    return out.view(*x.shape[:-1], out.shape[-1])


def adapted_linear(rows: Tensor, weight: Tensor, down: Tensor, up: Tensor, scale: float) -> Tensor:
    """A linear layer and its adapter in one operation: rows [n, in] times weight [out, in]."""
    out: Tensor = _AdaptedLinear.apply(rows, rows, weight, None, None, down, up, scale)  # type: ignore[no-untyped-call]  # torch has no types for it
    return out


def _dense(weight: Tensor, state: Any, like: Tensor) -> Tensor:
    """The weight as a matrix [out, in]: itself, or unpacked from 4 bits for this one product."""
    if state is None:
        return weight
    from bitsandbytes.functional import dequantize_4bit

    unpacked: Tensor = dequantize_4bit(weight, state)
    return unpacked.to(like.dtype)


def _product(
    rows: Tensor,
    seen: Tensor,
    packed: Tensor,
    state: Any,
    bias: Tensor | None,
    down: Tensor,
    up: Tensor,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """Return x Wᵀ + b + s · (x' Aᵀ) Bᵀ, and x' Aᵀ."""
    small = seen @ down.t()
    weight = _dense(packed, state, rows)
    out = rows @ weight.t() if bias is None else torch.addmm(bias, rows, weight.t())
    return out.addmm_(small, up.t(), alpha=scale), small


class _AdaptedLinear(torch.autograd.Function):
    """y = x Wᵀ + b + s · (x' Aᵀ) Bᵀ with a frozen W; x' is x after dropout, or x itself.

    x and x' are [n, in], y is [n, out].
    """

    @staticmethod
    def forward(
        ctx: Any,
        rows: Tensor,
        seen: Tensor,
        packed: Tensor,
        state: Any,
        bias: Tensor | None,
        down: Tensor,
        up: Tensor,
        scale: float,
    ) -> Tensor:
        out, small = _product(rows, seen, packed, state, bias, down, up, scale)
        ctx.save_for_backward(seen, small, packed, down, up)
        ctx.scale, ctx.same, ctx.state = scale, seen is rows, state
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        seen, small, packed, down, up = ctx.saved_tensors
        d_out = gradients[0]
        d_small = (d_out @ up).mul_(ctx.scale)
        d_up = (d_out.t() @ small).mul_(ctx.scale)
        d_down = d_small.t() @ seen
        d_rows: Tensor | None = None
        d_seen: Tensor | None = None
        if ctx.needs_input_grad[0] or ctx.needs_input_grad[1]:
            d_rows = d_out @ _dense(packed, ctx.state, d_out)
            if ctx.same:
                d_rows.addmm_(d_small, down)
            else:
                d_seen = d_small @ down
        return d_rows, d_seen, None, None, None, d_down, d_up, None


class _GatedAdaptedLinear(torch.autograd.Function):
    """y = h Wᵀ + b + s · (h Aᵀ) Bᵀ of h = act(gate) · up with a frozen W; keeps gate and up, not h."""

    @staticmethod
    def forward(
        ctx: Any,
        gate: Tensor,
        up: Tensor,
        act: GateFunctions,
        packed: Tensor,
        state: Any,
        bias: Tensor | None,
        down: Tensor,
        lift: Tensor,
        scale: float,
    ) -> Tensor:
        rows = act.forward(gate, up)
        out, small = _product(rows, rows, packed, state, bias, down, lift, scale)
        ctx.save_for_backward(gate, up, small, packed, down, lift)
        ctx.scale, ctx.act, ctx.state = scale, act, state
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        gate, up, small, packed, down, lift = ctx.saved_tensors
        d_out = gradients[0]
        d_small = (d_out @ lift).mul_(ctx.scale)
        d_lift = (d_out.t() @ small).mul_(ctx.scale)
        d_down = d_small.t() @ ctx.act.forward(gate, up)
        d_gate: Tensor | None = None
        d_up: Tensor | None = None
        if ctx.needs_input_grad[0] or ctx.needs_input_grad[1]:
            d_rows = (d_out @ _dense(packed, ctx.state, d_out)).addmm_(d_small, down)
            d_gate, d_up = ctx.act.backward(gate, up, d_rows)
        return d_gate, d_up, None, None, None, None, d_down, d_lift, None
