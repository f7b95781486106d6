"""What plain transformers computes, to compare with."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any


def plain_loss(network: Any, result: Path, data: Path) -> float:
    """The loss of the rows in `data`, each alone with all its logits, in nats per trained token.

    `result` is the folder of the result, with its tokenizer and its `ftsdk.json`.
    """
    import torch

    from ftsdk.backends.local.runs.run_dir import RunDir
    from ftsdk.backends.local.training.encode_rows import load_rows
    from ftsdk.dataset.tokenize.chat_template import ChatTokenizer

    plain = network.get_base_model() if hasattr(network, "get_base_model") else network
    known = inspect.signature(plain.forward).parameters
    cache = {"use_cache": False} if "use_cache" in known else {}
    now = RunDir(result.parent).spec.created_at
    tokenizer = ChatTokenizer.from_folder(result, now=now)
    rows = load_rows(data, tokenizer, max_length=1024, truncate=False)
    total = 0.0
    for row in rows:
        labels = torch.tensor([i if row.trained[k] else -100 for k, i in enumerate(row.ids)])
        with torch.no_grad():
            logits = network(input_ids=torch.tensor([list(row.ids)]), **cache).logits[0].float()
        total += float(torch.nn.functional.cross_entropy(logits[:-1], labels[1:], reduction="sum"))
    return total / sum(row.trained_count for row in rows)


def facts_of(result: Path) -> dict[str, Any]:
    """The content of a result's `ftsdk.json`."""
    found: dict[str, Any] = json.loads((result / "ftsdk.json").read_bytes())
    return found
