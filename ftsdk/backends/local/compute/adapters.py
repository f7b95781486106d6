"""LoRA adapters: where one is put on a model, and where it cannot be put.

The trainer and the plan use the same functions, so that a plan describes the adapter that is trained.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.func import functional_call

from ftsdk.backends.local.compute.coverage import is_linear, is_of_senses, matrices
from ftsdk.backends.local.models.tokenizer_files import TokenIds
from ftsdk.types.spec import LoRA
from ftsdk.util.names import nearest

_NO_TOKENS = TokenIds()

# --- where it is put ---------------------------------------------------------------------------


def put_adapter(
    network: Any,
    adapter: LoRA,
    *,
    base_name: str,
    revision: str | None,
    tokens: TokenIds = _NO_TOKENS,
    empty: bool = False,
) -> Any:
    """Freeze the network and put the adapter on it; returns the peft model.

    `base_name` and `revision` are what transformers loads the base by, `tokens` those whose rows of
    the embedding are trained. With `empty` the adapter's weights have no memory. Raises
    `ValueError` or `TypeError` where peft refuses.
    """
    from peft import LoraConfig, TaskType, get_peft_model

    targets = adapter.target_modules
    config = LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        r=adapter.rank,
        lora_alpha=_whole(adapter.alpha),  # type: ignore[arg-type]  # one that is not whole stays a float
        lora_dropout=adapter.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        exclude_modules=_left_out(network) if targets == "all-linear" else None,
        bias="none",
        use_rslora=adapter.use_rslora,
        use_dora=adapter.use_dora,
        modules_to_save=list(adapter.modules_to_save) or None,
        trainable_token_indices=_token_rows(network, adapter, tokens) or None,
    )
    network.requires_grad_(False)
    owner = get_peft_model(network, config, autocast_adapter_dtype=False, low_cpu_mem_usage=empty)
    used = owner.peft_config["default"]  # peft has set the folder that the network came from
    used.base_model_name_or_path, used.revision = base_name, revision
    return owner


def grow_embedding(network: Any, rows: int) -> None:
    """Give the embedding at least `rows` rows; a new row is the mean of those before.

    So is one of the output head. Nothing is drawn at random, so a resumed run begins with the same
    rows.
    """
    embedding = network.get_input_embeddings()
    before = embedding.weight.shape[0]
    if rows <= before:
        return
    network.resize_token_embeddings(rows, mean_resizing=False)
    head = network.get_output_embeddings()
    layers = [layer for layer in (network.get_input_embeddings(), head) if layer is not None]
    with torch.no_grad():
        for weight in {id(layer.weight): layer.weight for layer in layers}.values():
            weight[before:] = weight[:before].float().mean(0).to(weight.dtype)
        if getattr(head, "bias", None) is not None:
            head.bias[before:] = 0


def _token_rows(network: Any, adapter: LoRA, tokens: TokenIds) -> dict[str, list[int]]:
    """Which rows of which layer are trained; none of a layer that is trained whole.

    A new token has a row in the embedding and, where the two are not tied, in the output head.
    """
    embedding, head = network.get_input_embeddings(), network.get_output_embeddings()
    wanted = {id(embedding): sorted({*tokens.known, *tokens.new})}
    if head is not None and head.weight is not embedding.weight:
        wanted[id(head)] = list(tokens.new)
    return {
        name: wanted[id(module)]
        for name, module in network.named_modules()
        if wanted.get(id(module)) and not any(_names(one, name) for one in adapter.modules_to_save)
    }


def _whole(value: float | None) -> float | None:
    """The value as an integer where it is one: other programs that read adapters expect that."""
    return int(value) if value is not None and float(value).is_integer() else value


def _left_out(network: Any) -> list[str] | None:
    """The linear layers that `all-linear` leaves out, by the shortest names peft takes for them."""
    unfit = set(unfit_layers(network))
    if not unfit:
        return None
    others = {name.rpartition(".")[2] for name, _ in network.named_modules() if name not in unfit}
    leaves = {name.rpartition(".")[2] for name in unfit}
    long = {name for name in unfit if name.rpartition(".")[2] in others}
    return sorted(long | (leaves - others))


def unfit_layers(network: Any) -> Mapping[str, str]:
    """The linear layers that no LoRA fits, by name, with the reason.

    LoRA adds to the output of a layer. That needs a layer that is called, and that returns its
    output alone.
    """
    found = {}
    modules = dict(network.named_modules())
    for name, module in modules.items():
        if not is_linear(module):
            continue
        parent, _, leaf = name.rpartition(".")
        if is_of_senses(name):
            found[name] = "text never reaches it"
        elif not _returns_its_product(module):
            found[name] = f"{type(module).__name__} does not return a plain matrix product"
        elif leaf == "out_proj" and _reads_weight(modules[parent], leaf):
            found[name] = f"{type(modules[parent]).__name__} computes with its weight directly"
    return found


def _returns_its_product(module: Any) -> bool:
    """True when the layer maps [n, in] to [n, out], as `torch.nn.Linear` does."""
    kind = type(module)
    if not isinstance(module, torch.nn.Linear):  # GPT-2's Conv1D
        return True
    if kind.forward is torch.nn.Linear.forward or kind.__module__.startswith("bitsandbytes."):
        return True
    weights = {
        name: tensor.to("meta")
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]
    }
    sample = torch.empty(3, module.in_features, device="meta", dtype=module.weight.dtype)
    try:
        with torch.no_grad():
            output = functional_call(module, weights, (sample,))
    except (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError):
        return False
    return isinstance(output, torch.Tensor) and output.shape == (3, module.out_features)


def _reads_weight(parent: Any, leaf: str) -> bool:
    """True for a state-space layer whose fused kernel takes the weight of `leaf`, not its output."""
    if not hasattr(parent, "A_log"):
        return False
    return re.search(rf"self\.{leaf}\.weight", inspect.getsource(type(parent))) is not None


# --- where it cannot be put --------------------------------------------------------------------


def adapter_faults(network: Any, adapter: LoRA) -> list[str]:
    """Why this adapter cannot be put on this network as asked, one line for each reason."""
    return [
        *_faults_of_targets(network, adapter),
        *_faults_of_whole_modules(network, adapter),
        *_faults_of_nf4(network, adapter),
    ]


def _faults_of_whole_modules(network: Any, adapter: LoRA) -> Iterator[str]:
    modules = dict(network.named_modules())
    embedding, head = network.get_input_embeddings(), network.get_output_embeddings()
    tied = head is not None and head.weight is embedding.weight
    leaves = sorted({name.rpartition(".")[2] for name in modules} - {""})
    for asked in adapter.modules_to_save:
        found = [module for name, module in modules.items() if name and _names(asked, name)]
        if not found:
            yield f"modules_to_save: no layer is called {asked!r}{nearest(asked, leaves)}"
        elif tied and any(module in (embedding, head) for module in found):
            yield (
                f"modules_to_save: {asked} shares its weights with "
                f"{'the output head' if embedding in found else 'the embedding'} in this model, and a copy "
                "would separate them; train single tokens with trainable_token_indices"
            )


def _faults_of_targets(network: Any, adapter: LoRA) -> Iterator[str]:
    if adapter.target_modules == "all-linear":
        return
    modules = dict(network.named_modules())
    parameters = {name for name, _ in network.named_parameters()}
    unfit = unfit_layers(network)
    fit = sorted(
        {
            name.rpartition(".")[2]
            for name, module in modules.items()
            if is_linear(module)
            and name not in unfit
            and module is not network.get_output_embeddings()
        }
    )
    for target in adapter.target_modules:
        reasons = {unfit[name] for name in unfit if _names(target, name)}
        if reasons:
            yield (
                f"target_modules: no LoRA fits {target} ({'; '.join(sorted(reasons))}); "
                f"there are {', '.join(fit)}"
            )
        elif target not in _OLD_NAMES and not any(
            _names(target, name) for name in (*modules, *parameters)
        ):
            yield (
                f"target_modules: no layer is called {target!r}{nearest(target, fit)} "
                f"There are {', '.join(fit)}"
            )


_OLD_NAMES = frozenset({"w1", "w2", "w3", "gate", "gate_proj", "up_proj", "down_proj"})
"""Names that peft takes for experts and routers whose weights are stored together by now."""


def _names(target: str, name: str) -> bool:
    return name == target or name.endswith(f".{target}")


def _faults_of_nf4(network: Any, adapter: LoRA) -> Iterator[str]:
    if adapter.quantize is None:
        return
    found = list(matrices(network))
    left = sum(m.weights for m in found if m.part == "experts" and not m.is_linear)
    if left:
        share = left / sum(m.weights for m in found)
        yield (
            f'quantize="nf4": the experts ({share:.0%} of the weights) are not linear layers, '
            "and NF4 would leave them as they are; use quantize=None"
        )
