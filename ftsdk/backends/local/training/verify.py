"""Load a saved model back, and compare it with the one that was trained.

Loading follows what its config says. A config that lost a setting loads without an error, as a
model that lost the weights, so nothing but loading shows it.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftsdk.backends.local.training.batches import PackedBatch
from ftsdk.backends.local.training.forward import evaluating, next_token_logits
from ftsdk.backends.local.training.model import LoadedModel
from ftsdk.backends.local.training.outcome import Failed
from ftsdk.dataset.tokenize.render import Rendered

if TYPE_CHECKING:
    import torch

_PROBE_TOKENS = 12
_TOLERANCE = 0.02
"""Largest allowed difference of log-probabilities, in nats; the same sums may be rounded otherwise."""
_KIND = "adapter_mismatch"
_HINT = (
    "the last checkpoint keeps the weights, and `ftsdk resume` writes the result again; please "
    "report this, with the versions in trainer.log"
)


def verify_save(model: LoadedModel, folder: Path) -> None:
    """Compare the weights that the config in `folder` asks for with those that are trained.

    A model without weights is built for it, so it costs no memory. Called before the first step:
    what cannot be saved is known before hours are spent. Raises `Failed`.
    """
    from peft import LoraConfig, get_peft_model

    from ftsdk.backends.local.compute.skeleton import without_weights

    config = LoraConfig.from_pretrained(str(folder))
    skeleton = get_peft_model(without_weights(model.network), config, low_cpu_mem_usage=True)
    trained = _shapes(_adapter_of(model.owner))
    loaded = _shapes(_adapter_of(skeleton))
    _compare(trained, loaded, "The adapter's config does not describe the adapter that is trained")


def verify_adapter(folder: Path, model: LoadedModel) -> None:
    """Load the adapter in `folder` onto the base, and compare its weights and its answers.

    The trained adapter is taken off the base first. Raises `Failed` with the names of weights that
    are missing or different, or with the difference of a probe's log-probabilities.
    """
    import torch
    from peft import PeftModel
    from safetensors.torch import load_file

    from ftsdk.backends.local.compute.fused_lora import fuse_adapters

    what = "The saved adapter is not the one that was trained"
    before = _probe(model.network)
    trained = {name: tensor.detach().clone() for name, tensor in _adapter_of(model.owner).items()}
    first = next(parameter for parameter in model.owner.parameters() if parameter.requires_grad)
    loaded = PeftModel.from_pretrained(
        model.owner.unload(), str(folder), autocast_adapter_dtype=False, torch_device="cpu"
    )
    weights = _adapter_of(loaded)
    saved = load_file(folder / "adapter_model.safetensors")
    _compare(_shapes(trained), _shapes(saved), what)
    _compare(_shapes(trained), _shapes(weights), what)
    changed = [
        name
        for name, tensor in trained.items()
        if not torch.equal(weights[name].to(tensor.device, tensor.dtype), tensor)
    ]
    if changed:
        raise Failed(f"{what}: {_named(changed)} have other values.", _KIND, _HINT)
    for name, parameter in loaded.named_parameters():
        if ".lora_" in name:
            parameter.data = parameter.data.to(first.device, first.dtype)
    fuse_adapters(loaded)
    difference = float((_probe(loaded.get_base_model()) - before).abs().max())
    if not difference <= _TOLERANCE:
        message = f"{what}: loaded back, its answers differ by {difference:.3g} nats."
        raise Failed(message, _KIND, _HINT, difference=difference)


def verify_full(folder: Path) -> None:
    """Compare the weights in `folder` with those that its config asks for. Raises `Failed`.

    Only the headers of the files are read.
    """
    from ftsdk.backends.local.compute.skeleton import CannotBuild, config_of, load_headers

    what = "The saved model is not complete"
    try:
        found = load_headers(config_of(folder), sorted(folder.glob("*.safetensors")))
    except CannotBuild as error:
        raise Failed(f"{what}: {error}.", _KIND, _HINT) from error
    if found.missing or found.misfits:
        raise Failed(f"{what}: {_named([*found.missing, *found.misfits])}.", _KIND, _HINT)


def _adapter_of(owner: Any) -> dict[str, torch.Tensor]:
    """The adapter's weights by their names in a saved file; the base's own are not among them."""
    from peft import get_peft_model_state_dict

    found: dict[str, torch.Tensor] = get_peft_model_state_dict(owner, save_embedding_layers=False)
    return found


def _shapes(weights: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in weights.items()}


def _compare(
    trained: dict[str, tuple[int, ...]], loaded: dict[str, tuple[int, ...]], what: str
) -> None:
    lost = sorted(trained.keys() - loaded.keys())
    extra = sorted(loaded.keys() - trained.keys())
    other = sorted(name for name in trained if loaded.get(name, trained[name]) != trained[name])
    parts = [f"{_named(lost)} of {len(trained)} weights are lost"] if lost else []
    parts += [f"{_named(extra)} were never trained"] if extra else []
    parts += [f"{_named(other)} have other shapes"] if other else []
    if parts:
        raise Failed(f"{what}: {'; '.join(parts)}.", _KIND, _HINT, lost=lost[:100])


def _named(names: Iterable[str]) -> str:
    listed = list(names)
    return f"{len(listed)} ({', '.join(listed[:3])}{', …' if len(listed) > 3 else ''})"


def _probe(network: Any) -> torch.Tensor:
    """Log-probabilities of a row of tokens under the network, [tokens - 1, vocabulary]."""
    vocabulary = network.get_input_embeddings().weight.shape[0]
    ids = array("i", [(7 * k + 3) % vocabulary for k in range(_PROBE_TOKENS)])
    batch = PackedBatch.of([Rendered(ids, b"\x01" * len(ids))], network.device)
    with evaluating(network):
        return next_token_logits(network, batch).float().log_softmax(-1)
