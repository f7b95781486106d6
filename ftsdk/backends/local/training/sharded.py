"""A model whose weights the ranks of a group divide (FSDP2), and its optimizer.

Each rank has a share of every weight. A layer's weights are gathered when it computes and freed
after it; its gradient is added up over the ranks and each keeps its share. Every rank computes
equally often, since each of these is an exchange.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MethodType
from typing import TYPE_CHECKING, Any

from ftsdk.backends.local.training.batches import PackedBatch
from ftsdk.backends.local.training.group import Group
from ftsdk.backends.local.training.model import LoadedModel
from ftsdk.backends.local.training.optimizer import FlatAdamW

if TYPE_CHECKING:
    import torch
    from torch.distributed.tensor import DTensor

_CALL = "ftsdk_call"


@dataclass(frozen=True)
class ShardedModel(LoadedModel):
    """A model whose weights are divided; what computes with the head has them gathered."""

    @property
    def is_sharded(self) -> bool:
        return True

    def loss_sum(self, batch: PackedBatch) -> torch.Tensor:
        found: torch.Tensor = getattr(self.network, _CALL)(super().loss_sum, batch)
        return found

    def log_probs(self, batch: PackedBatch) -> torch.Tensor:
        found: torch.Tensor = getattr(self.network, _CALL)(super().log_probs, batch)
        return found


def shard(model: LoadedModel, group: Group, device: torch.device) -> ShardedModel:
    """Divide the weights of the model over the ranks of the group; each moves its share to `device`."""
    import torch
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import (
        FSDPModule,
        MixedPrecisionPolicy,
        fully_shard,
        register_fsdp_forward_method,
    )

    network = model.network
    mesh = init_device_mesh(device.type, (group.size,))
    policy = MixedPrecisionPolicy(reduce_dtype=torch.float32)
    for layer in layers_of(network):
        fully_shard(layer, mesh=mesh, mp_policy=policy, reshard_after_forward=True)
    # What is left, embeddings and head, is used at both ends of a pass.
    fully_shard(network, mesh=mesh, mp_policy=policy, reshard_after_forward=False)
    for module in network.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)  # the loss is divided by all tokens already
            module.set_force_sum_reduction_for_comms(True)
    setattr(network, _CALL, MethodType(_call, network))
    register_fsdp_forward_method(network, _CALL)
    return ShardedModel(**vars(model))


def _call(_network: Any, function: Callable[..., Any], *given: Any) -> Any:
    """Call a function while the network's weights are gathered as for its own forward pass."""
    return function(*given)


def layers_of(network: Any) -> list[Any]:
    """The blocks of the network, as transformers names those that are not to be split."""
    names = set(getattr(network, "_no_split_modules", None) or ())
    return [module for module in network.modules() if type(module).__name__ in names]


class ShardedAdamW(FlatAdamW):
    """`FlatAdamW` over this rank's share of each weight."""

    def __init__(
        self,
        named: Iterable[tuple[str, torch.nn.Parameter]],
        *,
        weight_decay: float,
        group: Group,
        network: Any,
    ) -> None:
        import torch

        self._group, self._network = group, network
        self._whole: dict[str, DTensor] = {n: p for n, p in named if p.requires_grad}  # type: ignore[misc]  # sharded parameters are both
        with torch.no_grad():
            shares = {name: p.to_local() for name, p in self._whole.items()}
        super().__init__(
            [(name, torch.nn.Parameter(share.clone())) for name, share in shares.items()],
            weight_decay=weight_decay,
        )

    def _own(self) -> Iterator[DTensor]:
        """Yield the divided weights in the order of the flat vectors."""
        for name in self.names:
            yield self._whole[name]

    @property
    def count(self) -> int:
        """The number of trainable weights of all ranks."""
        return sum(weight.numel() for weight in self._whole.values())

    @property
    def saved_bytes(self) -> int:
        """The size of the weights and the averages in a checkpoint."""
        return 12 * self.count

    def collect(self) -> None:
        """Add this rank's share of the gradient of one backward pass to that of the step."""
        for weight, view in zip(self._own(), self._views(self.gradient), strict=True):
            if weight.grad is not None:
                view.add_(weight.grad.to_local())  # type: ignore[attr-defined]  # it is divided too
                weight.grad = None

    def reduce(self, group: Group) -> None:
        """Nothing is left to add up: each backward pass did."""

    def checksum(self) -> int:
        """Equal on all ranks, whose weights are different shares."""
        return 0

    def norm(self) -> float:
        """The norm of the whole gradient."""
        squared = self.gradient.norm().double().square()[None]
        self._group.all_reduce(squared)
        return float(squared.sqrt())

    def _round(self) -> None:
        import torch

        with torch.no_grad():
            for weight, view in zip(self._own(), self._views(self.master), strict=True):
                weight.to_local().copy_(view)
        # What is outside of layers stays gathered after a pass without gradients: as it was.
        self._network.reshard()

    # --- state, by name -----------------------------------------------------------------------

    def weights(self) -> dict[str, torch.Tensor]:
        """The whole float32 value of each trainable weight on rank 0; nothing on the others.

        Every rank takes part.
        """
        return self._gathered(zip(self.names, self.names, self._views(self.master), strict=True))

    def moments(self) -> dict[str, torch.Tensor]:
        """AdamW's two averages of each whole weight on rank 0; nothing on the others."""
        return self._gathered(
            (f"{kind}:{name}", name, part)
            for names, averages in self._averages
            for kind, vector in averages.tensors().items()
            for name, part in self._split(vector, names)
        )

    def _gathered(self, shares: Iterable[tuple[str, str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        """Gather shares, given as key, name of the weight and share; one after the other."""
        found = {}
        for key, name, share in shares:
            whole = whole_of(share, self._whole[name])
            if self._group.rank == 0:
                found[key] = whole.cpu()
        return found

    def load(
        self,
        weights: Mapping[str, torch.Tensor],
        moments: Mapping[str, torch.Tensor],
        step: int,
    ) -> None:
        """Load this rank's share of the state after `step` steps. Raises `KeyError`."""
        kinds = sorted({key.partition(":")[0] for key in moments})
        own = {
            f"{kind}:{name}": self._share(name, moments[f"{kind}:{name}"])
            for kind in kinds
            for name in self.names
        }
        super().load(weights, own, step)

    def load_weights(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Load this rank's share of the weights alone. Raises `KeyError`."""
        super().load_weights({name: self._share(name, weights[name]) for name in self.names})

    def _share(self, name: str, whole: torch.Tensor) -> torch.Tensor:
        """This rank's rows of a whole tensor."""
        rows = -(-whole.shape[0] // self._group.size)
        return whole[self._group.rank * rows :][:rows]


def whole_of(share: torch.Tensor, like: DTensor) -> torch.Tensor:
    """Gather a tensor that is divided as `like` from the shares of all ranks."""
    import torch
    from torch.distributed.tensor import DTensor

    with torch.no_grad():
        divided = DTensor.from_local(
            share, like.device_mesh, like.placements, shape=like.shape, stride=like.stride()
        )
        return divided.full_tensor()


def whole_state(network: Any, group: Group) -> dict[str, torch.Tensor]:
    """The whole weights of a divided network on rank 0, by name; tied ones are one tensor."""
    import torch
    from torch.distributed.tensor import DTensor

    found: dict[str, torch.Tensor] = {}
    gathered: dict[int, torch.Tensor] = {}
    with torch.no_grad():
        for name, tensor in network.state_dict(keep_vars=True).items():
            if id(tensor) not in gathered:
                whole = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
                gathered[id(tensor)] = whole.detach().cpu() if group.rank == 0 else whole[:0]
            found[name] = gathered[id(tensor)]
    return found if group.rank == 0 else {}
