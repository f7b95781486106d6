"""The forward pass over the rows of a micro-batch: laid end to end (flat), padded, or one row.

Laid end to end, rows need no padding: linear layers see one long row of tokens, and attention
treats each row alone (`packed_attention`). Where a model cannot compute so (`row_path`), rows are
filled up behind their ends, and the model runs as transformers runs it. It needs no mask for that:
no token of a row looks at what comes after it, which `row_path` has made sure of.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ftsdk.backends.local.training.batches import PackedBatch

if TYPE_CHECKING:
    import torch

_ATTENTION = "ftsdk_packed"


def hidden_states(network: Any, batch: PackedBatch) -> torch.Tensor:
    """The last hidden states where the next token is trained, [trained, d]."""
    from ftsdk.backends.local.compute.packed_attention import rows_of

    decoder = network.get_decoder()
    with rows_of(batch.lengths):
        output = decoder(**_inputs(network, decoder, batch))
    states: torch.Tensor = output.last_hidden_state.flatten(0, 1)
    return states.index_select(0, batch.loss_positions)


def next_token_logits(network: Any, batch: PackedBatch) -> torch.Tensor:
    """The model's own logits where the next token is trained, [trained, vocabulary]."""
    from ftsdk.backends.local.compute.packed_attention import rows_of

    inputs, wanted = _inputs(network, network, batch), batch.loss_positions
    known = inspect.signature(network.forward).parameters
    # It keeps the same places of each row.
    chooses = "logits_to_keep" in known and len(batch.ids) == 1
    if chooses:
        inputs["logits_to_keep"] = wanted
    with rows_of(batch.lengths):
        logits: torch.Tensor = network(**inputs).logits.flatten(0, 1)
    return logits if chooses else logits.index_select(0, wanted)


def _inputs(network: Any, module: Any, batch: PackedBatch) -> dict[str, Any]:
    """The arguments of `module`, which is the network or its decoder.

    The mask of ones makes transformers state each rule of attention for one plain row
    (`RowMasks`); without it the rules would describe the whole flat batch.
    """
    import torch

    if is_flat(network):
        return {
            "input_ids": batch.ids,
            "position_ids": batch.positions,
            "attention_mask": torch.ones_like(batch.ids),
            "use_cache": False,
        }
    if len(batch.lengths) != len(batch.ids):
        raise ValueError("this model does not take rows laid end to end")
    known = inspect.signature(module.forward).parameters
    return {"input_ids": batch.ids} | ({"use_cache": False} if "use_cache" in known else {})


def is_flat(network: Any) -> bool:
    """True when the model takes rows laid end to end."""
    return bool(network.config._attn_implementation == _ATTENTION)


def set_flat(network: Any) -> None:
    """Let the model take rows laid end to end. Raises what transformers raises where it cannot."""
    from transformers import AttentionInterface, AttentionMaskInterface

    from ftsdk.backends.local.compute.packed_attention import packed_attention, row_masks

    AttentionInterface.register(_ATTENTION, packed_attention)
    AttentionMaskInterface.register(_ATTENTION, row_masks)
    network.set_attn_implementation(_ATTENTION)
    if not is_flat(network):
        raise NotImplementedError("it has only its own attention")


@contextlib.contextmanager
def evaluating(network: Any) -> Iterator[None]:
    """Turn dropout and gradients off inside the block; blocks may be nested."""
    import torch

    before = network.training
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        network.train(before)
