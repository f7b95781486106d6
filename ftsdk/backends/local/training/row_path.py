"""Whether rows can go through a model laid end to end, found by running it.

An architecture may mix tokens where its config does not show it: a recurrent state, a
convolution, biases by distance, frequencies that depend on the longest row. So the model is run on
rows laid end to end and on the same rows alone. It goes flat only if the results are equal and no
row depends on another one; else it runs row by row, which is right for every causal model. A model
that looks at later tokens, or cannot compute on text alone, cannot be trained and is refused.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from ftsdk.backends.local.models.row_paths import positions_of, ropes_of
from ftsdk.backends.local.runs.crash_report import kind_of_text
from ftsdk.backends.local.training.batches import PackedBatch
from ftsdk.backends.local.training.footprint.bound import most_tokens
from ftsdk.backends.local.training.forward import (
    evaluating,
    hidden_states,
    next_token_logits,
    set_flat,
)
from ftsdk.backends.local.training.outcome import Failed
from ftsdk.dataset.tokenize.render import Rendered

if TYPE_CHECKING:
    import torch

_TOLERANCE = 1e-3
"""Largest allowed difference of log-probabilities in float32, in nats."""
_COARSE_TOLERANCE = 0.05
"""Largest allowed mean difference in other data types; bf16 itself causes 0.01."""
_DEPENDS = 1e-4
"""A gradient between rows, or from a later token, above this share of the largest one is real."""
_SHORT_ROWS = (9, 6)
_COMPARED = 64
_LAST_ROW = 32
_COMPUTED_POSITIONS = ("ctrl", "mpt")
"""Models that compute the terms of their positions up to a limit, and keep no table of them."""
_MODEL_ERRORS = (
    TypeError,
    ValueError,
    NotImplementedError,
    RuntimeError,
    AttributeError,
    KeyError,
    IndexError,
)
"""What models raise for arguments and masks that they do not take."""


@dataclass(frozen=True, slots=True)
class RowPath:
    """How rows go through a model: `flat` when laid end to end, else one by one for `reason`."""

    flat: bool
    reason: str = ""

    def __str__(self) -> str:
        if self.flat:
            return "Rows go through the model laid end to end."
        return f"Rows go through the model one at a time: {self.reason}."


@dataclass(frozen=True, slots=True)
class BatchSize:
    """The longest row of a run and the fullest micro-batch that its rows can make, in tokens."""

    longest: int = 0
    tokens: int = 0

    @classmethod
    def of(cls, lengths: Sequence[int], batch_size: int, token_budget: int) -> Self:
        """The size for rows of these lengths, cut by `micro_batches` with these arguments."""
        longest = max(lengths)
        return cls.of_examples(longest, longest, batch_size, token_budget)

    @classmethod
    def of_examples(cls, longest: int, example: int, batch_size: int, token_budget: int) -> Self:
        """The size where an example is one row or more, of `example` tokens at most."""
        return cls(longest, most_tokens(example, batch_size, token_budget))

    def probe(self) -> list[int]:
        """Lengths of rows that fill such a batch: the longest first, and a short one last."""
        short = min(_LAST_ROW, self.longest)
        lengths = [self.longest]
        while (room := self.tokens - sum(lengths) - short) > 0:
            lengths.append(min(self.longest, room))
        return [*lengths, short]


def choose_row_path(network: Any, device: torch.device, size: BatchSize) -> RowPath:
    """Switch the model to rows laid end to end where that changes no result, and say so.

    Raises `Failed` for a model that cannot be trained to predict the next token of such rows.
    """
    _require_positions(network, size.longest)
    _require_causal(network, device, size.longest)
    _require_fixed_frequencies(network, size.longest)
    before = network.config._attn_implementation
    batches: list[Sequence[int]] = [_SHORT_ROWS]
    if size.longest > max(_SHORT_ROWS):
        batches.append(size.probe())
    with evaluating(network):
        alone = [
            [_scores(network, [n], device)[0] for n in (lengths[0], lengths[-1])]
            for lengths in batches
        ]
    try:
        set_flat(network)
        reason = _counts_by_batch(network, size) or _leak(network, device)
        for lengths, expected in zip(batches, alone, strict=True):
            if not reason:
                with evaluating(network):
                    together = _scores(network, lengths, device)
                reason = _difference(lengths, expected, together, str(network.dtype))
    except _MODEL_ERRORS as error:
        reason = _why(error)
    if reason:
        network.set_attn_implementation(before)
    return RowPath(not reason, reason)


def has_plain_head(network: Any, device: torch.device) -> bool:
    """True when hidden states times the output head equal the logits of the model."""
    import torch

    head = network.get_output_embeddings()
    if type(head) is not torch.nn.Linear:
        return False
    batch = _batch(network, [9], device)
    try:
        with evaluating(network):
            return torch.equal(
                head(hidden_states(network, batch)), next_token_logits(network, batch)
            )
    except (TypeError, AttributeError):  # no separate decoder, or other arguments
        return False


def _require_causal(network: Any, device: torch.device, longest: int) -> None:
    """Raise `Failed` unless the model computes on a text alone and looks at no later token."""
    import torch

    kind = network.config.model_type
    network.train()
    try:
        found = _dependence(network, [9], device, upto=4)
        with torch.no_grad():
            _scores(network, [max(longest, 9)], device)
    except _MODEL_ERRORS as error:
        why = _why(error)
        raise Failed(
            f"A {kind} model cannot be trained on text alone: {why}.",
            "model_unsupported",
            "train a model that continues text, such as Llama, Qwen, Gemma or Mistral",
        ) from error
    past, future = float(found[:5].max()), float(found[5:].max())
    if future > _DEPENDS * past:
        raise Failed(
            f"This {kind} model looks at later tokens, so predicting the next one teaches it nothing.",
            "model_unsupported",
            "train a causal model; for a BERT-like one its config needs is_decoder: true",
        )


def _require_positions(network: Any, longest: int) -> None:
    """Raise `Failed` for rows longer than the model has positions."""
    limit = position_limit(network)
    if limit is not None and longest > limit:
        raise Failed(
            f"Rows are up to {longest} tokens long, and this {network.config.model_type} model has "
            f"{limit} positions.",
            "too_long",
            f"set max_length to {limit}; then longer rows are listed, or cut with the option truncate",
        )


def position_limit(network: Any) -> int | None:
    """The number of positions of a model that has a weight or an angle for each; else None."""
    limit = positions_of(network.config.get_text_config())
    if limit is None:
        return None
    import torch

    tables = dict(network.named_buffers())
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.Embedding):
            tables[name] = module.weight
    for name, table in tables.items():
        last = name.rpartition(".")[2]
        sizes = (limit, limit + 2)  # some tables begin with rows that are not used
        if ("pos" in last or last == "wpe") and table.ndim and len(table) in sizes:
            return limit
    return limit if network.config.model_type in _COMPUTED_POSITIONS else None


def _require_fixed_frequencies(network: Any, longest: int) -> None:
    """Raise `Failed` for rotary frequencies that depend on the rows before: a resumed run would differ."""
    limit = rope_limit(network, "dynamic")
    if limit is not None and longest > limit:
        raise Failed(
            f"Rows are up to {longest} tokens long. Beyond {limit}, this model's dynamic rotary "
            "frequencies depend on the longest row that was seen before.",
            "model_unsupported",
            f"set max_length to {limit}, or train a model whose rope_type is yarn or llama3",
        )


def _counts_by_batch(network: Any, size: BatchSize) -> str:
    """Why a row's result depends on the batch around it, where its own mask does not show that."""
    limit = rope_limit(network, "longrope")
    if limit is not None and size.longest > limit:
        return (
            f"its rotary frequencies change where a row of the batch is longer than {limit} tokens"
        )
    config = network.config.get_text_config()
    scale = getattr(config, "floor_scale", None)
    if getattr(config, "attn_temperature_tuning", False) and scale and size.tokens > scale:
        return f"its attention changes after {scale} tokens, counted from the start of the batch"
    return ""


def rope_limit(network: Any, kind: str) -> int | None:
    """Tokens from which rotary frequencies of this kind change; None for a model without them."""
    limits = []
    for module in network.modules():
        kinds = getattr(module, "rope_type", None)
        if kind not in (kinds.values() if isinstance(kinds, dict) else (kinds,)):
            continue
        config = module.config
        given = [rope.get("original_max_position_embeddings") for rope in ropes_of(config)]
        if kind == "dynamic":  # transformers grows these from the length of the config
            given = []
        limits.append(min((n for n in given if n), default=config.max_position_embeddings))
    return min(limits, default=None)


def _leak(network: Any, device: torch.device) -> str:
    """Why the second of two rows laid end to end depends on the first; empty when it does not."""
    first, second = _SHORT_ROWS
    found = _dependence(network, _SHORT_ROWS, device, upto=first + second - 1, start=first)
    if not float(found[:first].max()) <= _DEPENDS * float(found[first:].max()):
        return "a state of the model crosses from one row to the next"
    return ""


def _dependence(
    network: Any, lengths: Sequence[int], device: torch.device, *, upto: int, start: int = 0
) -> torch.Tensor:
    """How much the outputs at places `start`…`upto` depend on the token at each place, [tokens]."""
    import torch

    batch = _batch(network, lengths, device)
    places = torch.arange(start, upto + 1, device=device)
    batch = PackedBatch(batch.ids, batch.positions, batch.lengths, places, batch.ids[0, places])
    seen: list[torch.Tensor] = []

    def watch(_module: Any, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
        seen.append(output.detach().requires_grad_())
        return seen[-1].clone()  # a model may change it in place

    hook = network.get_input_embeddings().register_forward_hook(watch)
    try:
        with torch.enable_grad():
            scores = next_token_logits(network, batch).float().log_softmax(-1)
            target = scores.gather(1, batch.targets[:, None]).sum()
            (gradient,) = torch.autograd.grad(target, seen[:1])
    finally:
        hook.remove()
    sizes: torch.Tensor = gradient.float().reshape(-1, gradient.shape[-1]).norm(dim=-1)
    return sizes


def _scores(network: Any, lengths: Sequence[int], device: torch.device) -> list[torch.Tensor]:
    """Log-probabilities of the next tokens in the first and the last row, at most 64 of each."""
    import torch

    batch = _batch(network, lengths, device)
    scores = next_token_logits(network, batch).float().log_softmax(-1)
    found = scores.gather(1, batch.targets[:, None])[:, 0]
    ends = lengths if len(lengths) == 1 else (lengths[0], lengths[-1])
    return list(torch.split(found, [min(length - 1, _COMPARED) for length in ends]))


def _difference(
    lengths: Sequence[int],
    alone: Sequence[torch.Tensor],
    together: Sequence[torch.Tensor],
    dtype: str,
) -> str:
    """Why rows laid end to end give other results than alone; empty when they give the same."""
    exact = dtype == "torch.float32"
    for length, expected, found in zip((lengths[0], lengths[-1]), alone, together, strict=True):
        errors = (expected - found).abs()
        if not len(errors):
            continue
        # In bf16 rounding can send single tokens to other experts.
        error = float(errors.max() if exact else errors.mean())
        if not error <= (_TOLERANCE if exact else _COARSE_TOLERANCE):
            return f"laid end to end, a row of {length} tokens gives another result than alone"
    return ""


def _batch(network: Any, lengths: Sequence[int], device: torch.device) -> PackedBatch:
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
    return PackedBatch.of(rows, device)


def _why(error: Exception) -> str:
    """The first line of a model's error, as part of a sentence; lack of memory is raised again."""
    if kind_of_text(f"{type(error).__name__}: {error}") == "out_of_memory":
        raise error
    line = str(error).strip().partition("\n")[0].rstrip(".")
    if "RowMasks" in line:
        return "its layers change the attention mask"
    return line[:160] or type(error).__name__
