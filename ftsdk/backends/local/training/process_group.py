"""One rank of several processes on this machine, connected by torch.distributed.

The ranks find each other through a file in the run directory (`FTSDK_RENDEZVOUS`), and their
connections are bound to the loopback interface: nothing of it can be reached from another machine.
Rank and number of ranks come from the variables that torchrun sets, too.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from ftsdk.backends.local.runs.ranks import RENDEZVOUS
from ftsdk.backends.local.training.footprint.retry import lacks_memory
from ftsdk.backends.local.training.group import SINGLE, Group, PeerLost
from ftsdk.backends.local.training.outcome import Failed

if TYPE_CHECKING:
    import torch

_TIMEOUT = dt.timedelta(hours=2)
"""A rank that has ended is noticed at once; this is for one that hangs."""
_SIGNS = ("gloo", "nccl", "connection closed by peer", "connection reset", "broken pipe")
"""What the errors of a lost connection say."""

P = ParamSpec("P")
R = TypeVar("R")


def is_peer_lost(error: Exception) -> bool:
    """True for the error of a connection to another rank, wherever torch raises it."""
    import torch.distributed as dist

    if isinstance(error, PeerLost | dist.DistError):
        return not lacks_memory(error)
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(sign in text for sign in _SIGNS)


def _connected(
    call: Callable[Concatenate[TorchGroup, P], R],
) -> Callable[Concatenate[TorchGroup, P], R]:
    """Raise `PeerLost` where torch raises the error of a lost connection."""

    @wraps(call)
    def checked(group: TorchGroup, /, *given: P.args, **named: P.kwargs) -> R:
        try:
            return call(group, *given, **named)
        except RuntimeError as error:
            if is_peer_lost(error):
                raise PeerLost(str(error).partition("\n")[0]) from error
            raise

    return checked


class TorchGroup:
    """A rank of torch's default process group."""

    def __init__(self) -> None:
        import torch.distributed as dist

        self.rank, self.size = dist.get_rank(), dist.get_world_size()

    @_connected
    def all_reduce(self, tensor: torch.Tensor) -> None:
        """Replace the tensor by the sum over all ranks: the same bits on each of them."""
        import torch.distributed as dist

        dist.all_reduce(tensor)

    @_connected
    def most(self, value: int) -> int:
        """The largest value that a rank gives."""
        import torch
        import torch.distributed as dist

        found = torch.tensor([value], dtype=torch.int64)
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return int(found)

    @_connected
    def gather(self, value: Any) -> list[Any]:
        """The JSON values of all ranks, by rank."""
        import torch
        import torch.distributed as dist

        own = json.dumps(value).encode()
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        dist.all_gather(sizes, torch.tensor([len(own)]))
        most = max(int(size) for size in sizes)
        padded = torch.frombuffer(bytearray(own.ljust(most)), dtype=torch.uint8)
        found = [torch.empty(most, dtype=torch.uint8) for _ in range(self.size)]
        dist.all_gather(found, padded)
        return [json.loads(bytes(text.tolist())) for text in found]

    @_connected
    def broadcast(self, value: Any) -> Any:
        """The JSON value of rank 0; what other ranks give is not used."""
        import torch
        import torch.distributed as dist

        own = json.dumps(value).encode() if self.rank == 0 else b""
        size = torch.tensor([len(own)])
        dist.broadcast(size, 0)
        text = torch.frombuffer(bytearray(own.ljust(int(size))), dtype=torch.uint8)
        dist.broadcast(text, 0)
        return json.loads(bytes(text.tolist()))

    def barrier(self) -> None:
        """Return when every rank is here."""
        self.most(0)


def group_of(environment: Mapping[str, str]) -> Group:
    """Join the group that the environment describes; `SINGLE` where it describes none.

    Raises `PeerLost` where the others do not come.
    """
    size = int(environment.get("WORLD_SIZE", "1"))
    if size == 1:
        return SINGLE
    import torch
    import torch.distributed as dist

    on_cuda = torch.cuda.device_count() > (local_rank := int(environment["LOCAL_RANK"]))
    if on_cuda:
        torch.cuda.set_device(local_rank)
    backend = "cpu:gloo,cuda:nccl" if on_cuda else "gloo"
    try:
        file = environment.get(RENDEZVOUS)
        if file is None:  # torchrun: its address is in the environment
            dist.init_process_group(backend, timeout=_TIMEOUT)
        else:
            store = dist.FileStore(file, size)  # type: ignore[attr-defined]  # it is public, not listed
            rank = int(environment["RANK"])
            dist.init_process_group(
                backend, store=store, rank=rank, world_size=size, timeout=_TIMEOUT
            )
        group = TorchGroup()
        group.barrier()
    except RuntimeError as error:
        raise PeerLost(f"the group did not come together: {error}") from error
    return group


def own_device(device: str, group: Group, environment: Mapping[str, str]) -> str:
    """The device of this rank, by name, for the option `device`.

    Raises `Failed` where this machine has fewer GPUs than the group has ranks.
    """
    if group.size == 1 or device not in ("auto", "cuda"):
        return device
    import torch

    count, number = torch.cuda.device_count(), int(environment["LOCAL_RANK"])
    if number < count:
        return f"cuda:{number}"
    if device == "auto" and not count:
        return device
    raise Failed(
        f"This machine has {count} CUDA devices, and each of {group.size} processes needs its own.",
        "unsupported",
        f"set the option processes to {max(1, count)} or less",
    )
