"""Write a model, or an adapter alone, as GGUF for llama.cpp and Ollama.

The `gguf` package of llama.cpp writes the file and knows the names of tensors. What is ours is which
values an architecture needs, and how its weights are laid out: llama.cpp rotates neighbouring pairs
where transformers rotates halves, so rows of Llama's query and key are permuted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ftsdk.errors import Unsupported
from ftsdk.exporting.gguf_tokenizer import read_vocabulary
from ftsdk.exporting.source import ExportSource
from ftsdk.exporting.weights import load_reference

_PERMUTED = ("q_proj", "k_proj")
_CONVERT = "export it merged and run llama.cpp's convert_hf_to_gguf.py on the folder"


def write_model(source: ExportSource, network: Any, quantization: str, path: Path,
                *, template: str | None = None) -> None:  # fmt: skip
    """Write the merged float32 network with its tokenizer; `template` replaces the chat template.

    Raises `Unsupported` for a rotary scaling or a tokenizer that ftsdk does not write.
    """
    from gguf import GGUFWriter

    config = network.config.to_dict()
    writer = GGUFWriter(None, str(config["model_type"]))
    _write_settings(writer, config, source, quantization)
    _write_tokenizer(writer, path.parent, int(config["vocab_size"]), template)
    for name, array, kind in _tensors(network, config, quantization):
        writer.add_tensor(name, array, raw_dtype=kind)
    _close(writer, path)


def write_adapter(source: ExportSource, path: Path, *, dtype: str = "f32") -> list[str]:
    """Write the adapter alone; its scales go into alpha and the weights. Returns what was changed.

    Raises `Unsupported` for what has no form in an adapter file.
    """
    from gguf import GGMLQuantizationType, GGUFWriter

    config = source.adapter or {}
    writer = GGUFWriter(None, source.model_type)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    alpha = float(config["lora_alpha"])
    writer.add_float32("adapter.lora.alpha", alpha)
    names = _names(source.config)
    kind = getattr(GGMLQuantizationType, dtype.upper())
    notes = set()
    for module, a, b, scaling in _pairs(source):
        change = scaling / (alpha / a.shape[0])
        if not math.isclose(change, 1.0, rel_tol=1e-9):
            notes.add("the scale of rsLoRA or of rank patterns was put into lora_b")
        scaled = _laid_out(b * change, module, source.config)
        name = _named(names, f"{module}.weight")
        writer.add_tensor(f"{name}.lora_a", _packed(a, kind), raw_dtype=kind)
        writer.add_tensor(f"{name}.lora_b", _packed(scaled, kind), raw_dtype=kind)
    _close(writer, path)
    return sorted(notes)


def _close(writer: Any, path: Path) -> None:
    writer.write_header_to_file(path)
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


# --- settings ---------------------------------------------------------------------------------


def _write_settings(
    writer: Any, config: Mapping[str, Any], source: ExportSource, quantization: str
) -> None:
    from gguf import GGML_QUANT_VERSION, LlamaFileType

    heads = int(config["num_attention_heads"])
    width = int(config["hidden_size"])
    head = int(config.get("head_dim") or width // heads)
    writer.add_type("model")
    writer.add_name(str(source.facts.get("job_id") or source.folder.name))
    if source.license:
        writer.add_license(source.license)
    writer.add_context_length(int(config["max_position_embeddings"]))
    writer.add_embedding_length(width)
    writer.add_block_count(int(config["num_hidden_layers"]))
    writer.add_feed_forward_length(int(config["intermediate_size"]))
    writer.add_head_count(heads)
    writer.add_head_count_kv(int(config.get("num_key_value_heads") or heads))
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_layer_norm_rms_eps(float(config["rms_norm_eps"]))
    writer.add_vocab_size(int(config["vocab_size"]))
    writer.add_rope_dimension_count(head)
    _write_rope(writer, config)
    prefix = "ALL" if quantization == "f32" else "MOSTLY"
    writer.add_file_type(int(LlamaFileType[f"{prefix}_{quantization.upper()}"]))
    if quantization not in ("f32", "f16", "bf16"):
        writer.add_quantization_version(GGML_QUANT_VERSION)


def rope_of(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The rotary settings under the names of transformers 5."""
    found = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    found.setdefault("rope_theta", config.get("rope_theta", 10000.0))
    found.setdefault("rope_type", found.get("type") or "default")
    return found


def _write_rope(writer: Any, config: Mapping[str, Any]) -> None:
    from gguf import RopeScalingType

    rope = rope_of(config)
    writer.add_rope_freq_base(float(rope["rope_theta"]))
    kind = rope["rope_type"]
    if kind == "linear":
        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(float(rope["factor"]))
    elif kind not in ("default", "llama3"):
        raise Unsupported(
            f"The rotary scaling {kind} is not written as GGUF",
            where="config.json of the base",
            hint=_CONVERT,
        )
    partial = rope.get("partial_rotary_factor") or config.get("partial_rotary_factor")
    if partial not in (None, 1, 1.0):
        raise Unsupported(
            "A model that rotates only a part of each head is not written as GGUF",
            where="config.json of the base",
            hint=_CONVERT,
        )


def _rope_factors(config: Mapping[str, Any]) -> np.ndarray[Any, Any] | None:
    """Llama 3.1's divisors of the rotary frequencies, [head_dim / 2]; None for other models."""
    rope = rope_of(config)
    if rope["rope_type"] != "llama3":
        return None
    heads = int(config["num_attention_heads"])
    head = int(config.get("head_dim") or config["hidden_size"] // heads)
    wavelengths = 2 * np.pi * float(rope["rope_theta"]) ** (np.arange(0, head, 2) / head)
    trained = float(rope["original_max_position_embeddings"])
    factor, low, high = (float(rope[k]) for k in ("factor", "low_freq_factor", "high_freq_factor"))
    smooth = np.clip((trained / wavelengths - low) / (high - low), 0.0, 1.0)
    return (1 / ((1 - smooth) / factor + smooth)).astype(np.float32)


def _write_tokenizer(writer: Any, folder: Path, size: int, template: str | None) -> None:
    from gguf import SpecialVocab

    vocabulary = read_vocabulary(folder, size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(list(vocabulary.tokens))
    writer.add_token_types(list(vocabulary.types))
    special = SpecialVocab(folder, load_merges=False, n_vocab=size)
    special.merges = list(vocabulary.merges)
    if template is not None:
        special.chat_template = template
    special.add_to_gguf(writer, quiet=True)
    if "bos" not in special.add_special_token:
        writer.add_add_bos_token(False)


# --- tensors ----------------------------------------------------------------------------------


def _names(config: Mapping[str, Any]) -> Any:
    from gguf import MODEL_ARCH, get_tensor_name_map

    architecture = MODEL_ARCH[str(config["model_type"]).upper()]
    return get_tensor_name_map(architecture, int(config["num_hidden_layers"]))


def _named(names: Any, name: str) -> str:
    found = names.get_name(name, try_suffixes=(".weight", ".bias"))
    if found is None:
        raise Unsupported(
            f"GGUF has no name for the weight {name}", where="the model's weights", hint=_CONVERT
        )
    return str(found)


def _tensors(
    network: Any, config: Mapping[str, Any], quantization: str
) -> Iterator[tuple[str, np.ndarray[Any, Any], Any]]:
    """Yield the name, the packed values and the type of each tensor."""
    from gguf import GGMLQuantizationType

    names = _names(config)
    wanted = GGMLQuantizationType[quantization.upper()]
    factors = _rope_factors(config)
    if factors is not None:
        yield "rope_freqs.weight", factors, GGMLQuantizationType.F32
    tied = bool(config.get("tie_word_embeddings"))
    for name, tensor in network.state_dict().items():
        if name.endswith("rotary_emb.inv_freq") or (tied and name == "lm_head.weight"):
            continue
        kind = GGMLQuantizationType.F32 if tensor.ndim == 1 else _fitting(wanted, tensor)
        laid_out = _laid_out(tensor, name.rpartition(".")[0], config)
        yield _named(names, name), _packed(laid_out, kind), kind


def _fitting(kind: Any, tensor: torch.Tensor) -> Any:
    """The type itself, or F16 where rows are no multiple of its block."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    block, _ = GGML_QUANT_SIZES[kind]
    return kind if tensor.shape[-1] % block == 0 else GGMLQuantizationType.F16


def _packed(tensor: torch.Tensor, kind: Any) -> np.ndarray[Any, Any]:
    from gguf import quants

    values = tensor.detach().float().contiguous().numpy()
    packed: np.ndarray[Any, Any] = quants.quantize(values, kind)
    return packed


def _laid_out(tensor: torch.Tensor, module: str, config: Mapping[str, Any]) -> torch.Tensor:
    """Rows of Llama's query and key in llama.cpp's order: the halves of each head interleaved."""
    if config["model_type"] != "llama" or not module.endswith(_PERMUTED):
        return tensor
    heads = _heads_of(module, config)
    rows = tensor.shape[0]
    halves = tensor.reshape(heads, 2, rows // heads // 2, *tensor.shape[1:])
    return halves.swapaxes(1, 2).reshape(tensor.shape)


def _heads_of(module: str, config: Mapping[str, Any]) -> int:
    heads = int(config["num_attention_heads"])
    if module.endswith("k_proj"):
        return int(config.get("num_key_value_heads") or heads)
    return heads


# --- the adapter ------------------------------------------------------------------------------


def _pairs(source: ExportSource) -> Iterator[tuple[str, torch.Tensor, torch.Tensor, float]]:
    """Yield module, A [rank, in], B [out, rank] and scale of each adapted layer, as peft loads them."""
    from peft.tuners.lora import LoraLayer

    owner = load_reference(source)
    found = {name: one for name, one in owner.named_modules() if isinstance(one, LoraLayer)}
    module: Any
    for name, module in found.items():
        if not isinstance(module.get_base_layer(), torch.nn.Linear) or module.lora_bias.get(
            "default"
        ):
            raise Unsupported(
                f"An adapter on {name} has no form in an adapter GGUF",
                where=str(source.folder),
                hint="export the merged model as GGUF",
            )
        a, b = module.lora_A["default"].weight, module.lora_B["default"].weight
        yield name.removeprefix("base_model.model."), a, b, float(module.scaling["default"])
