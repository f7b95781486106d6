"""The settings of the old job at a new provider: taken over, chosen where they do not convert, or left out.

A learning-rate multiplier is a factor on a rate that OpenAI does not publish. It is never converted to
an absolute rate: one is chosen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftsdk.backends.capabilities import Capabilities
from ftsdk.migration.old_model import OldModel
from ftsdk.types.migration import SettingChange

LORA_RATE = 2e-4
"""The learning rate that is chosen for LoRA where the old one does not convert; `local` uses it too."""
_MULTIPLIER = "learning_rate_multiplier"
_UNITS: Mapping[str, str] = {
    "epochs": "times over the rows",
    "batch_size": "rows a step",
    "learning_rate": "absolute",
    "learning_rate_multiplier": "× their own rate",
    "beta": "DPO's β",
    "seed": "",
}


def settings_of(
    old: OldModel, able: Capabilities, asked: Mapping[str, Any], seed: int | None
) -> tuple[list[SettingChange], dict[str, Any]]:
    """Return what becomes of each setting, and the hyperparameters of the new job.

    `asked` and `seed` are the caller's own; they take precedence.
    """
    changes, new = [], dict(asked)
    for name, value in old.hyperparameters.items():
        change = _changed(name, value, able, asked)
        changes.append(change)
        if change.change == "same":
            new[name] = value
    if not {"learning_rate", "learning_rate_multiplier"} & set(new):
        changes += _chosen_rate(able, new)
    changes += [
        SettingChange(name=name, old="–", new=shown(name, value), change="set", why="you gave it")
        for name, value in asked.items()
        if name not in old.hyperparameters
    ]
    return [*changes, _seed(old, able, seed)], new


def _changed(name: str, value: Any, able: Capabilities, asked: Mapping[str, Any]) -> SettingChange:
    old, allowed = shown(name, value), able.hyperparameters.get(name)
    if name in asked:
        return SettingChange(
            name=name, old=old, new=shown(name, asked[name]), change="set", why="you gave it"
        )
    if allowed is None:
        why = "another unit" if name == _MULTIPLIER else "not taken there"
        return SettingChange(name=name, old=old, new="–", change="dropped", why=why)
    fault = allowed.fault(value)
    if name == "batch_size" and _MULTIPLIER not in able.hyperparameters:
        fault = "it goes with the learning rate"
    elif fault is not None:
        fault = f"there it must be {fault}"
    if fault is not None:
        default = (
            "their default" if allowed.default is None else f"{allowed.default}, their default"
        )
        return SettingChange(name=name, old=old, new=default, change="chosen", why=fault)
    return SettingChange(name=name, old=old, new=old, change="same")


def _chosen_rate(able: Capabilities, new: dict[str, Any]) -> list[SettingChange]:
    """Choose the learning rate where the job would otherwise have the provider's default."""
    if "learning_rate" not in able.hyperparameters:
        return []
    new["learning_rate"] = LORA_RATE
    return [
        SettingChange(
            name="learning_rate",
            old="–",
            new=shown("learning_rate", LORA_RATE),
            change="chosen",
            why="a usual rate for LoRA; try others with --train learning_rate=…",
        )
    ]


def _seed(old: OldModel, able: Capabilities, seed: int | None) -> SettingChange:
    before = "–" if old.seed is None else str(old.seed)
    if not able.takes_seed:
        return SettingChange(
            name="seed", old=before, new="–", change="dropped", why="not taken there"
        )
    if seed is not None:
        return SettingChange(
            name="seed", old=before, new=str(seed), change="set", why="you gave it"
        )
    same = old.seed is not None
    return SettingChange(
        name="seed",
        old=before,
        new=before if same else "0",
        change="same" if same else "chosen",
        why="" if same else "the old one is not known",
    )


def shown(name: str, value: Any) -> str:
    """Return a value with its unit."""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    unit = _UNITS.get(name, "")
    return f"{text} {unit}".strip()
