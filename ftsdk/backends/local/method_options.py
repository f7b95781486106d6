"""The options of single training methods, and which method each belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from ftsdk.types.plan import PlannedField
from ftsdk.types.spec import Method, NoBool

BETA = 0.1
"""The default of the hyperparameter `beta`."""
LEARNING_RATES: Mapping[str, float] = {"dpo": 2e-5, "kto": 2e-5, "orpo": 2e-5}
"""The default learning rate of methods whose loss needs a smaller one than supervised rows."""
_Weight = Annotated[float, Field(ge=0, allow_inf_nan=False), NoBool]


class MethodOptions(BaseModel):
    """Options that change the loss of one method, or how its rows are read."""

    loss_type: Literal["sigmoid", "hinge", "ipo", "robust"] = "sigmoid"
    """The loss of `dpo`, as TRL defines it: `robust` expects some labels to be wrong."""
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5, allow_inf_nan=False), NoBool] = 0.0
    """The share of wrong labels that the `robust` loss of `dpo` expects."""
    rpo_alpha: _Weight = 0.0
    """Weight of the cross-entropy of the preferred answer beside the loss of `dpo` (RPO)."""
    desirable_weight: _Weight = 1.0
    """Weight of good answers in the loss of `kto`."""
    undesirable_weight: _Weight = 1.0
    """Weight of bad answers in the loss of `kto`."""
    packing: bool = False
    """Lay documents of plain text end to end and cut them at `max_length`, for `sft`."""


_METHOD_OF: Mapping[str, Method] = {
    "loss_type": "dpo",
    "label_smoothing": "dpo",
    "rpo_alpha": "dpo",
    "desirable_weight": "kto",
    "undesirable_weight": "kto",
    "packing": "sft",
}


def method_faults(method: str, beta: float | None, options: MethodOptions) -> Iterator[str]:
    """Yield one line for each setting that belongs to another method, or to no job like this."""
    if beta is not None and method == "sft":
        yield f"hyperparameter beta={beta!r} is for the methods dpo, kto and orpo"
    given: dict[str, Any] = options.model_dump(include=set(_METHOD_OF), exclude_defaults=True)
    for name, value in given.items():
        if _METHOD_OF[name] != method:
            yield f"option {name}={value!r} is for method {_METHOD_OF[name]!r}"
    if method == "dpo" and options.label_smoothing and options.loss_type != "robust":
        yield f"option label_smoothing={options.label_smoothing!r} is for loss_type='robust'"


def default_of(method: str, name: str) -> float | None:
    """The default of a hyperparameter for this method; None where it is that of every method."""
    if name == "beta":
        return None if method == "sft" else BETA
    return LEARNING_RATES.get(method) if name == "learning_rate" else None


def method_fields(fields: Iterable[PlannedField], method: str) -> Iterator[PlannedField]:
    """Yield the planned hyperparameters with the defaults of the method."""
    known: set[str] = set()
    for field in fields:
        known.add(field.name)
        own = default_of(method, field.name) if field.asked is None else None
        yield field if own is None else field.model_copy(update={"sent": own})
    beta = default_of(method, "beta")
    if beta is not None and "beta" not in known:
        yield PlannedField(name="beta", sent=beta, note="default")
