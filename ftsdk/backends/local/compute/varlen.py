"""Attention over all rows of a micro-batch in one kernel, on a GPU.

torch has one (`varlen_attn`), and the package flash-attn another. A kernel is chosen once per run, and
only where it gives what rows attended one by one give, gradients too. Whatever it does not compute
goes the plain way: `refusal` says what.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch import Tensor

_DTYPES = (torch.float16, torch.bfloat16)
_WIDEST_HEAD = 256
_NOT_MINE = (ImportError, AttributeError, RuntimeError, TypeError, ValueError, NotImplementedError)
"""What packages and kernels raise on devices, versions and numbers that they are not made for."""
_CHECKED_ROWS = (70, 9, 1, 33)
_CHECKED_WINDOW = 16


@dataclass(frozen=True)
class Call:
    """What a layer asks for: `scale`, a `cap` of the scores, `dropout` and `sinks`.

    `window` is how many tokens before itself a token sees; None for all.
    """

    scale: float
    window: int | None = None
    cap: float | None = None
    dropout: float = 0.0
    sinks: Any = None


Attend = Callable[["Tensor", "Tensor", "Tensor", "Tensor", int, Call], "Tensor"]


@dataclass(frozen=True)
class Kernel:
    """`attend(query, key, value, starts, longest, call)` computes [tokens, heads, d] of the same.

    `starts` are the cumulative lengths of the rows from 0, int32. `windows` and `caps` say whether it
    computes those; `dtypes` are its number formats.
    """

    name: str
    attend: Attend
    windows: bool = True
    caps: bool = False
    dtypes: tuple[torch.dtype, ...] = _DTYPES

    def refusal(self, query: Tensor, key: Tensor, value: Tensor, call: Call) -> str:
        """Why it does not compute this, or an empty text; the tensors are [1, heads, tokens, d]."""
        size = query.shape[-1]
        reasons = {
            "dropout": call.dropout > 0,
            "sinks": call.sinks is not None,
            "capped scores": call.cap is not None and not self.caps,
            "a sliding window": call.window is not None and not self.windows,
            f"numbers in {str(query.dtype).removeprefix('torch.')}": query.dtype not in self.dtypes,
            "heads of two sizes": not size == key.shape[-1] == value.shape[-1],
            f"heads of {size} numbers": size > _WIDEST_HEAD or size % 8 != 0,
            "heads that no group shares evenly": query.shape[1] % key.shape[1] != 0,
        }
        return next((what for what, applies in reasons.items() if applies), "")


_chosen: Kernel | None = None


def chosen() -> Kernel | None:
    """The kernel of this run; None where rows attend one by one."""
    return _chosen


def use(kernel: Kernel | None) -> None:
    """Let attention use this kernel from now on."""
    global _chosen  # noqa: PLW0603  # one for each process, chosen before the first step
    _chosen = kernel


def starts_of(lengths: tuple[int, ...], device: torch.device) -> Tensor:
    """Where each row starts, and where the last one ends: int32, [rows + 1]."""
    places = [0, *accumulate(lengths)]
    return torch.tensor(places, dtype=torch.int32).to(device, non_blocking=True)


def attend(
    kernel: Kernel,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    starts: Tensor,
    longest: int,
    call: Call,
) -> Tensor:
    """The attention of all rows, [1, tokens, heads, d], from [1, heads, tokens, d]."""
    q, k, v = (one[0].transpose(0, 1).contiguous() for one in (query, key, value))
    return kernel.attend(q, k, v, starts, longest, call)[None]


# --- the kernels ------------------------------------------------------------------------------


def of_torch(function: Callable[..., Any]) -> Kernel:
    """Torch's `varlen_attn`, whose arguments grew from release to release."""
    known = inspect.signature(function).parameters
    windows, grouped, scales = (name in known for name in ("window_size", "enable_gqa", "scale"))

    def run(
        query: Tensor, key: Tensor, value: Tensor, starts: Tensor, longest: int, call: Call
    ) -> Tensor:
        named: dict[str, Any] = {}
        if windows:
            named["window_size"] = (-1 if call.window is None else call.window, 0)
        else:
            named["is_causal"] = True
        if scales:
            named["scale"] = call.scale
        else:
            query = query * (call.scale * query.shape[-1] ** 0.5)
        group = query.shape[1] // key.shape[1]
        if group > 1:
            if grouped:
                named["enable_gqa"] = True
            else:
                key, value = (one.repeat_interleave(group, 1) for one in (key, value))
        out: Tensor = function(query, key, value, starts, starts, longest, longest, **named)
        return out

    return Kernel("torch's varlen_attn", run, windows=windows)


def of_flash_attn(function: Callable[..., Any]) -> Kernel:
    """`flash_attn_varlen_func` of the package flash-attn."""

    def run(
        query: Tensor, key: Tensor, value: Tensor, starts: Tensor, longest: int, call: Call
    ) -> Tensor:
        named: dict[str, Any] = {"softmax_scale": call.scale, "causal": True}
        named["window_size"] = (-1 if call.window is None else call.window, 0)
        if call.cap is not None:
            named["softcap"] = call.cap
        out: Tensor = function(query, key, value, starts, starts, longest, longest, **named)
        return out

    caps = "softcap" in inspect.signature(function).parameters
    return Kernel("flash-attn", run, caps=caps)


def _load_torch() -> Kernel:
    from torch.nn.attention.varlen import varlen_attn

    return of_torch(varlen_attn)


def _load_flash_attn() -> Kernel:
    from flash_attn import flash_attn_varlen_func

    return of_flash_attn(flash_attn_varlen_func)


LOADERS: Mapping[str, Callable[[], Kernel]] = {
    "flash-attn": _load_flash_attn,
    "torch's varlen_attn": _load_torch,
}
"""The kernels, the preferred one first."""


# --- choosing ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Heads:
    """The attention heads of a model: query heads, key heads, the size of each, and the window."""

    query: int
    key: int
    size: int
    windows: bool = False

    @classmethod
    def of(cls, config: Any) -> Heads:
        """Those of a transformers config."""
        text = config.get_text_config()
        heads = text.num_attention_heads
        size = getattr(text, "head_dim", None) or text.hidden_size // heads
        shared = getattr(text, "num_key_value_heads", None) or heads
        return cls(heads, shared, size, getattr(text, "sliding_window", None) is not None)


def choose_for(network: Any) -> str:
    """Choose the kernel of this run for a model, and use it; returns a line about it, or nothing."""
    try:
        heads = Heads.of(network.config)
    except (AttributeError, TypeError, ZeroDivisionError):  # a model without attention
        return ""
    kernel, line = choose(heads, network.device, network.dtype)
    use(kernel)
    return line


def choose(heads: Heads, device: torch.device, dtype: torch.dtype) -> tuple[Kernel | None, str]:
    """Return the first kernel that computes right here, and a line about it.

    None on a processor, and where none does: then rows attend one by one.
    """
    if device.type != "cuda":
        return None, ""
    found = list(_tried(heads, device, dtype))
    for kernel, _ in found:
        if kernel is not None:
            return kernel, f"All rows attend in one kernel: {kernel.name}."
    reasons = "; ".join(reason for _, reason in found)
    return None, f"Rows attend one after the other: {reasons}."


def _tried(
    heads: Heads, device: torch.device, dtype: torch.dtype
) -> Iterator[tuple[Kernel | None, str]]:
    for name, load in LOADERS.items():
        try:
            kernel = load()
            reason = difference(kernel, heads, device, dtype)
        except _NOT_MINE as error:
            line = str(error).strip().partition("\n")[0][:160]
            yield None, f"{name} is not usable ({line or type(error).__name__})"
            continue
        yield (None if reason else kernel), f"{name} {reason}"
        if not reason:
            return


def difference(kernel: Kernel, heads: Heads, device: torch.device, dtype: torch.dtype) -> str:
    """How a kernel differs from rows attended one by one, on a tiny batch; empty where it does not.

    What it refuses by name is no difference.
    """
    calls = [Call(0.7 * heads.size**-0.5)]
    if heads.windows:
        calls.append(Call(0.7 * heads.size**-0.5, window=_CHECKED_WINDOW))
    for call in calls:
        source = torch.Generator().manual_seed(0)
        made = [
            torch.randn(1, count, sum(_CHECKED_ROWS), heads.size, generator=source).to(
                device, dtype
            )
            for count in (heads.query, heads.key, heads.key)
        ]
        weights = torch.randn(1, sum(_CHECKED_ROWS), heads.query, heads.size, generator=source).to(
            device, dtype
        )
        refused = kernel.refusal(made[0], made[1], made[2], call)
        if refused and call.window is None:
            return f"does not compute {refused}"
        if refused:
            continue
        starts = starts_of(_CHECKED_ROWS, device)
        ours = partial(attend, kernel, starts=starts, longest=max(_CHECKED_ROWS), call=call)
        found = _with_gradients(ours, made, weights)
        expected = _with_gradients(partial(_row_by_row, call=call), made, weights)
        for one, other in zip(found, expected, strict=True):
            error = float((one.float() - other.float()).norm() / other.float().norm())
            if not error <= 0.02:
                return f"gives other results (they differ by {error:.2g})"
    return ""


def _with_gradients(
    compute: Callable[..., Tensor], inputs: list[Tensor], weights: Tensor
) -> list[Tensor]:
    leaves = [one.clone().requires_grad_() for one in inputs]
    with torch.enable_grad():
        out = compute(*leaves)
        return [out.detach(), *torch.autograd.grad((out * weights).sum(), leaves)]


def _row_by_row(query: Tensor, key: Tensor, value: Tensor, call: Call) -> Tensor:
    parts = []
    rows = (torch.split(one, list(_CHECKED_ROWS), 2) for one in (query, key, value))
    for q, k, v in zip(*rows, strict=True):
        place = torch.arange(q.shape[2], device=query.device)
        back = place[:, None] - place[None]
        seen = (back >= 0) & (back <= (call.window if call.window is not None else len(place)))
        parts.append(
            torch.nn.functional.scaled_dot_product_attention(
                q, k, v, attn_mask=seen, scale=call.scale, enable_gqa=True
            )
        )
    return torch.cat(parts, 2).transpose(1, 2)
