"""What a run trains, as `spec.json` of its run directory holds it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from ftsdk.backends.local.options import RunHyperparameters, RunOptions
from ftsdk.types.spec import LoRA, Method

FORMAT = 1


class BaseModelRef(BaseModel):
    """The base model: the folder of its weights, and where they come from.

    `revision` and `sha256` (of the weights) are None where they are not known. `published_as` is
    the name that transformers loads it by on another machine, a hub id, or here, a path; `commit` is
    the hub's commit of it. Runs of older versions have neither.
    """

    model_config = ConfigDict(frozen=True)

    path: Path
    name: str
    revision: str | None = None
    sha256: str | None = None
    published_as: str | None = None
    commit: str | None = None

    @property
    def loaded_as(self) -> str:
        """What `from_pretrained` finds the base model by: its hub id, or its folder."""
        return self.published_as or self.name


class RunAdapter(LoRA):
    """The adapter of a run: a `LoRA` as it is written down."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: Literal["lora"] = "lora"


class ParentRef(BaseModel):
    """The adapter whose weights a run begins with, beside the rows in its directory.

    `job_id` is the job that trained it, None for an adapter from elsewhere; `sha256` is the digest of
    its weights.
    """

    model_config = ConfigDict(frozen=True)

    job_id: str | None
    sha256: str


class RunSpec(BaseModel):
    """Everything that decides what a run trains; `adapter` None trains all weights.

    `train` and `validation` are names of files in the run directory, which `RunDir.create` sets.
    Fields of later versions are ignored, so that an older ftsdk can read a newer run.
    """

    model_config = ConfigDict(frozen=True)

    format: int = FORMAT
    created_at: AwareDatetime = Field(default_factory=lambda: dt.datetime.now(dt.UTC))
    job_id: str
    base_model: BaseModelRef
    method: Method = "sft"
    adapter: RunAdapter | None
    parent: ParentRef | None = None
    hyperparameters: RunHyperparameters = Field(default_factory=RunHyperparameters)
    seed: int = 0
    options: RunOptions = Field(default_factory=RunOptions)
    train: str = "train.jsonl"
    validation: str | None = None

    @property
    def adapter_kind(self) -> str:
        """`full`, `lora` or `nf4`."""
        return "full" if self.adapter is None else self.adapter.quantize or "lora"

    @property
    def needs_bitsandbytes(self) -> bool:
        """Whether the base, or the state of the optimizer, is packed by bitsandbytes."""
        return self.adapter_kind == "nf4" or self.options.optimizer != "adamw"
