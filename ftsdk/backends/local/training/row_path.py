"""Whether rows can go through a model laid end to end, found by running it.

An architecture may mix tokens where its config does not show it: a recurrent state, a
convolution, biases by distance, frequencies that depend on the longest row. So the model is run on
rows laid end to end and on the same rows alone. It goes flat only if the results are equal and no
row depends on another one; else padded, if that holds for padded rows; else row by row, which is
right for every causal model. A model that looks at later tokens, or cannot compute on text alone,
cannot be trained and is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

from ftsdk.backends.local.models.row_paths import positions_of, ropes_of
from ftsdk.backends.local.training.footprint.bound import most_tokens
from ftsdk.backends.local.training.forward import (
    evaluating,
    hidden_states,
    next_token_logits,
    set_flat,
)
from ftsdk.backends.local.training.outcome import Failed
from ftsdk.backends.local.training.row_checks import (
    DEPENDS,
    MODEL_ERRORS,
    SHORT_ROWS,
    alone,
    dependence,
    difference,
    flat_leak,
    padded_leak,
    ranking,
    rows_of_lengths,
    scores,
    why,
)

if TYPE_CHECKING:
    import torch

RowsGo = Literal["flat", "padded", "row by row"]
_LAST_ROW = 32
_COMPUTED_POSITIONS = ("ctrl", "mpt")
"""Models that compute the terms of their positions up to a limit, and keep no table of them."""


@dataclass(frozen=True, slots=True)
class RowPath:
    """How rows go through a model: `flat` is laid end to end; `reason` is why not, where they do not."""

    way: RowsGo
    reason: str = ""

    @property
    def flat(self) -> bool:
        """True when rows are laid end to end."""
        return self.way == "flat"

    @property
    def padded(self) -> bool:
        """True when rows are filled up to the longest of their batch."""
        return self.way == "padded"

    @property
    def together(self) -> bool:
        """True when several rows go through the model at once."""
        return self.way != "row by row"

    def __str__(self) -> str:
        if self.flat:
            return "Rows go through the model laid end to end."
        how = "padded to the longest of their batch" if self.padded else "one at a time"
        return f"Rows go through the model {how}: {self.reason}."


@dataclass(frozen=True, slots=True)
class BatchSize:
    """The longest row of a run and the fullest micro-batch that its rows can make, in tokens.

    `alone` is True where the run goes on with one row at a time, as it began.
    """

    longest: int = 0
    tokens: int = 0
    alone: bool = False

    @classmethod
    def of(cls, lengths: Sequence[int], rows: int, token_budget: int) -> Self:
        """The size for rows of these lengths, cut by `micro_batches` with these arguments."""
        longest = max(lengths)
        return cls.of_examples(longest, longest, rows, token_budget)

    @classmethod
    def of_examples(cls, longest: int, example: int, examples: int, token_budget: int) -> Self:
        """The size where an example is one row or more, of `example` tokens at most."""
        return cls(longest, most_tokens(example, examples, token_budget))

    def probe(self) -> list[int]:
        """Lengths of rows that fill such a batch: the longest first, and a short one last."""
        short = min(_LAST_ROW, self.longest)
        lengths = [self.longest]
        while (room := self.tokens - sum(lengths) - short) > 0:
            lengths.append(min(self.longest, room))
        return [*lengths, short]

    def padded_probe(self) -> list[int]:
        """Lengths of two rows or more that fill such a batch when the last is padded by a quarter."""
        rows = max(2, self.tokens // self.longest)
        length = min(self.longest, self.tokens // rows)
        return [length] * (rows - 1) + [length - length // 4]


def choose_row_path(network: Any, device: torch.device, size: BatchSize) -> RowPath:
    """Switch the model to rows laid end to end, or else padded, where that changes no result.

    Raises `Failed` for a model that cannot be trained to predict the next token of such rows.
    """
    _require_positions(network, size.longest)
    _require_causal(network, device, size.longest)
    _require_fixed_frequencies(network, size.longest)
    if size.alone:
        return RowPath("row by row", "the run began so")
    not_flat = _not_flat(network, device, size)
    if not not_flat:
        return RowPath("flat")
    not_padded = _not_padded(network, device, size)
    if not not_padded:
        return RowPath("padded", not_flat)
    same = not_padded == not_flat
    return RowPath("row by row", not_flat if same else f"{not_flat}; {not_padded}")


def _not_flat(network: Any, device: torch.device, size: BatchSize) -> str:
    """Why rows laid end to end change a result; empty where they do not, and the model is switched."""
    before = network.config._attn_implementation
    batches: list[Sequence[int]] = [SHORT_ROWS]
    if size.longest > max(SHORT_ROWS):
        batches.append(size.probe())
    expected = [alone(network, lengths, device) for lengths in batches]
    try:
        set_flat(network)
        reason = (
            _changing_frequencies(network, size)
            or _counting_places(network, size)
            or flat_leak(network, device)
            or difference(network, batches, expected, device)
        )
    except MODEL_ERRORS as error:
        reason = why(error)
    if reason:
        network.set_attn_implementation(before)
    return reason


def _not_padded(network: Any, device: torch.device, size: BatchSize) -> str:
    """Why padded rows change a result; empty where they do not."""
    batches: list[Sequence[int]] = [SHORT_ROWS]
    if size.longest > max(SHORT_ROWS):
        batches.append(size.padded_probe())
    try:
        return (
            _changing_frequencies(network, size)
            or padded_leak(network, device)
            or ranking(network, device, size.longest)
            or difference(
                network,
                batches,
                [alone(network, lengths, device) for lengths in batches],
                device,
                padded=True,
            )
        )
    except MODEL_ERRORS as error:
        return f"padded, {why(error)}"


def has_plain_head(network: Any, device: torch.device) -> bool:
    """True when hidden states times the output head equal the logits of the model."""
    import torch

    head = network.get_output_embeddings()
    if type(head) is not torch.nn.Linear:
        return False
    batch = rows_of_lengths(network, [9], device)
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
        found = dependence(network, [9], device, upto=4)
        with torch.no_grad():
            scores(network, [max(longest, 9)], device)
    except MODEL_ERRORS as error:
        reason = why(error)
        raise Failed(
            f"A {kind} model cannot be trained on text alone: {reason}.",
            "model_unsupported",
            "train a model that continues text, such as Llama, Qwen, Gemma or Mistral",
        ) from error
    past, future = float(found[:5].max()), float(found[5:].max())
    if future > DEPENDS * past:
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


def _changing_frequencies(network: Any, size: BatchSize) -> str:
    """Why a row's result depends on the other rows of its batch; empty where it does not."""
    limit = rope_limit(network, "longrope")
    if limit is not None and size.longest > limit:
        return (
            f"its rotary frequencies change where a row of the batch is longer than {limit} tokens"
        )
    return ""


def _counting_places(network: Any, size: BatchSize) -> str:
    """Why a row's result depends on its place in the batch; empty where it does not."""
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
