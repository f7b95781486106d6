"""AdamW over one flat float32 vector, of which the model's trainable weights are a rounded copy.

Hundreds of small adapter matrices become one tensor, so that a step and the gradient norm take a
few operations, and a checkpoint is three vectors split by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from ftsdk.backends.local.optimizers import OptimizerName
from ftsdk.backends.local.training.averages import Averages, FloatAverages, averages_of
from ftsdk.backends.local.training.group import Group

if TYPE_CHECKING:
    import torch


class FlatAdamW:
    """The trainable weights, their gradient, and AdamW's state, as flat vectors.

    `named` are the parameters of the model by name. Weights that decay (matrices) come first, then
    those that do not (norms and biases), whose averages are in float32 whatever `kind` is.
    """

    def __init__(
        self,
        named: Iterable[tuple[str, torch.nn.Parameter]],
        *,
        weight_decay: float,
        kind: OptimizerName = "adamw",
    ) -> None:
        import torch

        wanted = [(name, p) for name, p in named if p.requires_grad]
        wanted.sort(key=lambda pair: pair[1].ndim < 2)  # stable: matrices first
        self.names = [name for name, _ in wanted]
        self.shapes = [p.shape for _, p in wanted]
        self._parameters = [p for _, p in wanted]
        self._sizes = [p.numel() for p in self._parameters]
        decaying = sum(p.numel() for p in self._parameters if p.ndim >= 2)
        first = self._parameters[0]
        self._copy = torch.cat([p.detach().reshape(-1) for p in self._parameters])
        self._low_precision = first.dtype != torch.float32
        self.master = self._copy.float() if self._low_precision else self._copy
        self._gradient_copy = torch.zeros_like(self._copy)
        self.gradient = (
            torch.zeros_like(self.master) if self._low_precision else self._gradient_copy
        )
        for parameter, weights, gradient in zip(
            self._parameters, self._views(self._copy), self._views(self._gradient_copy), strict=True
        ):
            parameter.data = weights
            parameter.grad = gradient
        self._averages: list[tuple[list[str], Averages]] = []
        matrices = sum(p.ndim >= 2 for p in self._parameters)
        parts: tuple[tuple[list[str], slice, float, OptimizerName], ...] = (
            (self.names[:matrices], slice(0, decaying), weight_decay, kind),
            (self.names[matrices:], slice(decaying, None), 0.0, "adamw"),
        )
        for names, part, decay, keeps in parts:
            if names:
                averages = averages_of(keeps, self.master[part], self.gradient[part], decay)
                self._averages.append((names, averages))

    def _views(self, vector: torch.Tensor) -> list[torch.Tensor]:
        import torch

        parts = torch.split(vector, self._sizes)
        return [part.view(shape) for part, shape in zip(parts, self.shapes, strict=True)]

    @property
    def param_groups(self) -> list[dict[str, list[torch.Tensor]]]:
        """All weights as one tensor with its float32 gradient, as `torch.amp.GradScaler` wants it."""
        self.master.grad = self.gradient
        return [{"params": [self.master]}]

    def zero_gradient(self) -> None:
        """Set the gradient to zero before a step."""
        self.gradient.zero_()
        self._gradient_copy.zero_()

    def collect(self) -> None:
        """Add the gradient of one backward pass to that of the step, in float32."""
        if self._low_precision:
            self.gradient.add_(self._gradient_copy)
            self._gradient_copy.zero_()

    @property
    def count(self) -> int:
        """The number of trainable weights."""
        return sum(self._sizes)

    def reduce(self, group: Group) -> None:
        """Add up the gradients of all ranks: once a step, in float32."""
        group.all_reduce(self.gradient)

    def checksum(self) -> int:
        """A sum over the bits of the weights, which is equal where all of them are."""
        import torch

        return int(self.master.view(torch.int32).sum(dtype=torch.int64))

    def norm(self) -> float:
        """The norm of the gradient."""
        return float(self.gradient.norm())

    def clip(self, max_norm: float) -> float:
        """Scale the gradient down to the norm `max_norm` (0: never); returns its norm before."""
        norm = self.norm()
        if max_norm and norm > max_norm:
            self.gradient.mul_(max_norm / (norm + 1e-6))
        return norm

    def step(self, learning_rate: float) -> None:
        """One AdamW step on the float32 weights, then update the model's rounded copy."""
        for _, averages in self._averages:
            averages.step(learning_rate)
        self._round()

    def _round(self) -> None:
        if self._low_precision:
            self._copy.copy_(self.master)

    # --- state, by name -----------------------------------------------------------------------

    def weights(self) -> dict[str, torch.Tensor]:
        """The float32 value of each trainable weight, by its name in the model."""
        return dict(zip(self.names, self._views(self.master), strict=True))

    def moments(self) -> dict[str, torch.Tensor]:
        """AdamW's two averages: `exp_avg:<name>` and `exp_avg_sq:<name>` of each weight, in float32.

        In 8 bits those of all matrices, end to end: `state1` and `absmax1`, `state2` and `absmax2`.
        """
        found: dict[str, torch.Tensor] = {}
        for names, averages in self._averages:
            for kind, vector in averages.tensors().items():
                if isinstance(averages, FloatAverages):
                    found |= {f"{kind}:{name}": v for name, v in self._split(vector, names)}
                else:
                    found[kind] = vector
        return found

    def _split(self, vector: torch.Tensor, names: list[str]) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield the part of each named weight in a vector of all of them, in its shape."""
        import torch

        shapes = dict(zip(self.names, self.shapes, strict=True))
        sizes = [shapes[name].numel() for name in names]
        for name, part in zip(names, torch.split(vector, sizes), strict=True):
            yield name, part.view(shapes[name])

    @property
    def saved_bytes(self) -> int:
        """The size of the weights and the averages in a checkpoint."""
        return 4 * self.count + sum(averages.size_bytes for _, averages in self._averages)

    def load(
        self,
        weights: Mapping[str, torch.Tensor],
        moments: Mapping[str, torch.Tensor],
        step: int,
    ) -> None:
        """Load the state after `step` changes. Raises `KeyError` when the name of a weight is missing."""
        import torch

        self.load_weights(weights)
        for names, averages in self._averages:
            tensors = moments
            if isinstance(averages, FloatAverages):
                tensors = {
                    kind: torch.cat([moments[f"{kind}:{name}"].reshape(-1) for name in names])
                    for kind in averages.tensors()
                }
            averages.load(tensors, step)

    def load_weights(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Load the weights alone. Raises `KeyError` when the name of one is missing."""
        for name, view in zip(self.names, self._views(self.master), strict=True):
            view.copy_(weights[name])
        self._round()
