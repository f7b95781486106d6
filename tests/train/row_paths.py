"""How the rows of each architecture go through our trainer, measured against plain transformers.

`python -m tests.train.row_paths` measures all of them and writes the table that `plan` and the
documentation read (`RECORD`); with names, it only prints those.
"""

from __future__ import annotations

import inspect
import json
import random
import sys
import tempfile
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ftsdk.backends.local.models.row_paths import RECORD
from tests.train import architectures, tiny

LENGTHS = (31, 7, 2, 18, 7)
"""Rows of one step, in tokens: some are longer than every window, and none is a multiple of it."""


@dataclass(frozen=True)
class Measured:
    """The path of one architecture's rows, and how far its step is from that of plain transformers.

    `loss_error` is relative to the loss and `gradient_error` to the norm of the whole gradient;
    `worst_error` is that of the worst weight. They are 0 where nothing was computed.
    """

    path: str
    reason: str = ""
    loss_error: float = 0.0
    gradient_error: float = 0.0
    worst_error: float = 0.0
    fixed_positions: bool = False

    @property
    def equal(self) -> bool:
        """True when the errors are those of rounding in float32."""
        return self.loss_error < 1e-5 and self.gradient_error < 1e-4 and self.worst_error < 1e-3


def measure(name: str, folder: Path) -> Measured:
    """Write the model into `folder`, and compare one step of full fine-tuning with transformers."""
    import torch

    from ftsdk.backends.local.compute.hardware import choose_hardware
    from ftsdk.backends.local.training.batches import micro_batches
    from ftsdk.backends.local.training.model import load_for_training
    from ftsdk.backends.local.training.outcome import Failed
    from ftsdk.backends.local.training.row_path import BatchSize, position_limit

    try:
        architectures.write(name, folder)
    except architectures.CannotBuild as error:
        return Measured("not measured", str(error))
    spec = tiny.spec(folder, adapter=None, options={"dtype": "float32", "device": "cpu"})
    hardware = choose_hardware("cpu", "float32", 1)
    torch.manual_seed(0)
    try:
        model = load_for_training(spec, hardware, BatchSize.of(LENGTHS, 8, 2048))
    except Failed as error:
        return Measured("refused", str(error))
    rows = _rows(int(model.network.config.get_text_config().vocab_size))
    loss = 0.0
    most = 8 if model.path.together else 1
    for micro in micro_batches(rows, most, 2048, padded=model.path.padded):
        part = model.loss_sum(model.batch(micro))
        part.backward()
        loss += float(part.detach())
    plain = _plain_network(folder)
    expected = _plain_step(plain, rows)
    errors = _gradient_errors(model.owner, plain)
    fixed = position_limit(model.network) is not None
    return Measured(
        model.path.way, model.path.reason, abs(loss - expected) / abs(expected), *errors, fixed
    )


def _rows(vocabulary: int) -> list[Any]:
    from ftsdk.dataset.tokenize.render import Rendered

    source = random.Random(3)
    return [
        Rendered(
            array("i", [source.randrange(3, vocabulary) for _ in range(length)]),
            bytes(int(k > length // 3) for k in range(length)),
        )
        for length in LENGTHS
    ]


def _plain_network(folder: Path) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).train()


def _plain_step(network: Any, rows: Sequence[Any]) -> float:
    """Forward and backward as transformers computes it: each row alone, all logits, labels of -100."""
    import torch

    known = inspect.signature(network.forward).parameters
    total = 0.0
    for row in rows:
        ids = torch.tensor([list(row.ids)])
        labels = torch.tensor([i if row.trained[k] else -100 for k, i in enumerate(row.ids)])
        cache = {"use_cache": False} if "use_cache" in known else {}
        logits = network(input_ids=ids, **cache).logits[0].float()
        loss = torch.nn.functional.cross_entropy(logits[:-1], labels[1:], reduction="sum")
        loss.backward()
        total += float(loss.detach())
    return total


def _gradient_errors(ours: Any, plain: Any) -> tuple[float, float]:
    """The error of the whole gradient and of the worst weight, each relative to its norm."""
    mine = {name: p.grad for name, p in ours.named_parameters() if p.grad is not None}
    theirs = {name: p.grad for name, p in plain.named_parameters() if p.grad is not None}
    assert mine.keys() == theirs.keys()
    whole = sum(float(g.double().pow(2).sum()) for g in theirs.values()) ** 0.5
    errors = {name: float((mine[name] - g).double().norm()) for name, g in theirs.items()}
    worst = max(e / (float(theirs[name].norm()) + 1e-4 * whole) for name, e in errors.items())
    return sum(e * e for e in errors.values()) ** 0.5 / whole, worst


def _entry(measured: Measured) -> dict[str, Any]:
    entry: dict[str, Any] = {"path": measured.path}
    if measured.reason:
        entry["reason"] = measured.reason
    if measured.fixed_positions:
        entry["fixed_positions"] = True
    return entry


def main(names: Sequence[str]) -> int:
    """Measure the architectures, all of them without names; print them, and write the table of all."""
    found = {}
    for name in names or architectures.names():
        with tempfile.TemporaryDirectory() as folder:
            found[name] = measure(name, Path(folder))
        print(f"{name:40} {found[name]}", flush=True)
    wrong = [name for name, measured in found.items() if not measured.equal]
    if wrong:
        print(f"not equal: {', '.join(wrong)}")
        return 1
    if not names:
        entries = {name: _entry(measured) for name, measured in found.items()}
        record = {"transformers": version("transformers"), "architectures": entries}
        RECORD.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
