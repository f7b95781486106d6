"""Let the layers of a model compute by `pieces` where they give the same results.

What a layer computes is found by running it, not by its name alone: a layer whose results differ
keeps its own code.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import MethodType
from typing import Any

import torch
from torch import Tensor

from ftsdk.backends.local.compute.fused_lora import GateFunctions, adapted_gate
from ftsdk.backends.local.compute.pieces import WARM_ROWS, Pieces

_ROTARY = "apply_rotary_pos_emb"
_GATES = {"silu_gate": "silu", "gelu_gate": "gelu"}
_PROJECTIONS = ("gate_proj", "up_proj", "down_proj")
_USUAL = "self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x))"
_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 2e-2, torch.float16: 4e-3}
"""Largest difference of one result, as a share of the largest."""


@dataclass
class Patched:
    """What was replaced: how many modules of each kind, and how to undo it.

    `shapes` has, for each function of `Pieces` that is used, the sizes that it is called with.
    """

    counts: dict[str, int] = field(default_factory=dict)
    shapes: dict[str, set[tuple[int, ...]]] = field(default_factory=dict)
    _undo: list[Callable[[], None]] = field(default_factory=list)

    def undo(self) -> None:
        """Give every layer its own code back."""
        for one in reversed(self._undo):
            one()
        self._undo.clear()

    def _note(self, kind: str, function: str, shape: tuple[int, ...]) -> None:
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self.shapes.setdefault(function, set()).add(shape)

    def _replace(self, module: Any, forward: Callable[..., Any]) -> None:
        before = vars(module).get("forward")
        vars(module)["forward"] = MethodType(forward, module)

        def undo() -> None:
            if before is None:
                del vars(module)["forward"]
            else:
                vars(module)["forward"] = before

        self._undo.append(undo)


def patch_pieces(network: Any, pieces: Pieces) -> Patched:
    """Replace what `pieces` computes as the model does; the model stays as it was where it differs."""
    patched = Patched()
    with _quiet(network):
        _patch_layers(network, pieces, patched)
        _patch_rotary(network, pieces, patched)
    return patched


def keep_less(network: Any) -> Patched:
    """Let norms and gated MLPs keep only their inputs for the backward pass.

    On the meta device an MLP with the usual text of code is taken for one that computes the same.
    """
    patched = Patched()
    with _quiet(network):
        _patch_layers(network, Pieces(), patched)
    return patched


def _patch_layers(network: Any, pieces: Pieces, patched: Patched) -> None:
    for module in network.modules():
        if type(module).__name__.endswith("RMSNorm"):
            _patch_norm(module, pieces, patched)
        elif all(hasattr(module, name) for name in _PROJECTIONS):
            _patch_gate(module, pieces, patched)


@contextlib.contextmanager
def _quiet(network: Any) -> Iterator[None]:
    """Without gradients and dropout, and with the random numbers after it as they were."""
    training = network.training
    network.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng():
            yield
    finally:
        network.train(training)


def _same(expected: Tensor, found: Tensor) -> bool:
    if expected.shape != found.shape or expected.dtype != found.dtype:
        return False
    wide = expected.float()
    largest = float(wide.abs().max())
    return float((wide - found.float()).abs().max()) <= _TOLERANCE[expected.dtype] * largest


# --- norms ----------------------------------------------------------------------------------------


def _patch_norm(module: Any, pieces: Pieces, patched: Patched) -> None:
    weight = getattr(module, "weight", None)
    eps = getattr(module, "variance_epsilon", getattr(module, "eps", None))
    if not isinstance(weight, Tensor) or weight.ndim != 1 or not isinstance(eps, float):
        return
    if weight.dtype not in _TOLERANCE or getattr(module, "bias", None) is not None:
        return
    size = weight.shape[0]
    for shift in (0.0, 1.0):
        forward = _norm_forward(eps, shift, pieces)
        plain = _norm_forward(eps, shift, Pieces())
        if all(_same_norm(module, plain, size, scale) for scale in (1.0, eps**0.5)):
            patched._replace(module, forward)
            patched._note("norms", "norm", (size,))
            return


def _norm_forward(eps: float, shift: float, pieces: Pieces) -> Callable[[Any, Tensor], Tensor]:
    def forward(self: Any, states: Tensor) -> Tensor:
        rows = states.reshape(-1, states.shape[-1]).contiguous()
        return pieces.apply_norm(rows, self.weight, eps, shift).view(states.shape)

    return forward


def _same_norm(module: Any, plain: Callable[..., Tensor], size: int, scale: float) -> bool:
    """Whether both give the same; at the scale of sqrt(eps) its place in the formula shows."""
    if module.weight.device.type == "meta":
        module = copy.deepcopy(module).to_empty(device="cpu")
        torch.nn.init.normal_(module.weight)
    rows = scale * torch.randn(3, size, device=module.weight.device)
    rows = rows.to(module.weight.dtype)[None]
    try:
        return _same(module(rows), plain(module, rows))
    except (TypeError, ValueError, RuntimeError):  # it takes other arguments
        return False


# --- gates ----------------------------------------------------------------------------------------


def _patch_gate(module: Any, pieces: Pieces, patched: Patched) -> None:
    width = getattr(module.gate_proj, "in_features", None)
    name = _gate_of(getattr(module, "act_fn", None))
    if name is None or not isinstance(width, int):
        return
    if _same_gate(module, name, width):
        patched._replace(module, _gate_forward(name, pieces))
        patched._note("gates", name, (module.gate_proj.out_features,))


def _same_gate(module: Any, name: str, width: int) -> bool:
    weights = list(module.down_proj.parameters())
    if weights[0].device.type == "meta":
        return _USUAL in inspect.getsource(type(module).forward)
    dtype = next((one.dtype for one in weights if one.dtype in _TOLERANCE), torch.float32)
    states = torch.randn(1, 3, width, device=weights[0].device).to(dtype)
    try:
        return _same(module(states), _gate_forward(name, Pieces())(module, states))
    except (TypeError, ValueError, RuntimeError):  # it takes other arguments
        return False


def _gate_of(activation: Any) -> str | None:
    """The function of `Pieces` for an activation, found by running it."""
    if activation is None:
        return None
    values = torch.linspace(-6, 6, 101)
    ones = torch.ones_like(values)
    for name in _GATES:
        try:
            if torch.allclose(activation(values), getattr(Pieces(), name)(values, ones), atol=1e-6):
                return name
        except (TypeError, ValueError, RuntimeError):
            return None
    return None


def _gate_forward(name: str, pieces: Pieces) -> Callable[[Any, Tensor], Tensor]:
    act = GateFunctions(getattr(pieces, name), getattr(pieces, f"{name}_backward"))

    def forward(self: Any, states: Tensor) -> Tensor:
        gate, up = self.gate_proj(states), self.up_proj(states)
        size = gate.shape[-1]
        rows = gate.reshape(-1, size).contiguous(), up.reshape(-1, size).contiguous()
        adapted = adapted_gate(self.down_proj, *rows, act)
        if adapted is not None:
            return adapted.view(*gate.shape[:-1], adapted.shape[-1])
        out = pieces.apply_gate(name, *rows)
        down: Tensor = self.down_proj(out.view(gate.shape))
        return down

    return forward


# --- rotary positions -----------------------------------------------------------------------------


def _patch_rotary(network: Any, pieces: Pieces, patched: Patched) -> None:
    """Replace the function that the attention layers of the model's own module call."""
    home = sys.modules[type(network).__module__]
    original = vars(home).get(_ROTARY)
    config = network.config.get_text_config()
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    if original is None or not _same_rotary(original, _rotary(original, Pieces()), size):
        return
    setattr(home, _ROTARY, _rotary(original, pieces))
    patched._undo.append(lambda: setattr(home, _ROTARY, original))
    groups = {config.num_attention_heads, getattr(config, "num_key_value_heads", None)}
    for heads in groups - {None}:
        patched._note("rotary", "turn", (heads, size))


def _rotary(original: Callable[..., Any], pieces: Pieces) -> Callable[..., Any]:
    def rotated(
        q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, *others: Any, **named: Any
    ) -> tuple[Tensor, Tensor]:
        # The angles of one row turn a batch of padded rows, too; `turn` takes one row.
        places = (1, q.shape[2], q.shape[-1])
        plain = not others and not named and q.ndim == k.ndim == 4 and len(q) == len(k) == 1
        if not plain or cos.shape != places or not q.dtype == k.dtype == cos.dtype == sin.dtype:
            both: tuple[Tensor, Tensor] = original(q, k, cos, sin, *others, **named)
            return both
        return pieces.apply_turns(q, k, cos, sin)

    return rotated


def _same_rotary(original: Callable[..., Any], ours: Callable[..., Any], size: int) -> bool:
    q, k = torch.randn(1, 2, 5, size), torch.randn(1, 1, 5, size)
    cos, sin = torch.randn(1, 5, size), torch.randn(1, 5, size)
    try:
        pairs = zip(original(q, k, cos, sin), ours(q, k, cos, sin), strict=True)
        return all(_same(expected, found) for expected, found in pairs)
    except (TypeError, ValueError, RuntimeError):  # it takes other arguments
        return False


# --- compiling ------------------------------------------------------------------------------------


def warm_up(
    pieces: Pieces,
    patched: Patched,
    vocabulary: int | None,
    dtype: torch.dtype,
    device: torch.device | None = None,
) -> None:
    """Call each function that is used once, so that it is compiled before the first step.

    `vocabulary` is the number of logits where `cross_entropy` is used. Raises `RuntimeError` or
    `OSError` where a function cannot be compiled.
    """

    def ones(*shape: int, dtype: torch.dtype = dtype) -> Tensor:
        return torch.ones(shape, dtype=dtype, device=device)

    with torch.no_grad():
        for shape in sorted(patched.shapes.get("norm", ())):
            rows, weight = ones(WARM_ROWS, *shape), ones(*shape)
            pieces.norm(rows, weight, 1e-6)
            pieces.norm_backward(rows, weight, rows, 1e-6)
        for name in _GATES:
            for shape in sorted(patched.shapes.get(name, ())):
                rows = ones(WARM_ROWS, *shape)
                getattr(pieces, name)(rows, rows)
                getattr(pieces, f"{name}_backward")(rows, rows, rows)
        for shape in sorted(patched.shapes.get("turn", ())):
            heads, angles = ones(WARM_ROWS, *shape), ones(WARM_ROWS, 1, shape[-1])
            pieces.turn(heads, angles, angles)
            pieces.turn_backward(heads, angles, angles)
        if vocabulary is not None:
            pieces.cross_entropy(ones(64, vocabulary), ones(64, 1, dtype=torch.long))
