"""Weights of the Replicate double."""

from __future__ import annotations

import io
import zipfile
from typing import Any

from ftsdk.testing.lab.base import Double, route
from ftsdk.testing.lab.messages import Refusal, Reply, Request
from ftsdk.testing.lab.replicate.jobs import FakeJob


class ReplicateWeights(Double):
    """Downloads; a mixin of `ReplicateDouble`."""

    trainings: dict[str, FakeJob]

    @route("GET", "/delivery/{training_id}/weights.zip")
    def weights(self, request: Request, training_id: str) -> Any:
        """Return the weights as the trainer packs them; the URL needs no API key."""
        job = self.trainings.get(training_id)
        if job is None or not job.succeeded(self.now()):
            raise Refusal(404, "gone")
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("adapter_config.json", '{"r": 16, "peft_type": "LORA"}')
            archive.writestr("adapter_model.safetensors", b"\x02\0\0\0\0\0\0\0{}")
        return Reply(200, out.getvalue(), {"Content-Type": "application/zip"})
