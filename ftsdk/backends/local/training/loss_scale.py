"""The step of the optimizer, with the loss scaled in float16 so that small gradients are not lost.

float16 has no numbers below 6e-8, where many gradients are, and none above 65504. So the loss is
multiplied before the backward pass, by as much as the gradients allow, and the float32 gradient is
divided again before it is clipped. The rule is that of `torch.amp.GradScaler`: a step whose gradient
overflows is skipped and the scale halved; it doubles after 2,000 steps without one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from ftsdk.backends.local.compute.hardware import Hardware
from ftsdk.backends.local.training.checkpoint import TrainState
from ftsdk.backends.local.training.group import SINGLE, Group
from ftsdk.backends.local.training.optimizer import FlatAdamW
from ftsdk.backends.local.training.outcome import Failed

if TYPE_CHECKING:
    import torch

MOST_SKIPPED = 20
"""Steps in a row that may be skipped. The first scale is 2**16: one that is still too large after so
many halvings is not what makes the gradients overflow."""


class Scale(Protocol):
    """How the loss is scaled, and the step that knows of it."""

    def scaled(self, loss: torch.Tensor) -> torch.Tensor:
        """The loss that the backward pass begins with."""

    def step(self, optimizer: FlatAdamW, max_norm: float, rate: float) -> float | None:
        """Clip the gradient and change the weights; returns its norm before, None where it skips.

        Raises `Failed` for a norm that is not finite.
        """

    def facts(self) -> Mapping[str, Any]:
        """What a metric event says of it."""


def loss_scale(hardware: Hardware, state: TrainState, group: Group = SINGLE) -> Scale:
    """The scale of a run on this hardware; one of float16 goes on from `state` and keeps it current."""
    import torch

    if hardware.dtype == torch.float16:
        return GrowingScale(hardware, state, group)
    return NoScale(state)


class NoScale:
    """The loss as it is: bf16 and float32 reach far enough."""

    def __init__(self, state: TrainState) -> None:
        self._state = state

    def scaled(self, loss: torch.Tensor) -> torch.Tensor:
        return loss

    def step(self, optimizer: FlatAdamW, max_norm: float, rate: float) -> float | None:
        norm = finite(optimizer.clip(max_norm), "gradient norm", self._state.step + 1)
        optimizer.step(rate)
        return norm

    def facts(self) -> Mapping[str, Any]:
        return {}


class GrowingScale:
    """torch's GradScaler, whose state is in the `TrainState`. All ranks of a group skip together."""

    def __init__(self, hardware: Hardware, state: TrainState, group: Group = SINGLE) -> None:
        import torch

        self._state, self._group = state, group
        self._scaler = torch.amp.GradScaler(hardware.device.type)
        if state.loss_scale is not None:
            self._scaler.load_state_dict(
                {
                    **self._scaler.state_dict(),
                    "scale": state.loss_scale,
                    "_growth_tracker": state.loss_scale_growth,
                }
            )

    def scaled(self, loss: torch.Tensor) -> torch.Tensor:
        return self._scaler.scale(loss)

    def step(self, optimizer: FlatAdamW, max_norm: float, rate: float) -> float | None:
        scaler, step = self._scaler, self._state.step + 1
        before = scaler.get_scale()
        self._share_overflow(optimizer.gradient)
        scaler.unscale_(optimizer)  # type: ignore[arg-type]  # it asks for param_groups alone
        norm = optimizer.clip(max_norm)
        scaler.step(optimizer, rate)  # type: ignore[arg-type]  # and for step
        scaler.update()
        skipped = scaler.get_scale() < before
        self._keep(skipped)
        if skipped:
            self._require_progress(step)
            return None
        return finite(norm, "gradient norm", step)

    def _share_overflow(self, gradient: torch.Tensor) -> None:
        """Let the gradient overflow on every rank where it does on one: each may have a part of it."""
        if self._group.size == 1:
            return
        overflows = gradient.isfinite().all().logical_not().float()
        self._group.all_reduce(overflows)
        if overflows:
            gradient[:1] = float("inf")

    def _keep(self, skipped: bool) -> None:
        state, known = self._state, self._scaler.state_dict()
        state.loss_scale = float(known["scale"])
        state.loss_scale_growth = int(known["_growth_tracker"])
        state.skipped_steps += skipped
        state.skipped_in_a_row = state.skipped_in_a_row + 1 if skipped else 0

    def _require_progress(self, step: int) -> None:
        """Raise `Failed` after too many skipped steps in a row."""
        if self._state.skipped_in_a_row < MOST_SKIPPED:
            return
        raise Failed(
            f"The gradients overflow float16 in {MOST_SKIPPED} steps in a row, up to step {step}, "
            "however the loss is scaled; the weights before them are kept.",
            "non_finite_loss",
            "set dtype='float32', or on a GPU that has it 'bf16'; or lower learning_rate",
            step=step,
        )

    def facts(self) -> Mapping[str, Any]:
        return {"loss_scale": self._state.loss_scale, "skipped_steps": self._state.skipped_steps}


def describe_skip(step: int, state: TrainState) -> str:
    """One line about a step that was skipped."""
    return (
        f"Step {step} was skipped: its gradient overflows float16. The loss is scaled by "
        f"{state.loss_scale:g} from now on."
    )


def finite(value: float, what: str, step: int) -> float:
    """Return the value; raise `Failed` when it is not a finite number."""
    if math.isfinite(value):
        return value
    message = f"The {what} became {value} at step {step}; the weights before it are kept."
    hint = "lower learning_rate (a tenth is a good try), raise warmup_ratio, or look at the rows"
    raise Failed(message, "non_finite_loss", hint, step=step)
