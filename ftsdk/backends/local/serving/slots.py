"""Keys and values of sequences that are decoded together, and the attention over them.

Each sequence has a slot. All tokens of one step, of whatever sequence, are one row of the network:
first one token of each sequence that is being answered, then pieces of prompts. So the weights are
read once for all of them. Positions that a sequence has not reached are masked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

NAME = "ftsdk_slots"
"""The name under which transformers finds the attention."""
_FIRST_LENGTH = 256


@dataclass(frozen=True)
class Piece:
    """A part of a prompt: `count` tokens of the sequence in `slot`, the first at position `start`."""

    slot: int
    start: int
    count: int


class Slots:
    """The cache of a network, as transformers passes it from layer to layer.

    It grows by doubling and is freed by `clear`. `begin` says what the next step computes.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._count, self._length = 0, 0
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}
        self._places = torch.empty(0, dtype=torch.long)
        self._decoding, self._reach = 0, 0
        self._seen: Tensor | None = None
        self._pieces: tuple[Piece, ...] = ()

    def begin(self, lengths: Sequence[int], pieces: Sequence[Piece]) -> None:
        """Prepare a step: a token for each of the first slots, which have these lengths, and pieces."""
        reach = max((length + 1 for length in lengths), default=0)
        needed = max([reach, *(piece.start + piece.count for piece in pieces)])
        slots = max([len(lengths), *(piece.slot + 1 for piece in pieces)])
        self._grow(slots, needed)
        places = [slot * self._length + length for slot, length in enumerate(lengths)]
        for piece in pieces:
            first = piece.slot * self._length + piece.start
            places.extend(range(first, first + piece.count))
        self._places = torch.tensor(places, dtype=torch.long, device=self._device)
        self._decoding, self._reach, self._pieces = len(lengths), reach, tuple(pieces)
        self._seen = None
        if lengths and min(lengths) + 1 < reach:
            last = torch.tensor(lengths, device=self._device)[:, None, None, None]
            self._seen = torch.arange(reach, device=self._device) <= last

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` tokens of one slot into another."""
        for keys, values in self._layers.values():
            for kept in (keys, values):
                kept[target, :length] = kept[source, :length]

    def clear(self) -> None:
        """Free the memory; nothing is in use."""
        self._layers.clear()
        self._count, self._length = 0, 0

    def _grow(self, slots: int, length: int) -> None:
        if slots <= self._count and length <= self._length:
            return
        count, room = max(self._count, 1), max(self._length, _FIRST_LENGTH)
        while count < slots:
            count *= 2
        while room < length:
            room *= 2
        for number, (keys, values) in self._layers.items():
            self._layers[number] = tuple(_larger(one, count, room) for one in (keys, values))  # type: ignore[assignment]  # of two
        self._count, self._length = count, room

    # --- what the network calls ---

    def update(
        self, keys: Tensor, values: Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """Keep the keys and values of this step, [1, heads, tokens, size], and return them."""
        found = self._layers.get(layer_idx)
        if found is None:
            found = (self._empty(keys), self._empty(values))
            self._layers[layer_idx] = found
        for kept, new in zip(found, (keys, values), strict=True):
            kept.view(-1, *kept.shape[2:]).index_copy_(0, self._places, new[0].transpose(0, 1))
        return keys, values

    def _empty(self, like: Tensor) -> Tensor:
        return like.new_zeros(self._count, self._length, like.shape[1], like.shape[3])

    def get_seq_length(self, layer_idx: int = 0) -> int:  # transformers passes it
        """Always 0: positions are given to the network."""
        return 0

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """The attention of this step's tokens, [1, heads, tokens, size], as [1, tokens, heads, size]."""
        kept_keys, kept_values = self._layers[layer]
        found = []
        if self._decoding:
            many = query[0, :, : self._decoding].transpose(0, 1)
            found.append(self._attend_decoding(many, kept_keys, kept_values, scale))
        begin = self._decoding
        for piece in self._pieces:
            end = begin + piece.count
            asked = query[:, :, begin:end]
            if piece.start:
                keys = kept_keys[piece.slot : piece.slot + 1, : piece.start + piece.count]
                values = kept_values[piece.slot : piece.slot + 1, : piece.start + piece.count]
                out = _attend_piece(asked, keys.transpose(1, 2), values.transpose(1, 2), scale)
            else:
                out = _attend_piece(asked, key[:, :, begin:end], value[:, :, begin:end], scale)
            found.append(out)
            begin = end
        return (found[0] if len(found) == 1 else torch.cat(found))[None]

    def _attend_decoding(self, query: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
        """One query for each sequence, [sequences, heads, size]; heads of one group are its queries."""
        count, heads, size = query.shape
        shared = keys.shape[2]
        grouped = query.reshape(count, shared, heads // shared, size)
        out = scaled_dot_product_attention(
            grouped,
            keys[:count, : self._reach].transpose(1, 2),
            values[:count, : self._reach].transpose(1, 2),
            attn_mask=self._seen,
            scale=scale,
        )
        return out.reshape(count, heads, values.shape[3])


def _larger(kept: Tensor, count: int, room: int) -> Tensor:
    made = kept.new_zeros(count, room, *kept.shape[2:])
    made[: kept.shape[0], : kept.shape[1]] = kept
    return made


def _attend_piece(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """A part of a prompt attends to what is before it; returns [tokens, heads, size]."""
    count, before = query.shape[2], key.shape[2] - query.shape[2]
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = (one.repeat_interleave(groups, dim=1) for one in (key, value))
    seen = None
    if before and count > 1:
        seen = torch.ones(count, key.shape[2], dtype=torch.bool, device=query.device).tril(before)
    out = scaled_dot_product_attention(
        query, key, value, attn_mask=seen, is_causal=count > 1 and not before, scale=scale
    )
    return out[0].transpose(0, 1)


_current: list[Slots] = []
"""The slots of the step that is being computed: transformers passes no cache to an attention."""


def use(slots: Slots) -> None:
    """Let the attention of all networks of this process use these slots."""
    _current[:] = [slots]


def slot_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Any = None,  # noqa: ARG001  # the slots know what is seen
    scaling: float | None = None,
    **named: Any,
) -> tuple[Tensor, None]:
    """The attention that transformers calls. Raises `NotImplementedError` for one of another kind."""
    for name in ("softcap", "s_aux", "position_bias", "sliding_window"):
        if named.get(name) is not None:
            raise NotImplementedError(f"its attention has {name}")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return _current[0].attend(module.layer_idx, query, key, value, scale), None


def install(network: Any) -> None:
    """Let a network compute its attention here."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, slot_attention)
    network.set_attn_implementation(NAME)
