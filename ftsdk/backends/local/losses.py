"""The loss of a model on this machine on the last answer of each row, and the hash of its tokenizer."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from ftsdk.backends.answer_losses import AnswerLoss
from ftsdk.backends.local.inference import using_model
from ftsdk.backends.local.local_model import LocalModel, base_folder
from ftsdk.dataset.tokenize.render import Rendered, RowFault, render_parts
from ftsdk.errors import NotFound

_FILE = "tokenizer.json"
_DECIDES = ("added_tokens", "normalizer", "pre_tokenizer", "model")
"""The parts of a tokenizer that decide which tokens a text becomes."""


def answer_losses(
    folder: Path, rows: Iterable[Mapping[str, Any]], *, tuned: bool = True
) -> Iterator[AnswerLoss | None]:
    """Yield the loss of each row's last answer, in nats per token, with the token that ends it.

    None for a row without an answer, one that the chat template refuses, and one that is longer than
    the model's context. Raises what `load_model` raises.
    """
    for row in rows:
        with using_model(folder, tuned=tuned) as model:
            yield _loss(model, row)


def _loss(model: LocalModel, row: Mapping[str, Any]) -> AnswerLoss | None:
    try:
        parts = render_parts(_last_alone(row), model.tokenizer)
    except RowFault:
        return None
    counted = [part for part in parts if part.trained_count]
    if not counted or any(len(part) > model.context for part in counted):
        return None
    sums = [_sum(model, part) for part in counted]
    tokens = sum(part.trained_count for part in counted)
    return AnswerLoss(sum(sums) / tokens, tokens)


def _last_alone(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row with the loss on its last message alone; without an answer there, on nothing."""
    messages = [dict(one) for one in row.get("messages", ())]
    for place, message in enumerate(messages):
        if message.get("role") == "assistant":
            message["weight"] = int(place == len(messages) - 1)
    return {**row, "messages": messages}


def _sum(model: LocalModel, part: Rendered) -> float:
    """Return the summed loss of the tokens that are counted; each is predicted from those before."""
    import torch

    ids = torch.tensor([list(part.ids)], device=model.hardware.device)
    wanted = [k for k in range(1, len(part)) if part.trained[k]]
    with torch.inference_mode():
        logits = model.network(input_ids=ids, use_cache=False).logits[0]
    chosen = logits[torch.tensor(wanted, device=logits.device) - 1].float()
    targets = ids[0, torch.tensor(wanted, device=ids.device)]
    losses = torch.nn.functional.cross_entropy(chosen, targets, reduction="sum")
    return float(losses)


def tokenizer_hash(folder: Path, *, tuned: bool = True) -> str:
    """Return the SHA-256 of what decides the tokens of a text. Raises `NotFound` without a tokenizer."""
    path = folder / _FILE
    if not tuned or not path.is_file():
        path = base_folder(folder) / _FILE
    try:
        found = orjson.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise NotFound(
            "The model has no tokenizer file", where=str(path), hint="train it again"
        ) from error
    parts = {name: found.get(name) for name in _DECIDES}
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()
