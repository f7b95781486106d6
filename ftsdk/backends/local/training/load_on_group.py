"""The model and the optimizer of a run, on one process or on each rank of a group."""

from __future__ import annotations

from dataclasses import replace

from ftsdk.backends.local.compute.hardware import Hardware
from ftsdk.backends.local.device_options import sharding_faults
from ftsdk.backends.local.models.tokenizer_files import TokenIds
from ftsdk.backends.local.runs.run_spec import RunSpec
from ftsdk.backends.local.training.group import Group, one_after_another
from ftsdk.backends.local.training.model import LoadedModel, load_for_training
from ftsdk.backends.local.training.noise import add_noise
from ftsdk.backends.local.training.optimizer import FlatAdamW
from ftsdk.backends.local.training.outcome import Failed
from ftsdk.backends.local.training.row_path import BatchSize
from ftsdk.backends.local.training.sharded import ShardedAdamW, shard


def load_on_group(
    spec: RunSpec, hardware: Hardware, batch: BatchSize, tokens: TokenIds, group: Group
) -> tuple[LoadedModel, FlatAdamW]:
    """Load the model of the run, and make its optimizer; `batch` is the size of its micro-batches.

    With the option `sharding="fsdp"` the ranks divide the weights; one process has all of them.
    Raises `Failed`.
    """
    options, decay = spec.options, spec.hyperparameters.weight_decay
    sharded = options.sharding == "fsdp" and group.size > 1
    if sharded:
        _require_divisible(spec)
        model = _divided(spec, hardware, batch, tokens, group)
    else:
        model = load_for_training(spec, hardware, batch, tokens)
    if options.neftune_alpha is not None:
        add_noise(model.network, options.neftune_alpha)
    named = model.owner.named_parameters()
    if sharded:
        return model, ShardedAdamW(named, weight_decay=decay, group=group, network=model.network)
    return model, FlatAdamW(named, weight_decay=decay, kind=options.optimizer)


def _divided(
    spec: RunSpec, hardware: Hardware, batch: BatchSize, tokens: TokenIds, group: Group
) -> LoadedModel:
    """Load the model into the memory of this machine, one rank after another, and divide it there.

    So the machine has it once, and a GPU never has more than its share and one layer.
    """
    import torch

    on_machine = replace(hardware, device=torch.device("cpu"))
    seed = torch.initial_seed()
    with one_after_another(group):
        torch.manual_seed(seed)  # an adapter begins with the same values on each rank
        model = load_for_training(spec, on_machine, batch, tokens)
        return shard(model, group, hardware.device)


def _require_divisible(spec: RunSpec) -> None:
    """Raise `Failed` where weights cannot be divided."""
    faults = list(sharding_faults(spec.options, spec.adapter))
    if faults:
        what = "; ".join(fault.what for fault in faults)
        raise Failed(f"Not possible: {what}.", "unsupported", faults[0].hint)
