"""Checkpoints: written complete or not at all, and verified before a resume uses them.

A checkpoint is written to a temporary folder, fsynced and renamed, with a manifest: size and SHA-256
of each file, and of the manifest itself. Nothing in it is a pickle: tensors are safetensors, the
rest is JSON. The random state needs no file, because each step derives its own from seed and step.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ftsdk.backends.local.runs.events import utc_now
from ftsdk.backends.local.training.optimizer import FlatAdamW
from ftsdk.util import files

if TYPE_CHECKING:
    import torch

FORMAT = 1
_ADAPTER_NAME = re.compile(r"\.default(?=\.|$)")


@dataclass
class TrainState:
    """The progress of a run between two steps; a checkpoint holds all of it.

    `trained_tokens` counts every token of every row used so far, `train_s` the seconds spent in
    steps. The losses are the last ones (of supervised rows, in nats per trained token), and the
    metrics those that the objective reports beside them. `best_*` describe the best evaluation so
    far, and `waits` counts those since that were no better. In float16 `loss_scale` is what the loss
    is multiplied with, `loss_scale_growth` the steps since it was halved or doubled, and
    `skipped_steps` those that changed no weight, of which the last `skipped_in_a_row` are together.
    """

    step: int = 0
    trained_tokens: int = 0
    train_s: float = 0.0
    loss: float | None = None
    validation_loss: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    validation_metrics: Mapping[str, float] = field(default_factory=dict)
    evaluated_step: int | None = None
    best_step: int | None = None
    best_value: float | None = None
    best_metrics: Mapping[str, float] = field(default_factory=dict)
    waits: int = 0
    loss_scale: float | None = None
    loss_scale_growth: int = 0
    skipped_steps: int = 0
    skipped_in_a_row: int = 0

    @property
    def updates(self) -> int:
        """The steps that changed the weights."""
        return self.step - self.skipped_steps

    def restore(self, saved: TrainState) -> None:
        """Take over every field of `saved`."""
        vars(self).update(vars(saved))


class WholeWeights(Protocol):
    """What a checkpoint saves of an optimizer."""

    def weights(self) -> Mapping[str, torch.Tensor]:
        """The float32 value of each trainable weight, by its name in the model."""

    def moments(self) -> Mapping[str, torch.Tensor]:
        """AdamW's moving averages, by kind and name."""


def saved_name(name: str) -> str:
    """The name of a trainable weight as peft saves it: without the name of the adapter."""
    if ".lora_magnitude_vector." in name:
        return name.partition(".default")[0]
    if ".modules_to_save." in name:
        return name.replace(".modules_to_save.default", "")
    inside_adapter = ".lora_" in name or ".trainable_tokens_delta." in name
    return _ADAPTER_NAME.sub("", name) if inside_adapter else name


def verify(folder: Path, identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest of a sound checkpoint of this run.

    Raises `ValueError`, which says what is wrong with the checkpoint.
    """
    try:
        manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_bytes())
        claimed = manifest.pop("sha256")
        if claimed != _digest(manifest):
            raise ValueError("manifest.json was changed")
        if manifest["format"] != FORMAT:
            raise ValueError(f"format {manifest['format']} is not known")
        if folder.name != _folder_name(manifest["step"]):
            raise ValueError(f"it is of step {manifest['step']}, which is not in its name")
        for key, value in identity.items():
            if manifest["identity"].get(key) != value:
                raise ValueError(f"it belongs to another run ({key} differs)")
        for name, entry in manifest["files"].items():
            _verify_file(folder / name, entry)
    except (OSError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
    return manifest


def _verify_file(path: Path, entry: Mapping[str, Any]) -> None:
    if not path.is_file():
        raise ValueError(f"{path.name} is missing")
    size = path.stat().st_size
    if size != entry["size_bytes"]:
        raise ValueError(f"{path.name} has {size} bytes instead of {entry['size_bytes']}")
    if files.sha256_file(path) != entry["sha256"]:
        raise ValueError(f"{path.name} was changed")


def _digest(manifest: Mapping[str, Any]) -> str:
    text = json.dumps(manifest, sort_keys=True, ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _folder_name(step: int) -> str:
    return f"step-{step:08d}"


def has_checkpoint(run: Path) -> bool:
    """True when a run directory has a checkpoint, sound or not: the run has begun."""
    return any((run / "checkpoints").glob("step-*"))


class Checkpoints:
    """The checkpoints of one run: saves them, finds the newest sound one, deletes old ones."""

    def __init__(self, folder: Path, identity: Mapping[str, Any], keep: int) -> None:
        self._folder = folder
        self._identity = dict(identity)
        self._keep = max(2, keep)
        self._sound: list[Path] = []
        self._best: Path | None = None
        folder.mkdir(mode=0o700, exist_ok=True)
        for left in folder.glob(".*.tmp"):  # half-written by a run that died
            shutil.rmtree(left)

    def find(self) -> tuple[Path | None, dict[str, Any], list[str]]:
        """Return the newest sound checkpoint, its manifest, and why each newer one was skipped.

        The first is None, and the manifest empty, when no checkpoint is sound.
        """
        skipped: dict[Path, str] = {}
        sound: dict[Path, dict[str, Any]] = {}
        for folder in sorted(self._folder.glob("step-*")):
            try:
                manifest = verify(folder, self._identity)
                self._require_best(manifest, folder, sound)
            except ValueError as error:
                skipped[folder] = f"{folder.name}: {error}"
            else:
                sound[folder] = manifest
        self._sound = list(sound)
        newest = self._sound[-1] if sound else None
        if newest is None:
            return None, {}, [*reversed(skipped.values())]
        return newest, sound[newest], [skipped[one] for one in reversed(skipped) if one > newest]

    def _require_best(
        self, manifest: Mapping[str, Any], folder: Path, sound: Mapping[Path, Any]
    ) -> None:
        """Raise `ValueError` when the best weights before this checkpoint are lost."""
        best = manifest.get("best_step")
        if best is None:
            return
        needed = self._folder / _folder_name(best)
        if needed != folder and needed not in sound:
            raise ValueError(f"{needed.name}, the best before it, is not sound")
        self._best = needed

    def save(
        self,
        state: TrainState,
        optimizer: WholeWeights,
        save_config: Callable[[Path], None],
        weights_file: str,
        facts: Mapping[str, Any],
        *,
        keep_best: bool = False,
    ) -> Path:
        """Write the state after `state.step` steps; then delete all but the newest few.

        `save_config` writes the model's configuration into the folder; `facts` are added to the
        manifest. With `keep_best` that of the best step is not deleted. Returns the folder.
        """
        target = self._folder / _folder_name(state.step)
        best = state.best_step if keep_best else None
        self._best = None if best is None else self._folder / _folder_name(best)
        if target.exists():
            if target in self._sound:
                return target
            shutil.rmtree(target)
        with files.atomic_folder(target) as folder:
            save_config(folder)
            weights = {saved_name(name): t for name, t in optimizer.weights().items()}
            _save_tensors(weights, folder / weights_file)
            _save_tensors(optimizer.moments(), folder / "optimizer.safetensors")
            _write_json(folder / "state.json", vars(state))
            manifest: dict[str, Any] = {
                "format": FORMAT,
                "step": state.step,
                "time": utc_now(),
                "identity": self._identity,
                "weights_file": weights_file,
                "best_step": best,
                **facts,
                "files": {
                    path.name: {
                        "size_bytes": path.stat().st_size,
                        "sha256": files.sha256_file(path),
                    }
                    for path in sorted(folder.iterdir())
                },
            }
            _write_json(folder / "manifest.json", {**manifest, "sha256": _digest(manifest)})
        self._sound.append(target)
        self._prune()
        return target

    def load(self, folder: Path, manifest: Mapping[str, Any], optimizer: FlatAdamW) -> TrainState:
        """Load the weights and moments of a verified checkpoint into the optimizer."""
        from safetensors.torch import load_file

        state = TrainState(**json.loads((folder / "state.json").read_bytes()))
        weights = read_weights(folder / manifest["weights_file"], optimizer)
        optimizer.load(weights, load_file(folder / "optimizer.safetensors"), state.updates)
        return state

    def load_weights(self, step: int, optimizer: FlatAdamW) -> None:
        """Load the weights after so many steps. Raises `ValueError` for a checkpoint that is not sound."""
        folder = self._folder / _folder_name(step)
        manifest = verify(folder, self._identity)
        optimizer.load_weights(read_weights(folder / manifest["weights_file"], optimizer))

    def _prune(self) -> None:
        if len(self._sound) < self._keep:
            return
        kept = self._sound[-self._keep :]
        if self._best in self._sound and self._best not in kept:
            kept.insert(0, self._best)
        for folder in self._folder.glob("step-*"):
            if folder not in kept:
                shutil.rmtree(folder)
        self._sound = kept


def read_weights(path: Path, optimizer: FlatAdamW) -> dict[str, torch.Tensor]:
    """The trainable weights in a saved file, by their names in the model. Raises `KeyError`."""
    from safetensors.torch import load_file

    saved = load_file(path)
    return {name: saved[saved_name(name)] for name in optimizer.names}


def _save_tensors(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    from safetensors.torch import save_file

    # Views of one vector are written as they are: a copy would take as much memory again.
    save_file({name: t.detach().cpu() for name, t in tensors.items()}, path)


def _write_json(path: Path, value: Any) -> None:
    path.write_bytes(json.dumps(value, indent=1, allow_nan=False).encode() + b"\n")
