"""The model that is replaced: how it was trained, from the inventory, and on which rows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from ftsdk.errors import UsageError
from ftsdk.types.inventory import Inventory, InventoryFile, InventoryJob

_METHODS: Mapping[str, str] = {"supervised": "sft", "dpo": "dpo"}
_FIELDS: Mapping[str, str] = {
    "n_epochs": "epochs",
    "batch_size": "batch_size",
    "learning_rate_multiplier": "learning_rate_multiplier",
    "beta": "beta",
}


@dataclass(frozen=True)
class OldModel:
    """A fine-tune of the account, with the settings of its job as the provider applied them.

    `training` is the file of its rows in the inventory, with tools where its rows had functions. Where there
    is none, `missing` says why. `not_converted` names places in it that a person has to change.
    """

    provider: str
    name: str
    base_model: str | None
    ends_on: dt.date | None = None
    method: str = "sft"
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    training: Path | None = None
    validation: Path | None = None
    not_converted: tuple[str, ...] = ()
    missing: str = ""

    def require_training(self) -> Path:
        """Return the training rows. Raises `UsageError` where there are none."""
        if self.training is None:
            raise UsageError(
                f"The training file cannot be read: {self.missing}",
                where=f"model {self.name}",
                hint="give your own copy: --training FILE",
            )
        return self.training


def old_models(
    found: Inventory, wanted: tuple[str, ...], training: Path | None = None
) -> list[OldModel]:
    """Return the fine-tunes to replace, the first to end first; all of the account by default.

    `training` replaces the training file. Raises `UsageError` for a name that the account does not
    have, and where it has no fine-tune.
    """
    names = {one.id for one in found.models}
    unknown = sorted(set(wanted) - names)
    if unknown or not names:
        raise UsageError(
            f"The account has no fine-tune {', '.join(unknown)}" if unknown
            else "The account has no fine-tune",
            where=f"{found.provider}; it has {', '.join(sorted(names)) or 'none'}",
            hint=f"`ftsdk inventory {found.provider}` lists the models; is it the right key?",
        )  # fmt: skip
    chosen = [one for one in found.models if not wanted or one.id in wanted]
    chosen.sort(key=lambda one: (one.ends_on is None, one.ends_on or dt.date.max, one.id))
    return [_old_model(found, one.id, one.base_model, one.ends_on, training) for one in chosen]


def _old_model(
    found: Inventory,
    name: str,
    base: str | None,
    ends_on: dt.date | None,
    training: Path | None,
) -> OldModel:
    job = next((one for one in found.jobs if one.result_model == name), None)
    if job is None:
        missing = "no job of the account has this model as its result"
        return OldModel(found.provider, name, base, ends_on, training=training, missing=missing)
    raw = _raw(found, job)
    kind, hyperparameters = _method(raw)
    files = {one.role: one for one in found.files if job.provider_job_id in one.jobs}
    own = _path(found, files.get("training"))
    trained = files.get("training")
    return OldModel(
        provider=found.provider,
        name=name,
        base_model=base or job.model,
        ends_on=ends_on,
        method=_METHODS.get(kind, kind),
        hyperparameters=hyperparameters,
        seed=raw.get("seed") if isinstance(raw.get("seed"), int) else None,
        training=training or own,
        validation=_path(found, files.get("validation")),
        not_converted=() if training is not None or trained is None else trained.not_converted,
        missing="" if own else _why_missing(trained),
    )


def _raw(found: Inventory, job: InventoryJob) -> Mapping[str, Any]:
    record = orjson.loads((found.folder / job.record).read_bytes())
    raw = record.get("raw")
    return raw if isinstance(raw, Mapping) else {}


def _method(raw: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the method of the job, and its hyperparameters by our names."""
    method = raw.get("method")
    kind = str(method.get("type")) if isinstance(method, Mapping) else "supervised"
    inner = method.get(kind) if isinstance(method, Mapping) else None
    places = (raw.get("hyperparameters"), (inner or {}).get("hyperparameters"))
    given = {k: v for place in places if isinstance(place, Mapping) for k, v in place.items()}
    return kind, {ours: given[theirs] for theirs, ours in _FIELDS.items() if _known(given.get(theirs))}  # fmt: skip


def _known(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _path(found: Inventory, file: InventoryFile | None) -> Path | None:
    name = None if file is None else file.converted or file.path
    return None if name is None else found.folder / name


def _why_missing(file: InventoryFile | None) -> str:
    if file is None:
        return "its job names no training file"
    return f"{file.id} is {'gone' if file.missing == 'gone' else 'not fetched yet'}: {file.why}"
