"""Load a base model onto its device, shard by shard, packed to 4 bits where that is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ftsdk.backends.local.compute.hardware import Hardware


def load_base(folder: Path, hardware: Hardware, quantize: str | None = None) -> Any:
    """The causal language model in `folder`; `quantize` is None or `nf4`.

    The trainer and whatever asks its result load the same weights. On a GPU each shard goes straight
    to it, so that the machine needs no room for all of them. Raises what transformers raises.
    """
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    arguments: dict[str, Any] = {
        "dtype": hardware.dtype,
        "trust_remote_code": False,
        "use_safetensors": True,
        "local_files_only": True,
    }
    if quantize is None:
        if hardware.on_cuda:
            arguments["device_map"] = {"": hardware.device}
        model: Any = AutoModelForCausalLM.from_pretrained(folder, **arguments)
        return model.to(hardware.device)
    arguments["quantization_config"] = BitsAndBytesConfig(  # type: ignore[no-untyped-call]  # theirs
        load_in_4bit=True,
        bnb_4bit_quant_type=quantize,
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=hardware.dtype,
    )
    arguments["device_map"] = {"": hardware.device}
    quantized: Any = AutoModelForCausalLM.from_pretrained(folder, **arguments)
    for module in quantized.modules():
        # At the first forward pass without gradients bitsandbytes would repack the weights of a
        # CPU for inference, and the fused adapters could not use them any more.
        if hasattr(module, "support_avx512bf16_for_cpu"):
            vars(module)["support_avx512bf16_for_cpu"] = False
    return quantized
