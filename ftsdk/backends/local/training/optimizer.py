"""AdamW over one flat float32 vector, of which the model's trainable weights are a rounded copy.

Hundreds of small adapter matrices become one tensor, so that a step and the gradient norm take a
few operations, and a checkpoint is three vectors split by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


class FlatAdamW:
    """The trainable weights, their gradient, and AdamW's state, as flat vectors.

    `named` are the parameters of the model by name. Weights that decay (matrices) come first, then
    those that do not (norms and biases).
    """

    def __init__(
        self, named: Iterable[tuple[str, torch.nn.Parameter]], *, weight_decay: float
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
        groups = []
        for part, decay in ((slice(0, decaying), weight_decay), (slice(decaying, None), 0.0)):
            view = self.master[part]
            if view.numel():
                view.grad = self.gradient[part]
                groups.append({"params": [view], "weight_decay": decay})
        self._adam = torch.optim.AdamW(groups, lr=0.0, fused=True)
        for group in self._adam.param_groups:
            for parameter in group["params"]:
                self._adam.state[parameter] = {
                    "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
                    "exp_avg": torch.zeros_like(parameter),
                    "exp_avg_sq": torch.zeros_like(parameter),
                }

    def _views(self, vector: torch.Tensor) -> list[torch.Tensor]:
        import torch

        parts = torch.split(vector, self._sizes)
        return [part.view(shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def zero_gradient(self) -> None:
        """Set the gradient to zero before a step."""
        self.gradient.zero_()
        self._gradient_copy.zero_()

    def collect(self) -> None:
        """Add the gradient of one backward pass to that of the step, in float32."""
        if self._low_precision:
            self.gradient.add_(self._gradient_copy)
            self._gradient_copy.zero_()

    def clip(self, max_norm: float) -> float:
        """Scale the gradient down to the norm `max_norm` (0: never); returns its norm before."""
        norm = float(self.gradient.norm())
        if max_norm and norm > max_norm:
            self.gradient.mul_(max_norm / (norm + 1e-6))
        return norm

    def step(self, learning_rate: float) -> None:
        """One AdamW step on the float32 weights, then update the model's rounded copy."""
        for group in self._adam.param_groups:
            group["lr"] = learning_rate
        self._adam.step()
        self._round()

    def _round(self) -> None:
        if self._low_precision:
            self._copy.copy_(self.master)

    # --- state, by name -----------------------------------------------------------------------

    def weights(self) -> dict[str, torch.Tensor]:
        """The float32 value of each trainable weight, by its name in the model."""
        return dict(zip(self.names, self._views(self.master), strict=True))

    def moments(self) -> dict[str, torch.Tensor]:
        """AdamW's two moving averages of each weight, as `exp_avg:<name>` and `exp_avg_sq:<name>`."""
        found: dict[str, torch.Tensor] = {}
        for kind in ("exp_avg", "exp_avg_sq"):
            for name, view in zip(self.names, self._views(self._joined(kind)), strict=True):
                found[f"{kind}:{name}"] = view
        return found

    def _joined(self, kind: str) -> torch.Tensor:
        import torch

        return torch.cat([self._adam.state[p][kind] for p in self._masters()])

    def _masters(self) -> list[torch.Tensor]:
        return [p for group in self._adam.param_groups for p in group["params"]]

    def load(
        self,
        weights: Mapping[str, torch.Tensor],
        moments: Mapping[str, torch.Tensor],
        step: int,
    ) -> None:
        """Load the state after `step` steps. Raises `KeyError` when the name of a weight is missing."""
        import torch

        self.load_weights(weights)
        for kind in ("exp_avg", "exp_avg_sq"):
            whole = torch.cat([moments[f"{kind}:{name}"].reshape(-1) for name in self.names])
            start = 0
            for parameter in self._masters():
                state = self._adam.state[parameter]
                state[kind].copy_(whole[start : start + parameter.numel()])
                state["step"].fill_(step)
                start += parameter.numel()

    def load_weights(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Load the weights alone. Raises `KeyError` when the name of one is missing."""
        for name, view in zip(self.names, self._views(self.master), strict=True):
            view.copy_(weights[name])
        self._round()
