"""What a training was asked with: kept here under its mark, since Replicate does not tell it again.

How the trainer's log says a loss, how it is prompted, and which hardware it runs on, and with that
what its seconds cost. Written before the training is made, so that nothing can fail after it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftsdk.backends.replicate import job_mapping
from ftsdk.backends.replicate.trainer import Asked, Trainer, asked_of
from ftsdk.catalogue import Catalogue, estimate_training, lookup
from ftsdk.types.cost import Cost
from ftsdk.types.spec import JobSpec
from ftsdk.util.files import atomic_write_json, make_private_folder

__all__ = ["Notes"]


class Notes:
    """The notes of one home folder."""

    def __init__(self, home: Path, options: Mapping[str, Any]) -> None:
        self._folder, self._options = home / "replicate", options

    def keep(self, tag: str, asked: Asked) -> None:
        """Note what the training with this mark is asked with."""
        make_private_folder(self._folder)
        facts = {"trainer": asked.trainer.model_dump(mode="json"), "hardware": asked.hardware}
        atomic_write_json(self._folder / f"{tag}.json", facts)

    def of(self, data: Mapping[str, Any]) -> tuple[Trainer, str | None]:
        """The trainer's record and hardware: as noted, else as configured, else `llama`'s."""
        tag = job_mapping.mark_in(data)
        try:
            told = json.loads((self._folder / f"{tag}.json").read_bytes())
            return Trainer.model_validate(told["trainer"]), told.get("hardware")
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            asked, _ = asked_of(JobSpec(provider="replicate", model="adopted"), self._options)
            return asked.trainer, asked.hardware

    def cost(self, data: Mapping[str, Any], catalogue: Catalogue) -> Cost | None:
        """The seconds that Replicate tells at the price of the hardware."""
        model = data.get("model")
        name = model if isinstance(model, str) else ""
        entry = lookup("replicate", name, catalogue)
        if entry is None:
            return job_mapping.cost_of(data, None, "", None)
        hardware = self.of(data)[1] or (entry.model.hardware if entry.model else None)
        facts = entry.facts.hardware.get(hardware or "")
        if facts is None or facts.usd_per_second is None:
            return job_mapping.cost_of(data, None, "", None)
        day = estimate_training("replicate", name, hardware=hardware, catalogue=catalogue).as_of
        return job_mapping.cost_of(data, facts.usd_per_second.high, str(hardware), day)
