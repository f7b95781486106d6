"""What a finished run leaves: weights, tokenizer, chat template, and where they come from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftsdk.backends.local.training.checkpoint import saved_name
from ftsdk.backends.local.training.model import LoadedModel, adapter_config
from ftsdk.util import files

if TYPE_CHECKING:
    from ftsdk.backends.local.training.batches import Order
    from ftsdk.backends.local.training.checkpoint import TrainState
    from ftsdk.backends.local.training.hardware import Hardware
    from ftsdk.backends.local.training.optimizer import FlatAdamW
    from ftsdk.dataset.tokenize.chat_template import ChatTokenizer

__all__ = ["ADAPTER_FILE", "FULL_FILE", "result_facts", "save_config", "save_result", "versions"]

ADAPTER_FILE = "adapter_model.safetensors"
FULL_FILE = "model.safetensors"

_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "additional_chat_templates/tool_use.jinja",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
)


def versions() -> dict[str, str]:
    """The versions of what computes: the same bits are promised for the same versions only."""
    import platform
    from importlib.metadata import version

    names = ("ftsdk", "torch", "transformers", "peft", "safetensors", "tokenizers")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def save_config(model: LoadedModel, spec: Mapping[str, Any], folder: Path) -> None:
    """The configuration that lies beside the weights: of the adapter, or of the whole model."""
    if spec["adapter"] is None:
        model.network.config.save_pretrained(folder)
        if model.network.generation_config is not None:
            model.network.generation_config.save_pretrained(folder)
    else:
        config = model.owner.peft_config["default"]
        plain = adapter_config(spec["adapter"], spec["base_model"])
        plain.target_modules = config.target_modules  # "all-linear" as the names it stood for
        plain.inference_mode = True
        plain.save_pretrained(folder)


def save_result(
    target: Path,
    model: LoadedModel,
    optimizer: FlatAdamW,
    spec: Mapping[str, Any],
    tokenizer_folder: Path,
    facts: Mapping[str, Any],
) -> None:
    """Write the result folder, whole or not at all; one that is there already is replaced."""
    from safetensors.torch import save_file

    if target.exists():
        shutil.rmtree(target)
    with files.atomic_folder(target) as folder:
        save_config(model, spec, folder)
        if spec["adapter"] is None:
            model.network.save_pretrained(folder)
        else:
            weights = {
                saved_name(name): tensor.detach().cpu().clone()
                for name, tensor in optimizer.weights().items()
            }
            save_file(weights, folder / ADAPTER_FILE, metadata={"format": "pt"})
        for name in _TOKENIZER_FILES:
            if (tokenizer_folder / name).is_file():
                (folder / name).parent.mkdir(exist_ok=True)
                shutil.copyfile(tokenizer_folder / name, folder / name)
        text = json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False)
        (folder / "ftsdk.json").write_bytes(text.encode() + b"\n")


def result_facts(
    spec: Mapping[str, Any],
    tokenizer: ChatTokenizer,
    model: LoadedModel,
    state: TrainState,
    order: Order,
    hardware: Hardware,
) -> dict[str, Any]:
    """What `ftsdk.json` in the result says of where it comes from."""
    base = spec["base_model"]
    return {
        "format": 1,
        "job_id": spec.get("job_id"),
        "base_model": {**base, "config_sha256": _config_sha256(Path(base["path"]))},
        "chat_template_sha256": tokenizer.template_sha256,
        "method": spec.get("method", "sft"),
        "adapter": spec["adapter"],
        "hyperparameters": spec["hyperparameters"],
        "seed": spec["seed"],
        "steps": state.step,
        "epochs": order.epoch_at(state.step),
        "trained_tokens": state.trained_tokens,
        "train_s": round(state.train_s, 3),
        "train_loss": state.loss,
        "validation_loss": state.validation_loss,
        "trained_on": hardware.why,
        "weights": dict(model.facts),
        "versions": versions(),
    }


def _config_sha256(folder: Path) -> str:
    """The SHA-256 of the base model's config.json."""
    return files.sha256_file(folder / "config.json")
