"""The processes that train one run together: what a rank needs of the others.

`train` takes a `Group` and knows nothing of what started it. `SINGLE` is a process on its own;
`process_group.TorchGroup` is one of several, connected by torch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ftsdk.backends.local.runs.events import EventWriter

if TYPE_CHECKING:
    import torch


class PeerLost(Exception):
    """Another rank of the group has ended, so this one cannot continue."""


class Group(Protocol):
    """The ranks of a run, numbered from 0. Every rank makes the same calls in the same order.

    Each method but the properties raises `PeerLost` when another rank has ended.
    """

    @property
    def rank(self) -> int:
        """The number of this rank; rank 0 alone writes to the run directory."""

    @property
    def size(self) -> int:
        """The number of ranks."""

    def all_reduce(self, tensor: torch.Tensor) -> None:
        """Replace the tensor by the sum over all ranks: the same bits on each of them."""

    def most(self, value: int) -> int:
        """The largest value that a rank gives."""

    def gather(self, value: Any) -> list[Any]:
        """The JSON values of all ranks, by rank."""

    def broadcast(self, value: Any) -> Any:
        """The JSON value of rank 0; what other ranks give is not used."""

    def barrier(self) -> None:
        """Return when every rank is here."""


class Single:
    """A process on its own."""

    rank = 0
    size = 1

    def all_reduce(self, tensor: torch.Tensor) -> None:
        """The sum over one rank is what it was."""

    def most(self, value: int) -> int:
        return value

    def gather(self, value: Any) -> list[Any]:
        return [value]

    def broadcast(self, value: Any) -> Any:
        return value

    def barrier(self) -> None:
        """Nobody is waited for."""


SINGLE = Single()


@contextlib.contextmanager
def rank_0_first(group: Group) -> Iterator[None]:
    """Run the block on rank 0, then on the others: they find the files that it has written."""
    if group.rank:
        group.barrier()
    yield
    if not group.rank:
        group.barrier()


@contextlib.contextmanager
def one_after_another(group: Group) -> Iterator[None]:
    """Run the block on one rank at a time, so that what it needs for a while is needed once."""
    for _ in range(group.rank):
        group.barrier()
    yield
    for _ in range(group.size - group.rank):
        group.barrier()


def divided_by(group: Group, sharding: str | None) -> str:
    """Part of a sentence about what the ranks divide; empty for a process on its own."""
    if group.size == 1:
        return ""
    what = "weights and the rows" if sharding == "fsdp" else "rows"
    return f" in each of {group.size} processes, which divide the {what} of each step"


class Unwritten(EventWriter):
    """The event log of a rank other than 0, which writes nothing."""

    def __init__(self) -> None:
        """Open no file."""

    def listen(self, listener: Any) -> None:
        """There is nothing to listen to."""

    def write(self, kind: str, **facts: Any) -> int:
        """Write nothing; returns 0."""
        return 0

    def sync(self) -> None:
        """Nothing was written."""

    def close(self) -> None:
        """No file is open."""


def events_of(group: Group, path: Path) -> EventWriter:
    """The event log at `path` for rank 0, and one that writes nothing for the others."""
    return Unwritten() if group.rank else EventWriter(path)
