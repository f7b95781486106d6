"""What a training was created with, stored under its tag, since Replicate does not return it.

The trainer's log format, its prompt, and its hardware, which determines the price of its seconds.
Stored before the training is created, so that nothing can fail after it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftsdk.backends.replicate import job_mapping
from ftsdk.backends.replicate.cost import billed
from ftsdk.backends.replicate.trainer import Options, Trainer, options_of
from ftsdk.catalogue.schema import Catalogue
from ftsdk.types.cost import Cost
from ftsdk.types.spec import JobSpec
from ftsdk.util.files import atomic_write_json, make_private_folder


class SavedRequests:
    """The saved requests of one home folder."""

    def __init__(self, home: Path, options: Mapping[str, Any]) -> None:
        self._folder, self._options = home / "replicate", options

    def keep(self, tag: str, asked: Options) -> None:
        """Save what the training with this tag is created with."""
        make_private_folder(self._folder)
        facts = {"trainer": asked.trainer.model_dump(mode="json"), "hardware": asked.hardware}
        atomic_write_json(self._folder / f"{tag}.json", facts)

    def of(self, data: Mapping[str, Any]) -> tuple[Trainer, str | None]:
        """Return the trainer's record and hardware: as saved, else as configured, else `llama`'s."""
        tag = job_mapping.tag_in(data)
        try:
            saved = json.loads((self._folder / f"{tag}.json").read_bytes())
            return Trainer.model_validate(saved["trainer"]), saved.get("hardware")
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            asked, _ = options_of(JobSpec(provider="replicate", model="adopted"), self._options)
            return asked.trainer, asked.hardware

    def cost(self, data: Mapping[str, Any], catalogue: Catalogue) -> Cost | None:
        """Return what a training cost, at the price of the hardware that was saved."""
        return billed(data, self.of(data)[1], catalogue)
