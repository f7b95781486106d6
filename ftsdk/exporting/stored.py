"""What weights are after they were stored in a type and read again."""

from __future__ import annotations

import torch

from ftsdk.exporting.weights import Rounded

_TORCH_TYPES = {
    "float32": torch.float32,
    "f32": torch.float32,
    "float16": torch.float16,
    "f16": torch.float16,
    "bfloat16": torch.bfloat16,
    "bf16": torch.bfloat16,
}


def rounding_of(name: str) -> Rounded:
    """The function for a type of safetensors or of GGUF, by its name."""
    dtype = _TORCH_TYPES.get(name)
    if dtype is not None:
        return lambda weight: weight.to(dtype).float()
    return lambda weight: _packed_and_unpacked(weight, name)


def _packed_and_unpacked(weight: torch.Tensor, name: str) -> torch.Tensor:
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants

    kind = GGMLQuantizationType[name.upper()]
    if weight.shape[-1] % GGML_QUANT_SIZES[kind][0]:
        kind = GGMLQuantizationType.F16  # as the writer stores such a row
    values = weight.detach().float().contiguous().numpy()
    return torch.from_numpy(quants.dequantize(quants.quantize(values, kind), kind).copy())
