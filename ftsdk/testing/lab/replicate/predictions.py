"""The part of the Replicate double that runs what was made: predictions, and the weights to fetch."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Any

from ftsdk.testing.lab import fake_training
from ftsdk.testing.lab.base import Double, route
from ftsdk.testing.lab.replicate.request_checks import INPUT, iso, problem
from ftsdk.testing.lab.wire import Refusal, Reply, Request

__all__ = ["ReplicateRunning"]


class ReplicateRunning(Double):
    """Predictions and deliveries; mixed into the double."""

    trainings: dict[str, dict[str, Any]]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.predictions: dict[str, dict[str, Any]] = {}

    def _word(self, training: Mapping[str, Any]) -> str:
        raise NotImplementedError

    @route("POST", "/v1/predictions")
    def create_prediction(self, request: Request) -> Any:
        """Run a version."""
        body = request.json()
        version = str(body.get("version", "")).rpartition(":")[2]
        made = [one for one in self.trainings.values() if one["version"] == version]
        if not made or self._word(made[0]) != "succeeded":
            raise problem(422, "Invalid version", "The specified version does not exist")
        prompt = (body.get("input") or {}).get("prompt")
        if not isinstance(prompt, str):
            raise problem(
                422, "Input validation failed", "input.prompt is required", field="prompt"
            )
        temperature = body["input"].get("temperature", 0.7)
        if temperature < INPUT["properties"]["temperature"]["minimum"]:
            raise problem(422, "Input validation failed", "input.temperature is too low")
        identity = self.new_id("", 26)
        text = _answer(made[0]["content"] or b"", prompt)
        self.predictions[identity] = {
            "id": identity, "version": version, "model": made[0]["destination"],
            "input": body["input"], "created": self.now(), "text": text,
        }  # fmt: skip
        return Reply(201, self._shown_prediction(self.predictions[identity]))

    @route("GET", "/v1/predictions/{prediction_id}")
    def get_prediction(self, request: Request, prediction_id: str) -> Any:
        """One prediction."""
        if prediction_id not in self.predictions:
            raise problem(404, "Not found", "Prediction not found")
        return self._shown_prediction(self.predictions[prediction_id])

    def _shown_prediction(self, one: Mapping[str, Any]) -> dict[str, Any]:
        age = (self.now() - one["created"]).total_seconds()
        done = age >= 0.4
        words = one["text"].split(" ")
        pieces = [word + " " for word in words[:-1]] + words[-1:]
        return {
            "id": one["id"],
            "model": one["model"],
            "version": one["version"],
            "input": one["input"],
            "output": pieces if done else None,
            "logs": "",
            "error": None,
            "status": "succeeded" if done else "starting",
            "created_at": iso(one["created"]),
            "started_at": iso(one["created"]) if done else None,
            "completed_at": iso(one["created"]) if done else None,
            "metrics": {
                "predict_time": 0.4,
                "input_token_count": 5,
                "output_token_count": len(words),
            }
            if done
            else {},
            "urls": {
                "get": f"{self.origin}/v1/predictions/{one['id']}",
                "cancel": f"{self.origin}/v1/predictions/{one['id']}/cancel",
            },
        }

    @route("GET", "/delivery/{training_id}/weights.zip")
    def weights(self, request: Request, training_id: str) -> Any:
        """The weights, as this trainer packs them; open to whoever has the address."""
        training = self.trainings.get(training_id)
        if training is None or self._word(training) != "succeeded":
            raise Refusal(404, "gone")
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("adapter_config.json", '{"r": 16, "peft_type": "LORA"}')
            archive.writestr("adapter_model.safetensors", b"\x02\0\0\0\0\0\0\0{}")
        return Reply(200, out.getvalue(), {"Content-Type": "application/zip"})


def _answer(content: bytes, prompt: str) -> str:
    """The completion of the training row whose prompt is most like this one."""
    asked = set(prompt.lower().split())
    best, score = "", -1.0
    for _, row in fake_training.rows_of(content):
        if isinstance(row, dict) and "prompt" in row:
            words = set(str(row["prompt"]).lower().split())
            shared = len(asked & words) / (len(asked | words) or 1)
            if shared > score:
                best, score = str(row["completion"]), shared
    return best or fake_training.nearest_answer(content, [{"role": "user", "content": prompt}])
