"""Which models can be tuned on which card: `python -m tests.train.hardware_table` writes the record.

The documentation is generated from it. Each cell is a plan of the real architecture in bf16, for 8 rows
of 1,024 tokens a step and an adapter of rank 16.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

CARDS_GB = (8, 12, 16, 24, 48, 80)
RECORD = Path(__file__).resolve().parents[2] / "docs" / "hardware.json"


def cell(config: dict[str, Any], quantize: str | None, card_gb: int) -> dict[str, Any]:
    """The plan of one model on one card: whether it fits, its peak, and how."""
    import torch
    from transformers import AutoConfig

    from ftsdk.backends.local.training.footprint.asked import Asked
    from ftsdk.backends.local.training.footprint.device_room import card_of
    from ftsdk.backends.local.training.footprint.program import plan_memory
    from ftsdk.types.spec import LoRA

    adapter = LoRA(rank=16, quantize=quantize)
    room = card_of(card_gb * 10**9)
    asked = Asked(1024, 8)
    plan = plan_memory(
        AutoConfig.for_model(**config), adapter, asked, torch.bfloat16, room, advise=False
    )
    assert plan.unknown is None, plan.unknown
    return {
        "fits": plan.fits,
        "peak_bytes": plan.peak_bytes,
        "tokens": plan.tokens_at_once,
        "checkpointing": plan.gradient_checkpointing,
        "offloaded": plan.offload_activations,
    }


def main() -> None:
    from ftsdk.backends.local.models.known_sizes import KNOWN_SIZES

    found: dict[str, Any] = {}
    for size in KNOWN_SIZES:
        for name, quantize in (("QLoRA", "nf4"), ("LoRA", None)):
            cells = {str(card): cell(dict(size.config), quantize, card) for card in CARDS_GB}
            found.setdefault(size.hub_id, {})[name] = cells
            print(size.hub_id, name, cells, flush=True)
    record = {"torch": version("torch"), "transformers": version("transformers"), "models": found}
    RECORD.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
