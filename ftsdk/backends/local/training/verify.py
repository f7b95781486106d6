"""Load a saved model back, and compare it with the one that was trained.

Loading follows what its config says. A config that lost a setting loads without an error, as a
model that lost the weights, so nothing but loading shows it.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftsdk.backends.local.training.batches import PackedBatch
from ftsdk.backends.local.training.checkpoint import saved_name
from ftsdk.backends.local.training.forward import evaluating, next_token_logits
from ftsdk.backends.local.training.model import LoadedModel
from ftsdk.backends.local.training.outcome import Failed
from ftsdk.dataset.tokenize.render import Rendered

if TYPE_CHECKING:
    import torch

    from ftsdk.backends.local.compute.reload import Reload

_PROBE_TOKENS = 12
_TOLERANCE = 0.02
"""Largest allowed difference of log-probabilities, in nats; the same sums may be rounded otherwise."""
_KIND = "adapter_mismatch"
_HINT = (
    "the last checkpoint keeps the weights, and `ftsdk resume` writes the result again; please "
    "report this, with the versions in trainer.log"
)


def verify_save(model: LoadedModel, folder: Path) -> None:
    """Compare the adapter that the config in `folder` describes with the one that is trained.

    It costs no memory. Called before the first step: what cannot be saved is known before hours are
    spent. Raises `Failed`.
    """
    from peft import LoraConfig

    from ftsdk.backends.local.compute.reload import named, reload, weights_of

    trained = {saved_name(name) for name, p in model.owner.named_parameters() if p.requires_grad}
    unsaved = sorted(trained ^ weights_of(model.owner).keys())
    if unsaved:
        raise Failed(f"{named(unsaved)} would not be saved as peft saves them.", _KIND, _HINT)
    found = reload(model.owner, LoraConfig.from_pretrained(str(folder)))
    _require_nothing_lost(
        found, "The adapter's config does not describe the adapter that is trained"
    )


def verify_adapter(folder: Path, model: LoadedModel) -> None:
    """Load the adapter in `folder` onto the base, and compare its weights and its answers.

    The trained adapter is taken off the base first. Raises `Failed` with the names of weights that
    are missing or different, or with the difference of a probe's log-probabilities.
    """
    import torch
    from peft import PeftModel
    from safetensors.torch import load_file

    from ftsdk.backends.local.compute.fused_lora import fuse_adapters
    from ftsdk.backends.local.compute.reload import compare, named, weights_of

    what = "The saved adapter is not the one that was trained"
    before = _probe(model.network)
    trained = {name: tensor.detach().clone() for name, tensor in weights_of(model.owner).items()}
    first = next(parameter for parameter in model.owner.parameters() if parameter.requires_grad)
    loaded = PeftModel.from_pretrained(
        model.owner.unload(), str(folder), autocast_adapter_dtype=False, torch_device="cpu"
    )
    weights = weights_of(loaded)
    saved = load_file(folder / "adapter_model.safetensors")
    _require_nothing_lost(compare(trained, saved), what)
    _require_nothing_lost(compare(trained, weights), what)
    changed = [
        name
        for name, tensor in trained.items()
        if not torch.equal(weights[name].to(tensor.device, tensor.dtype), tensor)
    ]
    if changed:
        raise Failed(f"{what}: {named(changed)} have other values.", _KIND, _HINT)
    for name, parameter in loaded.named_parameters():
        if any(part in name for part in (".lora_", ".modules_to_save.", ".trainable_tokens_")):
            parameter.data = parameter.data.to(first.device, first.dtype)
    fuse_adapters(loaded)
    difference = float((_probe(loaded.get_base_model()) - before).abs().max())
    if not difference <= _TOLERANCE:
        message = f"{what}: loaded back, its answers differ by {difference:.3g} nats."
        raise Failed(message, _KIND, _HINT, difference=difference)


def verify_file(folder: Path, weights: Mapping[str, torch.Tensor]) -> None:
    """Compare the adapter's file in `folder` with the weights that were trained. Raises `Failed`.

    For a base that no rank has whole: it is not asked with the adapter.
    """
    from safetensors.torch import load_file

    from ftsdk.backends.local.compute.reload import compare

    found = compare(dict(weights), load_file(folder / "adapter_model.safetensors"))
    _require_nothing_lost(found, "The saved adapter is not the one that was trained")


def verify_full(folder: Path) -> None:
    """Compare the weights in `folder` with those that its config asks for. Raises `Failed`.

    Only the headers of the files are read.
    """
    from ftsdk.backends.local.compute.reload import named
    from ftsdk.backends.local.compute.skeleton import CannotBuild, config_of, load_headers

    what = "The saved model is not complete"
    try:
        found = load_headers(config_of(folder), sorted(folder.glob("*.safetensors")))
    except CannotBuild as error:
        raise Failed(f"{what}: {error}.", _KIND, _HINT) from error
    if found.missing or found.misfits:
        raise Failed(f"{what}: {named([*found.missing, *found.misfits])}.", _KIND, _HINT)


def _require_nothing_lost(found: Reload, what: str) -> None:
    if str(found):
        raise Failed(f"{what}: {found}.", _KIND, _HINT, lost=found.lost[:100])


def _probe(network: Any) -> torch.Tensor:
    """Log-probabilities of a row of tokens under the network, [tokens - 1, vocabulary]."""
    vocabulary = network.get_input_embeddings().weight.shape[0]
    ids = array("i", [(7 * k + 3) % vocabulary for k in range(_PROBE_TOKENS)])
    batch = PackedBatch.of([Rendered(ids, b"\x01" * len(ids))], network.device)
    with evaluating(network):
        return next_token_logits(network, batch).float().log_softmax(-1)
