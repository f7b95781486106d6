"""The trained model in float32: loaded by plain transformers and peft, and merged into one model.

No code of the trainer takes part, so that what is compared later is what others will load.
"""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from ftsdk.backends.local.compute.adapters import grow_embedding
from ftsdk.backends.local.compute.base_model import load_base
from ftsdk.backends.local.compute.hardware import choose_hardware
from ftsdk.exporting.source import ExportSource
from ftsdk.types.export import MergeLoss

_ADAPTER = "default"


def load_reference(source: ExportSource, *, onto_trained: bool = False) -> Any:
    """The model in float32 on the CPU, with its adapter beside the base where it has one.

    With `onto_trained` the base is the one that training saw: packed to 4 bits and unpacked again.
    Raises what transformers and peft raise.
    """
    if source.base is None:
        return load_plain(source.folder)
    packed = source.quantized if onto_trained else None
    base = load_plain(source.base) if packed is None else _unpacked(source.base, packed)
    grow_embedding(base, source.embedding_rows)
    return with_adapter(base, source.folder)


def load_plain(folder: Path) -> Any:
    """The causal language model in `folder`, in float32 on the CPU, without adapters."""
    from transformers import AutoModelForCausalLM

    network: Any = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=torch.float32,
        trust_remote_code=False,
        use_safetensors=True,
        local_files_only=True,
    )
    return network.eval()


def with_adapter(base: Any, folder: Path) -> Any:
    """Put the adapter in `folder` on the base, as peft does it; returns the peft model."""
    from peft import PeftModel

    with warnings.catch_warnings():
        # peft looks for the rank patterns of experts among modules only, and then applies them.
        warnings.filterwarnings("ignore", ".*_pattern keys did not match", RuntimeWarning)
        owner = PeftModel.from_pretrained(
            base,
            str(folder),
            adapter_name=_ADAPTER,
            autocast_adapter_dtype=True,
            torch_device="cpu",
        )
    return owner.float().eval()


def _unpacked(folder: Path, quantize: str) -> Any:
    network = load_base(folder, choose_hardware("cpu", "bfloat16"), quantize)
    return network.dequantize().float().eval()


Rounded = Callable[[torch.Tensor], torch.Tensor]
"""What a weight is after it was stored and read again, in float32."""


def merge(owner: Any, rounded: Rounded) -> tuple[Any, MergeLoss | None]:
    """Add the adapter to the base's weights, in float32.

    Returns the plain model, still in float32, and what storing it loses of the change. The
    adapter is used up. Each layer is merged by itself, so that only one copy of a weight is held.
    """
    if not hasattr(owner, "merge_and_unload"):
        return owner, None
    losses = []
    for layer in _adapted_layers(owner):
        weight = layer.get_base_layer().weight
        before = weight.detach().clone()
        layer.merge(adapter_names=[_ADAPTER])
        losses.append(_lost(before, layer.get_base_layer().weight.detach(), rounded))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*[Aa]lready.*merged.*")
        merged = owner.merge_and_unload()
    found = [loss for loss in losses if loss is not None]
    if not found:
        return merged, None
    return merged, MergeLoss(median=statistics.median(found), largest=max(found), layers=len(found))


def _adapted_layers(owner: Any) -> Iterator[Any]:
    """Yield the layers with a LoRA on one weight; stacked experts and token rows merge with the rest."""
    from peft.tuners.lora import LoraLayer

    for module in owner.modules():
        if isinstance(module, LoraLayer) and type(module).__name__ != "ParamWrapper":
            base = module.get_base_layer()
            if isinstance(getattr(base, "weight", None), torch.Tensor):
                yield module


def _lost(before: torch.Tensor, after: torch.Tensor, rounded: Rounded) -> float | None:
    """The norm of the rounding error of the sum, over the norm of the change; None for no change."""
    change = float((after - before).norm())
    error = float((rounded(after) - after).norm())
    return error / change if change else None


def fits_float16(network: Any) -> bool:
    """True when every weight is within float16's range."""
    limit = torch.finfo(torch.float16).max
    return all(
        float(weight.detach().abs().max()) <= limit
        for weight in network.parameters()
        if weight.numel()
    )
