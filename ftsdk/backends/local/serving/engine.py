"""Answers many conversations at once: each step computes one token of every running answer.

A new conversation joins at the next step: its prompt is computed, in pieces, beside the tokens of the
answers that are being written. One that ends leaves its place to the next that waits.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from ftsdk.backends.local.serving.row_adapters import RowAdapters
from ftsdk.backends.local.serving.sampling import Sampler
from ftsdk.backends.local.serving.slots import Piece, Slots, install, use
from ftsdk.backends.local.text_pieces import TextPieces

_PROMPT_TOKENS = 512
"""How many tokens of prompts a step computes at most: running answers wait for them."""
Reason = Literal["stop", "length", "cancelled", "timeout"]


@dataclass(eq=False)
class Conversation:
    """One conversation that is being answered."""

    id: int
    prompt: Sequence[int]
    adapter: str | None
    sampler: Sampler
    pieces: TextPieces
    stops: frozenset[int]
    max_tokens: int
    deadline: float | None = None
    tokens: list[int] = field(default_factory=list)
    done: int = 0
    """Tokens whose keys and values are kept."""

    @property
    def room(self) -> int:
        """The tokens that the whole conversation may have in the end."""
        return len(self.prompt) + self.max_tokens


@dataclass(frozen=True)
class Progress:
    """What a step gave one conversation: new text, and at its end the reason."""

    sequence: Conversation
    text: str
    reason: Reason | None = None


@dataclass(frozen=True)
class EngineLimits:
    """At most `rows` answers at once, whose places have `tokens` tokens in all."""

    rows: int = 32
    tokens: int = 131_072


class Engine:
    """One network, its adapters, and the conversations that it answers."""

    def __init__(
        self,
        network: Any,
        device: torch.device,
        limits: EngineLimits,
        now: Callable[[], float],
    ) -> None:
        self.network, self.limits = network, limits
        self.adapters = RowAdapters(network)
        self._device, self._now = device, now
        self._slots = Slots(device)
        self._waiting: deque[Conversation] = deque()
        self._running: list[Conversation] = []
        self._filling: Conversation | None = None
        self._cancelled: set[int] = set()
        install(network)
        accepted = inspect.signature(network.forward).parameters
        self._cache_name = "cache" if "cache" in accepted else "past_key_values"

    # --- conversations ---

    def add(self, sequence: Conversation) -> None:
        """Let a conversation wait for its turn."""
        self._waiting.append(sequence)

    def cancel(self, identity: int) -> None:
        """End a conversation at the next step; one that is not here is ignored."""
        self._cancelled.add(identity)

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs or waits."""
        return not self._running and not self._waiting and self._filling is None

    @property
    def in_use(self) -> frozenset[str]:
        """The adapters of all conversations here."""
        return frozenset(one.adapter for one in self._all() if one.adapter is not None)

    def _all(self) -> Iterator[Conversation]:
        yield from self._running
        yield from self._waiting
        if self._filling is not None:
            yield self._filling

    # --- one step ---

    @torch.inference_mode()
    def step(self) -> list[Progress]:
        """Compute one token of every running answer, and pieces of prompts; returns what is new."""
        found = self._swept()
        answered, scores = self._advance()
        found += self._chosen(answered, scores)
        self._remove_ended([one.sequence for one in found if one.reason is not None])
        if self.is_idle:
            self._slots.clear()
        return found

    @torch.inference_mode()
    def forced(self, tokens: Sequence[int]) -> torch.Tensor:
        """The logits of a step after which these tokens follow, whatever is likeliest."""
        answered, scores = self._advance()
        for sequence, token in zip(answered, tokens, strict=True):
            sequence.tokens.append(token)
        return scores

    def _advance(self) -> tuple[list[Conversation], torch.Tensor]:
        """Compute a step; returns the conversations that get a token, and its logits."""
        filling = self._fill()
        decoding = list(self._running)
        if not decoding and not filling:
            return [], torch.empty(0, 1)
        scores = self._computed(decoding, filling)
        answered = [*decoding]
        for sequence, piece in filling:
            sequence.done += piece.count
            if sequence.done == len(sequence.prompt):
                self._running.append(sequence)
                self._filling = None if sequence is self._filling else self._filling
                answered.append(sequence)
        for sequence in decoding:
            sequence.done += 1
        return answered, scores

    def _swept(self) -> list[Progress]:
        """End what was cancelled and what took too long."""
        now, found = self._now(), []
        for one in list(self._all()):
            reason: Reason | None = None
            if one.id in self._cancelled:
                reason = "cancelled"
            elif one.deadline is not None and now > one.deadline:
                reason = "timeout"
            if reason is not None:
                found.append(Progress(one, "", reason))
        self._cancelled.clear()
        ended = [one.sequence for one in found]
        self._waiting = deque(one for one in self._waiting if one not in ended)
        if self._filling in ended:
            self._filling = None
        self._remove_ended(ended)
        return found

    def _fill(self) -> list[tuple[Conversation, Piece]]:
        """The pieces of prompts for this step; the last of them may be one that is not yet whole."""
        found: list[tuple[Conversation, Piece]] = []
        left, slot = _PROMPT_TOKENS, len(self._running)
        while left > 0:
            sequence = self._filling if self._filling is not None and not found else None
            if sequence is None:
                if not self._waiting or not self._fits(self._waiting[0], slot):
                    break
                sequence = self._waiting.popleft()
            count = min(left, len(sequence.prompt) - sequence.done)
            found.append((sequence, Piece(slot, sequence.done, count)))
            left -= count
            slot += 1
            self._filling = None if sequence.done + count == len(sequence.prompt) else sequence
        return found

    def _fits(self, sequence: Conversation, slot: int) -> bool:
        """Whether there is a place: all places are as long as the longest conversation may get."""
        if slot == 0:
            return True
        if slot >= self.limits.rows:
            return False
        longest = max([sequence.room, *(one.room for one in self._running)])
        return (slot + 1) * longest <= self.limits.tokens

    def _computed(
        self, decoding: Sequence[Conversation], filling: Sequence[tuple[Conversation, Piece]]
    ) -> torch.Tensor:
        """The logits of the next token of each running answer, and of each prompt that is whole."""
        tokens = [one.tokens[-1] for one in decoding]
        places = [one.done for one in decoding]
        owners: list[str | None] = [one.adapter for one in decoding]
        wanted = list(range(len(decoding)))
        for sequence, piece in filling:
            end = piece.start + piece.count
            tokens.extend(sequence.prompt[piece.start : end])
            places.extend(range(piece.start, end))
            owners.extend([sequence.adapter] * piece.count)
            if end == len(sequence.prompt):
                wanted.append(len(tokens) - 1)
        self._slots.begin([one.done for one in decoding], [piece for _, piece in filling])
        self.adapters.use(owners, self._device)
        use(self._slots)
        made = self.network(
            input_ids=torch.tensor([tokens], device=self._device),
            position_ids=torch.tensor([places], device=self._device),
            use_cache=True,
            logits_to_keep=torch.tensor(wanted, dtype=torch.long, device=self._device),
            **{self._cache_name: self._slots},
        )
        logits: torch.Tensor = made.logits[0]
        return logits

    def _chosen(self, answered: Sequence[Conversation], scores: torch.Tensor) -> list[Progress]:
        likeliest = scores.argmax(dim=-1).tolist() if len(answered) else []
        found = []
        for number, sequence in enumerate(answered):
            if sequence.sampler.is_plain:
                token = int(likeliest[number])
            else:
                before = [*sequence.prompt, *sequence.tokens]
                token = sequence.sampler.choose(scores[number], before)
            sequence.tokens.append(token)
            found.append(_progress(sequence, token))
        return found

    def _remove_ended(self, ended: Sequence[Conversation]) -> None:
        """Close the gaps: the first places are those of running answers."""
        for sequence in ended:
            if sequence not in self._running:
                continue
            place, last = self._running.index(sequence), len(self._running) - 1
            if place != last:
                moved = self._running[last]
                self._slots.move(last, place, moved.done)
                self._running[place] = moved
            self._running.pop()
            if self._filling is not None and self._filling.done:
                self._slots.move(last + 1, last, self._filling.done)


def _progress(sequence: Conversation, token: int) -> Progress:
    if token in sequence.stops:
        return Progress(sequence, sequence.pieces.end(), "stop")
    text = sequence.pieces.add(token)
    if sequence.pieces.is_stopped:
        return Progress(sequence, text, "stop")
    if len(sequence.tokens) >= sequence.max_tokens:
        return Progress(sequence, text + sequence.pieces.end(), "length")
    return Progress(sequence, text)
