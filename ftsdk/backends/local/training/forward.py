"""The forward pass over packed rows, and the tests of whether a model supports it.

Rows need no padding: linear layers see one long row of tokens, and attention treats each row alone
(`packed_attention`). When a model is loaded, two short rows are run packed and one by one; a model
whose results differ is run row by row.
"""

from __future__ import annotations

import contextlib
from array import array
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ftsdk.backends.local.training.batches import PackedBatch
from ftsdk.dataset.tokenize.render import Rendered

if TYPE_CHECKING:
    import torch

_ATTENTION = "ftsdk_packed"
_PROBE_TOLERANCE = 0.05
"""Largest allowed difference of the probe's log-probabilities, in nats; bf16 itself causes 0.01."""


def hidden_states(network: Any, batch: PackedBatch) -> torch.Tensor:
    """The last hidden states where the next token is trained, [trained, d]."""
    output = network.get_decoder()(
        input_ids=batch.ids,
        position_ids=batch.positions,
        attention_mask=None,
        use_cache=False,
        row_lengths=batch.lengths,
    )
    states: torch.Tensor = output.last_hidden_state[0]
    return states.index_select(0, batch.loss_positions)


def next_token_logits(network: Any, batch: PackedBatch) -> torch.Tensor:
    """The model's own logits where the next token is trained, [trained, vocabulary]."""
    output = network(
        input_ids=batch.ids,
        position_ids=batch.positions,
        attention_mask=None,
        use_cache=False,
        logits_to_keep=batch.loss_positions,
        row_lengths=batch.lengths,
    )
    logits: torch.Tensor = output.logits[0]
    return logits


@contextlib.contextmanager
def evaluating(network: Any) -> Iterator[None]:
    """Turn dropout and gradients off inside the block."""
    import torch

    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        network.train()


def use_packed_attention(network: Any, device: torch.device) -> bool:
    """Switch the model to `packed_attention`; False, and no change, where its results differ."""
    import torch
    from transformers import AttentionInterface

    from ftsdk.backends.local.compute.packed_attention import packed_attention

    before = network.config._attn_implementation
    AttentionInterface.register(_ATTENTION, packed_attention)
    network.eval()
    lengths = (9, 6)
    alone = [_probe(network, [length], device) for length in lengths]
    try:
        network.set_attn_implementation(_ATTENTION)
        together = _probe(network, lengths, device)
    except (TypeError, ValueError, NotImplementedError, RuntimeError, AttributeError, KeyError):
        network.set_attn_implementation(before)
        return False
    if float((torch.cat(alone) - together).abs().max()) > _PROBE_TOLERANCE:
        network.set_attn_implementation(before)
        return False
    return True


def has_plain_head(network: Any, device: torch.device) -> bool:
    """True when hidden states times the output head equal the logits of the model."""
    import torch

    head = network.get_output_embeddings()
    if type(head) is not torch.nn.Linear:
        return False
    batch = _probe_batch(network, [9], device)
    try:
        with torch.no_grad():
            return torch.equal(
                head(hidden_states(network, batch)), next_token_logits(network, batch)
            )
    except (TypeError, AttributeError):  # no separate decoder, or other arguments
        return False


def _probe(network: Any, lengths: Sequence[int], device: torch.device) -> torch.Tensor:
    """Log-probabilities of each next token, [tokens of all rows but the first of each]."""
    import torch

    batch = _probe_batch(network, lengths, device)
    with torch.no_grad():
        scores = next_token_logits(network, batch).float().log_softmax(-1)
        return scores.gather(1, batch.targets[:, None])[:, 0]


def _probe_batch(network: Any, lengths: Sequence[int], device: torch.device) -> PackedBatch:
    """Rows of these lengths; the tokens of a row depend on its length only."""
    vocabulary = int(network.config.get_text_config().vocab_size)
    rows = [
        array("i", [(length * k + 3) % vocabulary for k in range(length)]) for length in lengths
    ]
    rendered = [Rendered(row, b"\x01" * len(row)) for row in rows]
    return PackedBatch.of(rendered, device)
