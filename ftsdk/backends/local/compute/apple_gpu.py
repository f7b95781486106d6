"""Whether the Apple GPU of this machine computes a training step as its processor does.

torch's kernels for it (MPS) have been wrong before without a word, and some are missing. So before it
is used a tiny step runs on both: rows laid end to end, attention, adapters, loss, gradient and AdamW.
`python -m ftsdk.backends.local.compute.apple_gpu "{}" FILE` writes the answer as JSON.
"""

from __future__ import annotations

import functools
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ftsdk.backends.local.compute.chunked_loss import chunked_loss
from ftsdk.backends.local.compute.fused_lora import adapted_linear
from ftsdk.backends.local.compute.packed_attention import RowMasks, packed_attention

if TYPE_CHECKING:
    from torch import Tensor

_ALLOWED = {torch.float32: 1e-3, torch.float16: 3e-2}
"""How far a result may be from the processor's in float32, relative to its norm."""
_LENGTHS, _WIDTH, _HEADS, _RANK, _VOCABULARY = (13, 7, 20), 64, 4, 4, 96


def apple_gpu_fault(dtype: torch.dtype) -> str | None:
    """Why the Apple GPU cannot be used in this format; None where it can. It is asked once a process."""
    if dtype not in _ALLOWED:
        return "only float32 and float16 are checked on it"
    return _fault(dtype)


@functools.cache
def _fault(dtype: torch.dtype) -> str | None:
    return compare(torch.device("mps"), dtype)


def compare(device: torch.device, dtype: torch.dtype) -> str | None:
    """What is wrong with a step on this device, as part of a sentence; None where nothing is."""
    expected = step_on(torch.device("cpu"), torch.float32)
    try:
        found, again = step_on(device, dtype), step_on(device, dtype)
    except (RuntimeError, NotImplementedError, TypeError) as error:  # what torch raises
        first = str(error).strip().partition("\n")[0][:200]
        return f"a step does not run on it ({first})"
    for name, tensor in expected.items():
        share = float((found[name] - tensor).norm() / tensor.norm())
        if not share <= _ALLOWED[dtype]:  # or not a number
            return f"its {name} differs from the processor's by {share:.2g} of its norm"
        if not torch.equal(found[name], again[name]):
            return f"its {name} is another one each time, and a resumed run would not be the same"
    return None


def step_on(device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
    """The loss, the gradient and the changed weights of one step, in float32 on the processor."""
    source = torch.Generator().manual_seed(0)

    def made(*shape: int) -> Tensor:
        numbers: Tensor = torch.randn(shape, generator=source) / math.sqrt(shape[-1])
        return numbers.to(device, dtype)

    def ids() -> Tensor:
        return torch.randint(_VOCABULARY, (sum(_LENGTHS),), generator=source).to(device)

    table, states, targets = made(_VOCABULARY, _WIDTH), ids(), ids()
    weights = [made(3 * _WIDTH, _WIDTH), made(_WIDTH, _WIDTH)]
    shapes = [(_RANK, _WIDTH), (3 * _WIDTH, _RANK), (_RANK, _WIDTH), (_WIDTH, _RANK)]
    adapters = [made(*shape).requires_grad_() for shape in shapes]
    loss = _loss(table, states, targets, weights, adapters)
    loss.backward()  # type: ignore[no-untyped-call]  # torch has no types for it
    gradient = torch.cat([a.grad.flatten().float() for a in adapters if a.grad is not None])
    master = torch.cat([a.detach().flatten().float() for a in adapters])
    master.grad = gradient
    torch.optim.AdamW([master], lr=1e-2, fused=True).step()
    return {
        "loss": loss.detach().cpu().float(),
        "gradient": gradient.cpu(),
        "optimizer step": master.cpu(),
    }


def _loss(
    table: Tensor, ids: Tensor, targets: Tensor, weights: list[Tensor], adapters: list[Tensor]
) -> Tensor:
    """The mean loss of one layer: attention, a norm and a gate, each with an adapter."""
    tokens = len(ids)
    states = table[ids]
    down, up, gate_down, gate_up = adapters
    mixed = adapted_linear(states, weights[0], down, up, scale=2.0)
    query, key, value = mixed.view(1, tokens, 3, _HEADS, _WIDTH // _HEADS).permute(2, 0, 3, 1, 4)
    attended, _ = packed_attention(None, query, key, value, RowMasks(_is_past, None, _LENGTHS))
    states = states + attended.reshape(tokens, _WIDTH)
    normal = torch.nn.functional.rms_norm(states, (_WIDTH,))
    inner = adapted_linear(normal, weights[1], gate_down, gate_up, scale=2.0)
    gated = torch.nn.functional.silu(inner) * normal
    return chunked_loss(states + gated, table, None, targets) / tokens


def _is_past(_batch: Any, _head: Any, query: Tensor, key: Tensor) -> Tensor:
    return key <= query


def main(argv: Sequence[str]) -> int:
    """Write the answer to the file named in the second argument."""
    known = {str(dtype).removeprefix("torch."): apple_gpu_fault(dtype) for dtype in _ALLOWED}
    answer = {"is_there": torch.backends.mps.is_available(), "faults": known}
    Path(argv[1]).write_text(json.dumps(answer), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
