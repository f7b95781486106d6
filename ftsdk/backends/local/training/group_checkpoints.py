"""The checkpoints of a run that several ranks train: rank 0 finds and writes them for all.

A checkpoint has whole tensors, whatever the ranks divide, so a run can be resumed with another
number of processes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftsdk.backends.local.training.checkpoint import Checkpoints, TrainState, WholeWeights
from ftsdk.backends.local.training.group import Group, rank_0_first
from ftsdk.backends.local.training.optimizer import FlatAdamW
from ftsdk.backends.local.training.outcome import Failed

if TYPE_CHECKING:
    import torch


class GroupCheckpoints(Checkpoints):
    """What `Checkpoints` does, on each rank of a group; every rank makes the same calls."""

    def __init__(self, folder: Path, identity: Mapping[str, Any], keep: int, group: Group) -> None:
        with rank_0_first(group):  # each removes what a killed run left; rank 0 alone finds some
            super().__init__(folder, identity, keep)
        self._group = group

    def find(self) -> tuple[Path | None, dict[str, Any], list[str]]:
        """The newest sound checkpoint, as rank 0 finds it."""
        found = None
        if self._group.rank == 0:
            folder, manifest, skipped = super().find()
            found = [None if folder is None else folder.name, manifest, skipped]
        name, manifest, skipped = self._group.broadcast(found)
        return None if name is None else self._folder / name, manifest, skipped

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
        """Write the state after `state.step` steps; returns the folder on every rank."""
        whole, name = Gathered(optimizer), None
        if self._group.rank == 0:
            path = super().save(state, whole, save_config, weights_file, facts, keep_best=keep_best)
            name = path.name
        return self._folder / str(self._group.broadcast(name))


class Gathered:
    """The whole weights and moments of an optimizer, gathered from all ranks when it is made."""

    def __init__(self, optimizer: WholeWeights) -> None:
        self._weights, self._moments = optimizer.weights(), optimizer.moments()

    def weights(self) -> Mapping[str, torch.Tensor]:
        """The float32 value of each trainable weight, by its name in the model."""
        return self._weights

    def moments(self) -> Mapping[str, torch.Tensor]:
        """AdamW's moving averages, by kind and name."""
        return self._moments


def checkpoints_of(
    folder: Path, identity: Mapping[str, Any], keep: int, group: Group
) -> Checkpoints:
    """The checkpoints in a folder, for a rank of the group."""
    if group.size == 1:
        return Checkpoints(folder, identity, keep)
    return GroupCheckpoints(folder, identity, keep, group)


def require_equal(group: Group, optimizer: FlatAdamW) -> None:
    """Raise `Failed` where ranks that each have all weights do not have the same ones."""
    if len(set(group.gather(optimizer.checksum()))) > 1:
        raise Failed(
            "The processes of this run do not have the same weights any more.",
            "ranks_differ",
            "`ftsdk resume` goes back to the last checkpoint; please report this",
        )
