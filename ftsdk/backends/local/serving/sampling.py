"""The next token of a sequence: the likeliest, or drawn as transformers' own generation draws it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_USUAL_TOP_K = 50  # of transformers, where a model names none
_OTHERS = {
    "num_beams": (1,), "no_repeat_ngram_size": (0,), "min_length": (0,), "min_new_tokens": (0,),
    "min_p": (), "typical_p": (1.0,), "top_h": (), "epsilon_cutoff": (0.0,), "eta_cutoff": (0.0,),
    "suppress_tokens": (), "begin_suppress_tokens": (), "bad_words_ids": (), "sequence_bias": (),
    "forced_bos_token_id": (), "forced_eos_token_id": (), "guidance_scale": (1.0,),
    "exponential_decay_length_penalty": (), "watermarking_config": (),
}  # fmt: skip
"""Settings of a model's generation that are not computed here, and their values that change nothing."""


def unusual_settings(generation_config: Any) -> list[str]:
    """The settings of a model's generation that `Sampler` does not know."""
    given = {} if generation_config is None else generation_config.to_dict()
    return sorted(name for name, usual in _OTHERS.items() if given.get(name) not in (None, *usual))


@dataclass(frozen=True)
class Sampling:
    """How the tokens of one answer are chosen; greedy at temperature 0."""

    temperature: float = 0.0
    top_p: float | None = None
    seed: int | None = None


class Sampler:
    """Chooses the tokens of one answer, one by one.

    A seed gives the same answer whatever else is in the batch: each answer has a generator of its own.
    """

    def __init__(
        self, sampling: Sampling, defaults: Mapping[str, Any], device: torch.device
    ) -> None:
        self.is_greedy = sampling.temperature == 0
        self._temperature = sampling.temperature
        top_p, top_k = sampling.top_p, defaults.get("top_k")
        self._top_p = float(defaults.get("top_p") or 1.0) if top_p is None else top_p
        self._top_k = int(_USUAL_TOP_K if top_k is None else top_k)
        self._penalty = float(defaults.get("repetition_penalty") or 1.0)
        self._generator: torch.Generator | None = None
        if not self.is_greedy:
            self._generator = torch.Generator(device)
            if sampling.seed is None:
                self._generator.seed()
            else:
                self._generator.manual_seed(sampling.seed)

    @property
    def is_plain(self) -> bool:
        """Whether the likeliest token is taken as it is, whatever came before."""
        return self.is_greedy and self._penalty == 1.0

    def choose(self, logits: Tensor, before: Sequence[int]) -> int:
        """The next token from its logits [vocabulary] and all tokens before it."""
        scores = logits.float()[None]
        if self._penalty != 1.0:
            scores = self._penalized(scores, before)
        if self.is_greedy:
            return int(scores.argmax())
        scores = scores / self._temperature
        if self._top_k:
            least = torch.topk(scores, min(self._top_k, scores.shape[-1])).values[..., -1, None]
            scores = scores.masked_fill(scores < least, float("-inf"))
        if self._top_p < 1.0:
            scores = _nucleus(scores, self._top_p)
        chances = torch.softmax(scores, dim=-1)
        return int(torch.multinomial(chances, 1, generator=self._generator))

    def _penalized(self, scores: Tensor, before: Sequence[int]) -> Tensor:
        seen = torch.tensor(sorted(set(before)), device=scores.device)[None]
        own = scores.gather(1, seen)
        own = torch.where(own < 0, own * self._penalty, own / self._penalty)
        return scores.scatter(1, seen, own)


def _nucleus(scores: Tensor, share: float) -> Tensor:
    """Leave the likeliest tokens that together have this share."""
    ordered, places = torch.sort(scores, descending=False)
    out = ordered.softmax(dim=-1).cumsum(dim=-1) <= (1 - share)
    out[..., -1:] = False
    return scores.masked_fill(out.scatter(1, places, out), float("-inf"))
