"""Write an adapter or a merged model as safetensors, readable by other programs."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from ftsdk.artifacts.portability import folded_alpha
from ftsdk.backends.local.models.tokenizer_files import copy_tokenizer
from ftsdk.exporting.source import ExportSource

_MAX_SHARD = "5GB"
_MACHINE_ONLY = ("_name_or_path", "is_local", "local_files_only")


def write_adapter(source: ExportSource, folder: Path) -> list[str]:
    """Write the adapter with a config that other programs read; returns what was changed, in words.

    rsLoRA becomes a plain LoRA of the same effect: of programs that load adapters some ignore the
    setting. Where the new alpha is no integer, the scale goes into the weights.
    """
    config = dict(source.adapter or {})
    config["base_model_name_or_path"] = source.hub_id
    config["revision"] = None
    notes = []
    scale = 1.0
    if config.get("use_rslora") and not (config.get("rank_pattern") or config.get("alpha_pattern")):
        wanted = folded_alpha(int(config["r"]), float(config["lora_alpha"]))
        config["use_rslora"], config["lora_alpha"] = False, round(wanted) or 1
        scale = wanted / config["lora_alpha"]
        notes.append(
            f"rsLoRA was written as a plain LoRA of the same effect: alpha {config['lora_alpha']}"
            + ("" if scale == 1 else f", and lora_B times {scale:.6f}")
        )
    alpha = config.get("lora_alpha")
    if isinstance(alpha, float) and alpha.is_integer():
        config["lora_alpha"] = int(alpha)
    for name in ("target_modules", "target_parameters", "exclude_modules"):
        if isinstance(config.get(name), list):
            config[name] = sorted(config[name])
    _write_json(folder / "adapter_config.json", config)
    _copy_weights(source.folder / "adapter_model.safetensors", folder, scale)
    write_tokenizer(source, folder)
    return notes


def _copy_weights(weights: Path, folder: Path, scale: float) -> None:
    target = folder / weights.name
    if math.isclose(scale, 1.0, rel_tol=1e-12):
        shutil.copyfile(weights, target)
        return
    with safe_open(weights, "pt") as opened:
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  # not a dict
    for name, tensor in tensors.items():
        if ".lora_B." in name or ".lora_embedding_B" in name:
            tensors[name] = (tensor.double() * scale).to(tensor.dtype)
    save_file(tensors, target, metadata={"format": "pt"})


def write_merged(source: ExportSource, network: Any, dtype: torch.dtype, folder: Path) -> None:
    """Save the merged model in `dtype`, in files of at most 5 GB, with everything a server reads."""
    network.to(dtype)
    network.config.dtype = dtype
    network.save_pretrained(folder, max_shard_size=_MAX_SHARD)
    write_tokenizer(source, folder)
    settings = _read_json(folder / "config.json")
    rope = settings.get("rope_parameters") or {}
    if isinstance(rope, Mapping) and "rope_theta" in rope:
        settings.setdefault("rope_theta", rope["rope_theta"])  # the spelling of transformers 4
        if rope.get("rope_type") not in (None, "default"):
            scaling = {key: value for key, value in rope.items() if key != "rope_theta"}
            settings.setdefault("rope_scaling", scaling)
    _write_json(folder / "config.json", settings)


def write_tokenizer(source: ExportSource, folder: Path) -> None:
    """Copy the tokenizer of the result, with its template in both places where programs look."""
    copy_tokenizer(source.tokenizer_folder, folder)
    template, path = folder / "chat_template.jinja", folder / "tokenizer_config.json"
    settings = _read_json(path) if path.is_file() else {}
    if template.is_file():
        settings["chat_template"] = template.read_text(encoding="utf-8")
    elif isinstance(settings.get("chat_template"), str):
        template.write_text(settings["chat_template"], encoding="utf-8")
    if settings:
        _write_json(path, settings)
    ends = folder / "generation_config.json"
    if not ends.is_file() and (origin_ends := _generation_config(source)) is not None:
        _write_json(ends, origin_ends)


def _generation_config(source: ExportSource) -> dict[str, Any] | None:
    for folder in (source.folder, source.base):
        if folder is not None and (folder / "generation_config.json").is_file():
            return _read_json(folder / "generation_config.json")
    return None


def _read_json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_bytes())
    return found


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    kept = {name: one for name, one in value.items() if name not in _MACHINE_ONLY}
    path.write_text(json.dumps(kept, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
