"""What several rows in one batch do to each other's results, found by running a model.

Each check returns a reason, as part of a sentence, or an empty text.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ftsdk.backends.local.runs.crash_report import kind_of_text
from ftsdk.backends.local.training.batches import PackedBatch
from ftsdk.backends.local.training.forward import evaluating, next_token_logits
from ftsdk.dataset.tokenize.render import Rendered

if TYPE_CHECKING:
    import torch

DEPENDS = 1e-4
"""A gradient between rows, or from a later token, above this share of the largest one is real."""
SHORT_ROWS = (9, 6)
MODEL_ERRORS = (
    TypeError,
    ValueError,
    NotImplementedError,
    RuntimeError,
    AttributeError,
    KeyError,
    IndexError,
)
"""What models raise for arguments and masks that they do not take."""
_TOLERANCE = 1e-3
"""Largest allowed difference of log-probabilities in float32, in nats."""
_COARSE_TOLERANCE = 0.05
"""Largest allowed mean difference in other data types; bf16 itself causes 0.01."""
_COMPARED = 64


def flat_leak(network: Any, device: torch.device) -> str:
    """Why the second of two rows laid end to end depends on the first."""
    first, second = SHORT_ROWS
    found = dependence(network, SHORT_ROWS, device, upto=first + second - 1, start=first)
    if not float(found[:first].max()) <= DEPENDS * float(found[first:].max()):
        return "a state of the model crosses from one row to the next"
    return ""


def padded_leak(network: Any, device: torch.device) -> str:
    """Why one of two padded rows depends on the other, or on its padding."""
    import torch

    first, second = SHORT_ROWS
    end = first + second
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    for start, upto in ((0, first), (first, end)):
        found = dependence(network, SHORT_ROWS, device, upto=upto - 1, start=start, padded=True)
        others = torch.cat([found[:start], found[upto:]])
        if not float(others.max()) <= DEPENDS * float(found[start:upto].max()):
            return "padded, a row depends on others or on its padding"
    after = dict(network.named_buffers())
    if not all(torch.equal(before[name], after[name]) for name in before):
        return "padded, the model would learn from the padding"
    return ""


def ranking(network: Any, device: torch.device, longest: int) -> str:
    """Why a padded row may be computed from other tokens: of equal ranks, any may be chosen."""
    if longest < 2:
        return ""
    if _ranked(network, longest, device) <= _ranked(network, longest // 2, device):
        return ""
    return "padded, it might choose other tokens of a row, which it does by rank"


def _ranked(network: Any, length: int, device: torch.device) -> set[int]:
    """The numbers of what the model chooses the best from, in a row of this length."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    sizes: set[int] = set()

    class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no types for it
        def __torch_dispatch__(
            self, function: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            if function is torch.ops.aten.topk.default:
                among = args[0].shape[args[2] if len(args) > 2 else -1]
                if args[1] < among:
                    sizes.add(among)
            return function(*args, **(kwargs or {}))

    with evaluating(network), Watch():  # type: ignore[no-untyped-call]  # as above
        scores(network, [length], device)
    return sizes


def difference(
    network: Any,
    batches: Sequence[Sequence[int]],
    expected: Sequence[Sequence[torch.Tensor]],
    device: torch.device,
    *,
    padded: bool = False,
) -> str:
    """Why rows of these lengths together give other results than alone, which are `expected`."""
    manner = "padded" if padded else "laid end to end"
    for lengths, results in zip(batches, expected, strict=True):
        with evaluating(network):
            together = scores(network, lengths, device, padded=padded)
        wrong = _different(lengths, results, together, str(network.dtype))
        if wrong is not None:
            return f"{manner}, a row of {wrong} tokens gives another result than alone"
    return ""


def alone(network: Any, lengths: Sequence[int], device: torch.device) -> list[torch.Tensor]:
    """What `scores` finds for the first and the last row when each goes through the model alone."""
    with evaluating(network):
        return [scores(network, [n], device)[0] for n in (lengths[0], lengths[-1])]


def scores(
    network: Any, lengths: Sequence[int], device: torch.device, *, padded: bool = False
) -> list[torch.Tensor]:
    """Log-probabilities of the next tokens in the first and the last row, at most 64 of each."""
    import torch

    batch = rows_of_lengths(network, lengths, device, padded=padded)
    found = next_token_logits(network, batch).float().log_softmax(-1)
    found = found.gather(1, batch.targets[:, None])[:, 0]
    ends = lengths if len(lengths) == 1 else (lengths[0], lengths[-1])
    return list(torch.split(found, [min(length - 1, _COMPARED) for length in ends]))


def dependence(
    network: Any,
    lengths: Sequence[int],
    device: torch.device,
    *,
    upto: int,
    start: int = 0,
    padded: bool = False,
) -> torch.Tensor:
    """How much the outputs at places `start`…`upto` depend on the token at each place, [places].

    Places are counted through all rows, with their padding.
    """
    import torch

    batch = rows_of_lengths(network, lengths, device, padded=padded)
    places = torch.arange(start, upto + 1, device=device)
    targets = batch.ids.flatten()[places]
    batch = PackedBatch(batch.ids, batch.positions, batch.lengths, places, targets)
    seen: list[torch.Tensor] = []

    def watch(_module: Any, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
        seen.append(output.detach().requires_grad_())
        return seen[-1].clone()  # a model may change it in place

    hook = network.get_input_embeddings().register_forward_hook(watch)
    try:
        with torch.enable_grad():
            found = next_token_logits(network, batch).float().log_softmax(-1)
            target = found.gather(1, batch.targets[:, None]).sum()
            (gradient,) = torch.autograd.grad(target, seen[:1])
    finally:
        hook.remove()
    sizes: torch.Tensor = gradient.float().reshape(-1, gradient.shape[-1]).norm(dim=-1)
    return sizes


def _different(
    lengths: Sequence[int],
    alone: Sequence[torch.Tensor],
    together: Sequence[torch.Tensor],
    dtype: str,
) -> int | None:
    """The length of a row that gives another result together than alone; None where none does."""
    exact = dtype == "torch.float32"
    for length, expected, found in zip((lengths[0], lengths[-1]), alone, together, strict=True):
        errors = (expected - found).abs()
        if not len(errors):
            continue
        # In bf16 rounding can send single tokens to other experts.
        error = float(errors.max() if exact else errors.mean())
        if not error <= (_TOLERANCE if exact else _COARSE_TOLERANCE):
            return length
    return None


def rows_of_lengths(
    network: Any, lengths: Sequence[int], device: torch.device, *, padded: bool = False
) -> PackedBatch:
    """Rows of these lengths, of which the last 64 tokens of the first and the last row are scored.

    The tokens of a row depend on its length only.
    """
    vocabulary = int(network.config.get_text_config().vocab_size)
    rows = []
    for place, length in enumerate(lengths):
        ids = array("i", [(length * k + 3) % vocabulary for k in range(length)])
        scored = _COMPARED if place in (0, len(lengths) - 1) else 0
        trained = bytes(int(length - k <= scored) for k in range(length))
        rows.append(Rendered(ids, trained))
    return PackedBatch.of(rows, device, padded=padded)


def why(error: Exception) -> str:
    """The first line of a model's error, as part of a sentence; lack of memory is raised again."""
    if kind_of_text(f"{type(error).__name__}: {error}") == "out_of_memory":
        raise error
    line = str(error).strip().partition("\n")[0].rstrip(".")
    if "RowMasks" in line:
        return "its layers change the attention mask"
    return line[:160] or type(error).__name__
