"""The conversations on which an export is compared with the trained model.

The answers are greedy. Two correct programs may still differ where two tokens are almost equally
likely, because they add in another order. So the first difference is measured by the reference's
margin there: how much likelier its token was than the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ftsdk.dataset.tokenize.chat_template import ChatTokenizer
from ftsdk.dataset.tokenize.render import render_prompt, stop_ids
from ftsdk.types.export import Agreement

ANSWER_TOKENS = 32
EXACT_MARGIN = 0.02
"""Nats within which float32 and float16 may differ; both orders of an addition are right there."""
COARSE_MARGIN = 1.0
"""Nats within which bf16 and 8 bits may differ."""

PROMPTS = (
    "What is the capital of France?",
    "Write one sentence about the sea.",
    "A shirt costs 25 dollars and is reduced by 20 percent. What does it cost?",
    "Translate to Spanish: good morning",
    "List three fruits.",
    "Who wrote Faust?",
    "Explain in one sentence why the sky is blue.",
    "def add(a, b):\n    # finish this function",
    "Say hello in Japanese.",
    "Is 17 a prime number? Answer yes or no.",
    "Summarize: The meeting was moved from Monday to Thursday because two people were ill.",
    "What comes next: 2, 4, 8, 16,",
    "Give a synonym of quick.",
    "Which is heavier, a kilogram of iron or of feathers?",
    "Name the largest planet.",
    "Finish the sentence: Early in the morning",
)
"""Short and different; a fine-tune answers them in its own way, and so must its export."""

TEXTS = (
    "In 1984 there were 1,234,567 of them, 3.14159 each.",
    "  two spaces,\ttabs\n\n\nand   lines   ",
    "👩‍👩‍👧 👍🏽 🇫🇷 — “quotes” … ½ ﬁ",
    "你好，世界。こんにちは 안녕하세요",
    "for (int i = 0; i < n; ++i) { a[i] += b[i]; }  // sum",
    "Ünïcödé ß æ ø İstanbul Ελλάδα Привет",
    "don't WE'LL I'm they've x'y",
)
"""What tokenizers disagree about: digits, spaces, emoji, CJK, code, accents, apostrophes."""


@dataclass(frozen=True)
class ReferenceAnswer:
    """A prompt, the reference's greedy answer, and its margin at each token, in nats."""

    prompt: tuple[int, ...]
    tokens: tuple[int, ...]
    margins: tuple[float, ...]


def prompts_of(tokenizer: ChatTokenizer, count: int) -> list[list[int]]:
    """The first `count` prompts as the chat template writes them, up to the answer."""
    asked = PROMPTS[:count]
    return [render_prompt([{"role": "user", "content": text}], tokenizer) for text in asked]


def stops_of(tokenizer: ChatTokenizer, network: Any) -> list[int]:
    """The tokens that end an answer: of the template, and of the model's own settings."""
    ends = getattr(network.generation_config, "eos_token_id", None)
    listed = ends if isinstance(ends, list) else [] if ends is None else [ends]
    return sorted({*stop_ids(tokenizer), *listed})


def greedy(
    network: Any, prompts: Sequence[Sequence[int]], stops: Sequence[int]
) -> list[ReferenceAnswer]:
    """Answer the prompts, at each step with the likeliest token; at once where that is the same.

    A model whose answer to the shortest prompt is another one beside the longer ones answers one
    prompt at a time.
    """
    order = sorted(prompts, key=len)
    if len(order) > 1:
        together = _generate(network, prompts, stops)
        shortest = together[list(prompts).index(order[0])]
        [alone] = _generate(network, [order[0]], stops)
        if compare([alone], [shortest.tokens], runtime="", allowed=EXACT_MARGIN).ok:
            return together
    return [answer for prompt in prompts for answer in _generate(network, [prompt], stops)]


def _generate(
    network: Any, prompts: Sequence[Sequence[int]], stops: Sequence[int]
) -> list[ReferenceAnswer]:
    import torch
    from transformers import GenerationConfig

    settings = GenerationConfig(  # type: ignore[no-untyped-call]  # theirs
        max_new_tokens=ANSWER_TOKENS,
        do_sample=False,
        eos_token_id=list(stops) or None,
        pad_token_id=stops[0] if stops else 0,
        return_dict_in_generate=True,
        output_logits=True,
    )
    longest = max(len(prompt) for prompt in prompts)
    ids = torch.full((len(prompts), longest), stops[0] if stops else 0)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):  # padded on the left: all answers begin at one place
        ids[row, longest - len(prompt) :] = torch.tensor(list(prompt))
        mask[row, longest - len(prompt) :] = 1
    with torch.inference_mode():
        output = network.generate(
            input_ids=ids.to(network.device),
            attention_mask=mask.to(network.device),
            generation_config=settings,
        )
    best = torch.stack([step.float() for step in output.logits]).topk(2).values
    margins = (best[..., 0] - best[..., 1]).T.tolist()
    tails = output.sequences[:, longest:].tolist()
    return [
        _until_stop(prompt, tail, margin, stops)
        for prompt, tail, margin in zip(prompts, tails, margins, strict=True)
    ]


def _until_stop(
    prompt: Sequence[int], tokens: Sequence[int], margins: Sequence[float], stops: Sequence[int]
) -> ReferenceAnswer:
    """The answer up to its first stop, which is part of it; what follows only fills the batch."""
    end = next((k + 1 for k, token in enumerate(tokens) if token in stops), len(tokens))
    return ReferenceAnswer(tuple(prompt), tuple(tokens[:end]), tuple(margins[:end]))


def compare(
    reference: Sequence[ReferenceAnswer],
    answers: Sequence[Sequence[int]],
    *,
    runtime: str,
    allowed: float | None,
    tokenization_checked: bool = False,
) -> Agreement:
    """How these answers agree with the reference's, which have the same prompts."""
    differences = [
        margin
        for expected, found in zip(reference, answers, strict=True)
        if (margin := _margin_at_difference(expected, found)) is not None
    ]
    return Agreement(
        runtime=runtime,
        probes=len(reference),
        same=len(reference) - len(differences),
        surest_difference=round(max(differences, default=0.0), 4),
        allowed=allowed,
        tokenization_checked=tokenization_checked,
    )


def _margin_at_difference(expected: ReferenceAnswer, found: Sequence[int]) -> float | None:
    """The reference's margin at the first token that differs; None for equal answers."""
    for place, token in enumerate(expected.tokens):
        if place >= len(found) or found[place] != token:
            return expected.margins[place]
    return None
