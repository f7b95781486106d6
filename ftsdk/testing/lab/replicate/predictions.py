"""Predictions of the Replicate double."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftsdk.testing.lab import fake_training
from ftsdk.testing.lab.base import Double, route
from ftsdk.testing.lab.messages import Reply, Request
from ftsdk.testing.lab.replicate.jobs import FakeJob
from ftsdk.testing.lab.replicate.request_checks import INPUT, iso, problem


class ReplicatePredictions(Double):
    """`/v1/predictions`; a mixin of `ReplicateDouble`."""

    trainings: dict[str, FakeJob]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.predictions: dict[str, dict[str, Any]] = {}

    @route("POST", "/v1/predictions")
    def create_prediction(self, request: Request) -> Any:
        """Run a version of a model."""
        body = request.json()
        version = str(body.get("version", "")).rpartition(":")[2]
        job = next((one for one in self.trainings.values() if one.version == version), None)
        if job is None or not job.succeeded(self.now()):
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
        text = _answer(job.content or b"", prompt)
        self.predictions[identity] = {
            "id": identity, "version": version, "model": job.destination,
            "input": body["input"], "created": self.now(), "text": text,
        }  # fmt: skip
        return Reply(201, self._prediction_object(self.predictions[identity]))

    @route("GET", "/v1/predictions/{prediction_id}")
    def get_prediction(self, request: Request, prediction_id: str) -> Any:
        """Return one prediction."""
        if prediction_id not in self.predictions:
            raise problem(404, "Not found", "Prediction not found")
        return self._prediction_object(self.predictions[prediction_id])

    def _prediction_object(self, one: Mapping[str, Any]) -> dict[str, Any]:
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


def _answer(content: bytes, prompt: str) -> str:
    """Return the completion of the training row whose prompt is most similar."""
    prompt_words = set(prompt.lower().split())
    best, score = "", -1.0
    for _, row in fake_training.rows_of(content):
        if isinstance(row, dict) and "prompt" in row:
            words = set(str(row["prompt"]).lower().split())
            shared = len(prompt_words & words) / (len(prompt_words | words) or 1)
            if shared > score:
                best, score = str(row["completion"]), shared
    return best or fake_training.nearest_answer(content, [{"role": "user", "content": prompt}])
