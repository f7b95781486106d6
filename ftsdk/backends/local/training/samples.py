"""What the model answers to a few prompts while it trains: greedy, short, and without a trace.

Answers are computed as rows are: the prompt and what was written so far, laid through the model
again for each token. That needs no cache of its own, and is right for every model that trains.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import Any

from ftsdk.backends.local.options import RunOptions
from ftsdk.backends.local.runs.events import EventWriter
from ftsdk.backends.local.training.batches import PackedBatch, RowOrder
from ftsdk.backends.local.training.forward import evaluating, next_token_logits
from ftsdk.backends.local.training.group import SINGLE, Group
from ftsdk.backends.local.training.model import LoadedModel
from ftsdk.backends.local.training.outcome import Failed
from ftsdk.backends.local.training.row_path import position_limit, rope_limit
from ftsdk.backends.local.training.stop import StopRequests
from ftsdk.dataset.tokenize.chat_template import ChatTokenizer, TemplateFailed
from ftsdk.dataset.tokenize.render import Rendered, render_prompt, stop_ids


class Samples:
    """Answers the prompts of a run, and reports the answers as events."""

    def __init__(
        self,
        options: RunOptions,
        model: LoadedModel,
        tokenizer: ChatTokenizer,
        events: EventWriter,
        stop: StopRequests,
        group: Group = SINGLE,
    ) -> None:
        self._group = group
        self._model, self._tokenizer, self._events, self._stop = model, tokenizer, events, stop
        self._max_tokens, self._every = options.sample_tokens, options.sample_every_steps
        self._longest = _most_tokens(model.network) if options.sample_prompts else 0
        self._prompts = [(text, self._rendered(text)) for text in options.sample_prompts]
        self._stops = stop_ids(tokenizer) if self._prompts else frozenset[int]()

    def take_if_due(self, step: int, order: RowOrder) -> None:
        """Answer before the first step, every so many steps or each epoch, and after the last."""
        due = step % self._every == 0 if self._every else order.ends_epoch(step)
        if self._prompts and (due or step == order.total_steps):
            self.take(step)

    def take(self, step: int) -> None:
        """Answer each prompt with the weights of this step. Raises `Stopped`.

        The random state is what it was, so training goes on as if nothing was asked.
        """
        import torch

        device = self._model.device
        devices = [device] if device.type == "cuda" else []
        for text, prompt in self._prompts:
            with torch.random.fork_rng(devices=devices), evaluating(self._model.network):
                ids = list(self._answer(prompt))
            shown = [one for one in ids if one not in self._tokenizer.special_ids]
            answer = self._tokenizer.decode(shown)
            cut = ids[-1] not in self._stops
            self._events.write(
                "log",
                message=f"step {step}  {text[:60]!r} → {answer[:200]!r}",
                step=step,
                sample={"prompt": text, "answer": answer, "tokens": len(ids), "cut": cut},
            )

    def _answer(self, prompt: Sequence[int]) -> Iterator[int]:
        """Yield the most likely tokens after the prompt, up to one that ends the answer."""
        ids = list(prompt)
        for _ in range(min(self._max_tokens, self._longest - len(ids) - 1)):
            self._stop.check()
            ids.append(self._next(ids))
            yield ids[-1]
            if ids[-1] in self._stops:
                return

    def _next(self, ids: Sequence[int]) -> int:
        # The last token is only the target of a loss that is not computed.
        trained = bytes([*([0] * len(ids)), 1])
        row = Rendered(array("i", [*ids, ids[-1]]), trained)
        batch = PackedBatch.of([row], self._model.device)
        chosen = int(next_token_logits(self._model.network, batch)[0].argmax())
        return int(self._group.broadcast(chosen))

    def _rendered(self, text: str) -> list[int]:
        try:
            ids = render_prompt([{"role": "user", "content": text}], self._tokenizer)
        except TemplateFailed as error:
            raise _refused(text, f"the chat template refuses it: {error}") from error
        if len(ids) + 2 > self._longest:
            raise _refused(text, f"it has {len(ids)} tokens, and the model takes {self._longest}")
        return ids


def _refused(text: str, why: str) -> Failed:
    message = f"sample_prompts: {text[:60]!r}: {why}."
    return Failed(message, "unsupported", "shorten this prompt, or leave it out")


def _most_tokens(network: Any) -> int:
    """The longest row that changes nothing about the model: some keep frequencies for longer ones."""
    config = network.config.get_text_config()
    limits = [position_limit(network), getattr(config, "max_position_embeddings", None)]
    limits += [rope_limit(network, kind) for kind in ("dynamic", "longrope")]
    return min((limit for limit in limits if limit), default=1 << 20)
