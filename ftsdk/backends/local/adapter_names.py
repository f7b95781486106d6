"""What an adapter is called in plans, logs and results."""

from __future__ import annotations

from ftsdk.types.spec import LoRA


def variant_of(adapter: LoRA) -> str:
    """The name of this kind of LoRA."""
    if not (adapter.use_dora or adapter.use_rslora):
        return "QLoRA" if adapter.quantize else "LoRA"
    plain = "DoRA" if adapter.use_dora else "LoRA"
    kind = f"rank-stabilized {plain}" if adapter.use_rslora else plain
    return f"{kind} on an NF4 base" if adapter.quantize else kind


def beside_of(adapter: LoRA, tokens: int) -> str:
    """What is trained beside the adapter, as the end of a sentence; empty for nothing."""
    whole = [f"{name} whole" for name in adapter.modules_to_save]
    rows = [f"{tokens} rows of the embedding" if tokens > 1 else "1 row of the embedding"]
    return "".join(f", and {one}" for one in [*whole, *(rows if tokens else [])])
