"""Build the `input` of a training; what cannot be sent is refused by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ftsdk.backends.replicate.trainer import ADAPTER, Options
from ftsdk.types.plan import PlannedField
from ftsdk.types.spec import JobSpec, LoRA


def faults_of(spec: JobSpec, asked: Options) -> list[str]:
    """Return what the trainer's record does not accept, each by name."""
    trainer, faults = asked.trainer, []
    named = trainer.inputs
    faults += [
        f"hyperparameter {name} is not an input of this trainer"
        for name in spec.hyperparameters.given()
        if name not in named
    ]
    kind = "full" if spec.adapter is None else "lora"
    if kind not in trainer.adapters:
        faults.append(f"training kind {kind!r} (this trainer has {', '.join(trainer.adapters)})")
    if spec.adapter is not None:
        usual = LoRA()
        faults += [
            f"adapter {name}={getattr(spec.adapter, name)!r} is not an input of this trainer"
            for name in ADAPTER
            if name not in named
            and getattr(spec.adapter, name) != getattr(usual, name)
            and not (name == "alpha" and spec.adapter.alpha == 2 * spec.adapter.rank)
        ]
        if spec.adapter.target_modules != "all-linear":
            faults.append("adapter target_modules is not an input of this trainer")
    if spec.seed and "seed" not in named:
        faults.append(f"seed={spec.seed} is not an input of this trainer")
    own = {trainer.data, *named.values(), *trainer.fixed}
    faults += [
        f"provider_options.input.{name} is set by the trainer's record; give it as our argument"
        for name in asked.input
        if name in own
    ]
    return faults


def inputs_of(
    spec: JobSpec, asked: Options, *, data: str, validation: str | None = None
) -> dict[str, Any]:
    """Return the `input` of the training."""
    trainer, values = asked.trainer, _values(spec)
    if validation is not None:
        values["validation"] = validation
    named = {
        theirs: values[ours]
        for ours, theirs in trainer.inputs.items()
        if values.get(ours) is not None
    }
    return {**trainer.fixed, trainer.data: data, **named, **asked.input}


def planned(spec: JobSpec, asked: Options) -> Iterator[PlannedField]:
    """Yield the value asked for and the value sent, for everything but hyperparameters."""
    trainer, values = asked.trainer, _values(spec)
    for ours in ("seed", *ADAPTER):
        if ours in trainer.inputs and ours in values:
            yield PlannedField(
                name=ours,
                asked=values[ours],
                sent=values[ours],
                sent_as=f"input.{trainer.inputs[ours]}",
            )
    if spec.adapter is not None and not set(ADAPTER) & set(trainer.inputs):
        yield PlannedField(name="adapter", asked="lora", note="the trainer's own choice")
    yield PlannedField(
        name="destination", asked=asked.destination, sent=asked.destination, sent_as="destination"
    )
    yield PlannedField(
        name="rows", asked=trainer.rows, sent="the URL of the upload", sent_as=f"input.{trainer.data}",
        note="ends in the job's tag, by which it is found again",
    )  # fmt: skip
    for name, value in {**trainer.fixed, **asked.input}.items():
        yield PlannedField(name=f"input.{name}", asked=value, sent=value, sent_as=f"input.{name}")


def _values(spec: JobSpec) -> dict[str, Any]:
    """Return everything that was asked, by the names a trainer's record maps."""
    asked = spec.hyperparameters.given()
    if "epochs" in asked and asked["epochs"] == int(asked["epochs"]):
        asked["epochs"] = int(asked["epochs"])
    if spec.adapter is not None:
        lora = spec.adapter
        alpha = lora.alpha
        asked |= {"rank": lora.rank, "dropout": lora.dropout}
        asked["alpha"] = int(alpha) if alpha is not None and alpha == int(alpha) else alpha
    asked["seed"] = spec.seed
    return asked
