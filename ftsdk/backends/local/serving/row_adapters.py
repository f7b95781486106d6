"""Many LoRA adapters on one network, each for its own rows of a batch.

The matrices of all adapters of a layer are stacked, so that the layer needs two more products however
many adapters there are: each token goes through all first matrices, the results of other adapters than
its own are multiplied by 0, and the rest goes through all second matrices. Adapters that are not in the
batch are left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MethodType
from typing import Any, NamedTuple

import torch
from torch import Tensor

_PREFIX = "base_model.model."
_PARTS = {
    ".lora_A.weight": "down",
    ".lora_B.weight": "up",
    ".lora_magnitude_vector": "magnitude",
    ".lora_magnitude_vector.weight": "magnitude",
}


class NotBatchable(Exception):
    """This adapter changes more than plain linear layers; its text says what."""


class _Matrices(NamedTuple):
    """One adapter in one layer: x Wᵀ · size + scale · (x downᵀ) up; `size` [out] is DoRA's."""

    down: Tensor
    up: Tensor
    scale: float
    size: Tensor | None


@dataclass(frozen=True)
class _Stack:
    """Some adapters of a layer: `down` [ranks, in], `up` [ranks, out], and DoRA's sizes [adapters + 1, out]."""

    down: Tensor
    up: Tensor
    table: Tensor
    scale: float | None
    sizes: Tensor | None


class RowAdapters:
    """The adapters of one network. `use` says which token of the next step has which."""

    def __init__(self, network: Any) -> None:
        self._modules = dict(network.named_modules())
        self._layers: dict[str, _Layer] = {}
        self._names: set[str] = set()
        self.active: tuple[str, ...] = ()
        self.numbers: Tensor | None = None
        """For each token the place of its adapter in `active`, or `len(active)` for none."""

    @property
    def names(self) -> frozenset[str]:
        """The adapters that are loaded."""
        return frozenset(self._names)

    def load(self, name: str, folder: Path) -> None:
        """Read the adapter of a folder. Raises `NotBatchable`, and nothing is changed then."""
        found = _read(folder, self._modules)
        for path, matrices in found.items():
            layer = self._layers.get(path)
            if layer is None:
                layer = self._layers[path] = _Layer(self, self._modules[path])
            layer.adapters[name] = matrices
        self._names.add(name)

    def remove(self, name: str) -> None:
        """Free the memory of an adapter."""
        self._names.discard(name)
        for layer in self._layers.values():
            layer.adapters.pop(name, None)
            layer.forget()

    def use(self, names: Sequence[str | None], device: torch.device) -> None:
        """The adapter of each token of the next step, in order; None is the base model."""
        active = tuple(sorted({name for name in names if name is not None}))
        self.active = active
        if not active or (len(active) == 1 and None not in names):
            self.numbers = None
            return
        number = {name: place for place, name in enumerate(active)}
        self.numbers = torch.tensor(
            [len(active) if name is None else number[name] for name in names], device=device
        )


class _Layer:
    """A linear layer that computes each token with the token's own adapter."""

    def __init__(self, owner: RowAdapters, module: Any) -> None:
        self._owner, self._module = owner, module
        self.adapters: dict[str, _Matrices] = {}
        self._stack: tuple[tuple[str, ...], _Stack | None] = ((), None)
        self._plain = type(module).forward
        self._is_dense = type(module) is torch.nn.Linear
        module.__dict__["forward"] = MethodType(lambda _, x: self(x), module)

    def forget(self) -> None:
        """Leave no adapter's memory in use here but that of `adapters`."""
        self._stack = ((), None)

    def __call__(self, x: Tensor) -> Tensor:
        """The output for [1, tokens, in]."""
        module, owner = self._module, self._owner
        if not owner.active:
            plain: Tensor = self._plain(module, x)
            return plain
        if self._stack[0] != owner.active:
            self._stack = (owner.active, self._stacked(owner.active))
        stack = self._stack[1]
        out: Tensor = self._plain(module, x)
        if stack is None:
            return out
        rows, flat = x.view(-1, x.shape[-1]), out.view(-1, out.shape[-1])
        if owner.numbers is None:
            if stack.sizes is not None:
                _scale(flat, stack.sizes[0], module.bias)
            flat.addmm_(rows @ stack.down.t(), stack.up, alpha=float(stack.scale or 1.0))
            return out
        small = (rows @ stack.down.t()).mul_(stack.table.index_select(0, owner.numbers))
        if stack.sizes is not None:
            _scale(flat, stack.sizes.index_select(0, owner.numbers), module.bias)
        flat.addmm_(small, stack.up)
        return out

    def _stacked(self, active: tuple[str, ...]) -> _Stack | None:
        """The adapters in use, one after the other; None where this layer has none of them."""
        own = [
            (place, self.adapters[name])
            for place, name in enumerate(active)
            if name in self.adapters
        ]
        if not own:
            return None
        ranks = [one.down.shape[0] for _, one in own]
        table = own[0][1].down.new_zeros(len(active) + 1, sum(ranks))
        begin = 0
        for (place, one), rank in zip(own, ranks, strict=True):
            table[place, begin : begin + rank] = one.scale
            begin += rank
        sizes = None
        if any(one.size is not None for _, one in own):
            sizes = table.new_ones(len(active) + 1, own[0][1].up.shape[1])
            for place, one in own:
                if one.size is not None:
                    sizes[place] = one.size
        first = own[0][1]
        alone = len(own) == 1
        down = first.down if alone else torch.cat([one.down for _, one in own])
        up = first.up if alone else torch.cat([one.up for _, one in own])
        return _Stack(down, up, table, first.scale if alone else None, sizes)


def _scale(out: Tensor, sizes: Tensor, bias: Tensor | None) -> None:
    """Multiply the product, but not the bias that was added to it."""
    if bias is None:
        out.mul_(sizes)
    else:
        out.sub_(bias).mul_(sizes).add_(bias)


# --- reading one ------------------------------------------------------------------------------


def _read(folder: Path, modules: Mapping[str, Any]) -> dict[str, _Matrices]:
    """The matrices of each layer by its name. Raises `NotBatchable`."""
    from safetensors.torch import load_file

    config = json.loads((folder / "adapter_config.json").read_bytes())
    _require_plain(config)
    parts: dict[str, dict[str, Tensor]] = {}
    for key, tensor in load_file(folder / "adapter_model.safetensors").items():
        path, part = _named(key)
        parts.setdefault(path, {})[part] = tensor
    return {path: _matrices(path, found, config, modules) for path, found in parts.items()}


def _require_plain(config: Mapping[str, Any]) -> None:
    if config.get("peft_type") != "LORA":
        raise NotBatchable(f"it is no LoRA but {config.get('peft_type')}")
    for name in (
        "modules_to_save", "target_parameters", "trainable_token_indices", "rank_pattern",
        "alpha_pattern", "layer_replication", "fan_in_fan_out", "lora_bias", "alora_invocation_tokens",
    ):  # fmt: skip
        if config.get(name):
            raise NotBatchable(f"it has {name}")
    if config.get("bias", "none") != "none":
        raise NotBatchable("it trains biases")


def _named(key: str) -> tuple[str, str]:
    for ending, part in _PARTS.items():
        if key.startswith(_PREFIX) and key.endswith(ending):
            return key.removeprefix(_PREFIX).removesuffix(ending), part
    raise NotBatchable(f"it has the weights {key}")


def _matrices(
    path: str, parts: Mapping[str, Tensor], config: Mapping[str, Any], modules: Mapping[str, Any]
) -> _Matrices:
    module = modules.get(path)
    is_linear = isinstance(module, torch.nn.Linear) and "down" in parts and "up" in parts
    if module is None or not is_linear:
        raise NotBatchable(f"{path} is no linear layer of this model")
    packed = type(module).__name__ == "Linear4bit"
    rank, alpha = int(config["r"]), float(config["lora_alpha"])
    scale = alpha / (rank**0.5 if config.get("use_rslora") else rank)
    dtype = parts["down"].dtype if packed else module.weight.dtype
    if packed and getattr(module, "compute_dtype", None) is not None:
        dtype = module.compute_dtype
    device = module.weight.device
    down, up = (parts[name].to(device, dtype) for name in ("down", "up"))
    if "magnitude" not in parts:
        return _Matrices(down, up.t().contiguous(), scale, None)
    weight = _dense(module).float()
    norm = torch.linalg.norm(weight + scale * (up.float() @ down.float()), dim=1)
    size = parts["magnitude"].to(device).float().reshape(-1) / norm
    up = (size[:, None] * up.float()).to(dtype)
    return _Matrices(down, up.t().contiguous(), scale, size.to(dtype))


def _dense(module: Any) -> Tensor:
    if type(module).__name__ != "Linear4bit":
        weight: Tensor = module.weight
        return weight
    from bitsandbytes.functional import dequantize_4bit

    unpacked: Tensor = dequantize_4bit(module.weight, module.weight.quant_state)
    return unpacked
