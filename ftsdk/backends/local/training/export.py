"""The result of a run: weights, tokenizer, chat template, and where they come from."""

from __future__ import annotations

import copy
import json
import platform
import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ftsdk.backends.local.compute.hardware import Hardware
from ftsdk.backends.local.models.tokenizer_files import copy_tokenizer
from ftsdk.backends.local.runs.run_spec import RunSpec
from ftsdk.backends.local.training.batches import RowOrder
from ftsdk.backends.local.training.checkpoint import TrainState, saved_name
from ftsdk.backends.local.training.group import SINGLE, Group
from ftsdk.backends.local.training.model import LoadedModel
from ftsdk.backends.local.training.optimizer import FlatAdamW
from ftsdk.backends.local.training.sharded import whole_state
from ftsdk.backends.local.training.verify import verify_adapter, verify_file, verify_full
from ftsdk.dataset.tokenize.chat_template import ChatTokenizer
from ftsdk.util.files import atomic_folder, sha256_file

_ADAPTER_FILE = "adapter_model.safetensors"
_FULL_FILE = "model.safetensors"


def versions() -> dict[str, str]:
    """The versions of what computes. Equal bits are promised for equal versions only."""
    names = ("ftsdk", "torch", "transformers", "peft", "safetensors", "tokenizers")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def weights_file(spec: RunSpec) -> str:
    """The name of the file of trained weights: of an adapter, or of a whole model."""
    return _FULL_FILE if spec.adapter is None else _ADAPTER_FILE


def save_config(model: LoadedModel, spec: RunSpec, folder: Path) -> None:
    """Write the configuration that belongs to the weights: of the adapter, or of the whole model."""
    if spec.adapter is None:
        model.network.config.save_pretrained(folder)
        if model.network.generation_config is not None:
            model.network.generation_config.save_pretrained(folder)
    else:
        # peft has resolved what was asked: layer names for "all-linear", parameters of experts, and
        # the ranks of fused ones. An adapter saved without them loses weights when it is loaded.
        config = copy.copy(model.owner.peft_config["default"])
        for name in ("target_modules", "target_parameters", "exclude_modules"):
            value = getattr(config, name)
            if isinstance(value, set | list):
                setattr(config, name, sorted(value))
        config.inference_mode = True
        config.save_pretrained(folder)


def save_result(
    target: Path,
    model: LoadedModel,
    optimizer: FlatAdamW,
    spec: RunSpec,
    tokenizer_folder: Path,
    facts: Mapping[str, Any],
    group: Group = SINGLE,
) -> None:
    """Write the result folder, complete or not at all; an existing one is replaced.

    What was written is loaded back before the folder gets its name. Raises `Failed` when that is
    not the model that was trained. The adapter in `model` is another object afterwards. Rank 0
    writes; the others help to gather weights that are divided.
    """
    weights = _whole_weights(model, optimizer, spec, group)
    if group.rank:
        return
    if target.exists():
        shutil.rmtree(target)
    with atomic_folder(target) as folder:
        save_config(model, spec, folder)
        _save_weights(model, spec, folder, weights)
        copy_tokenizer(tokenizer_folder, folder)
        text = json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False)
        (folder / "ftsdk.json").write_bytes(text.encode() + b"\n")
        if spec.adapter is None:
            verify_full(folder)
        elif model.is_sharded:
            verify_file(folder, weights)
        else:
            verify_adapter(folder, model)


def _whole_weights(
    model: LoadedModel, optimizer: FlatAdamW, spec: RunSpec, group: Group
) -> dict[str, Any]:
    """The weights of the result by the names of its file; those of a whole model only if divided."""
    if spec.adapter is None:
        return whole_state(model.network, group) if model.is_sharded else {}
    found = optimizer.weights()
    return {saved_name(name): tensor.detach().cpu() for name, tensor in found.items()}


def _save_weights(
    model: LoadedModel, spec: RunSpec, folder: Path, weights: Mapping[str, Any]
) -> None:
    from safetensors.torch import save_file

    if spec.adapter is None:
        model.network.save_pretrained(folder, **({"state_dict": weights} if weights else {}))
    else:
        save_file(dict(weights), folder / _ADAPTER_FILE, metadata={"format": "pt"})


def result_facts(
    spec: RunSpec,
    tokenizer: ChatTokenizer,
    model: LoadedModel,
    state: TrainState,
    order: RowOrder,
    hardware: Hardware,
) -> dict[str, Any]:
    """The content of the result's `ftsdk.json`: settings, totals, versions and digests."""
    written = spec.model_dump(
        mode="json",
        include={"job_id", "base_model", "method", "adapter", "hyperparameters", "seed"},
    )
    config_sha256 = sha256_file(spec.base_model.path / "config.json")
    return {
        "format": 1,
        **written,
        "base_model": {**written["base_model"], "config_sha256": config_sha256},
        "parent": None if spec.parent is None else spec.parent.model_dump(mode="json"),
        "chat_template_sha256": tokenizer.template_sha256,
        "chat_template_is_own": spec.options.chat_template is not None,
        "added_tokens": list(spec.options.add_tokens),
        "embedding_rows": model.network.get_input_embeddings().weight.shape[0],
        "steps": state.step,
        "epochs": order.epoch_at(state.step),
        "trained_tokens": state.trained_tokens,
        "train_s": round(state.train_s, 3),
        "train_loss": state.loss,
        "validation_loss": state.validation_loss,
        "skipped_steps": state.skipped_steps,
        "train_metrics": dict(state.metrics),
        "validation_metrics": dict(state.validation_metrics),
        "trained_on": hardware.why,
        "dtype": hardware.dtype_name,
        "weights": dict(model.facts()),
        "versions": versions(),
    }
