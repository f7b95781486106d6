"""A double of Replicate: files, models and versions, trainings, predictions, weights.

Shapes are those of its OpenAPI text (2026-03-16). There is one trainer, `lab/llama-trainer`, with a
published input schema. What it can be told: `stages` (how long a training takes),
`lists_before_visible`, `trainings_at_once` (a quota), `credit` (False: HTTP 402), `page_size`; and to
a training: `fail`, `trainings[id]["forced"]` (a status shown instead of the computed one).
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import io
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from ftsdk.clock import Clock
from ftsdk.testing.lab import brain
from ftsdk.testing.lab.double import Double, route
from ftsdk.testing.lab.replicate_rules import INPUT, TRAINING_INPUT, check_inputs, problem
from ftsdk.testing.lab.timeline import Stage, Timeline
from ftsdk.testing.lab.wire import Refusal, Reply, Request

__all__ = ["STAGES", "TRAINER", "ReplicateDouble"]

STAGES = (Stage("starting", 0.0), Stage("processing", 2.0), Stage("succeeded", 6.0))
KEY = "lab-replicate-key"
TRAINER = "lab/llama-trainer"
VERSION = hashlib.sha256(b"lab llama trainer").hexdigest()
_MAX_FILE_BYTES = 100_000_000
_FINAL = ("succeeded", "failed", "canceled", "aborted")


class ReplicateDouble(Double):
    """See the module's docstring."""

    name = "replicate"

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        port: int = 0,
        stages: Sequence[Stage] = STAGES,
        keys: Sequence[str] = (KEY,),
    ) -> None:
        super().__init__(clock=clock, port=port)
        self.stages = tuple(stages)
        self.keys = set(keys)
        self.credit = True
        self.trainings_at_once: int | None = None
        self.lists_before_visible = 0
        self.page_size = 100
        self.webhook_secret = "whsec_" + base64.b64encode(b"lab webhook secret, no secret").decode()
        self.files: dict[str, dict[str, Any]] = {}
        self.models: dict[str, dict[str, Any]] = {}
        self.trainings: dict[str, dict[str, Any]] = {}
        self.predictions: dict[str, dict[str, Any]] = {}
        self._model(TRAINER, versions=[VERSION])
        self._model("lab/tuned")

    def variables(self) -> dict[str, str]:
        return {"REPLICATE_BASE_URL": self.base_url, "REPLICATE_API_TOKEN": min(self.keys)}

    # --- the door ---

    def before(self, request: Request) -> None:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if request.path.startswith("/delivery/"):
            if given:
                self.violations.append("the key was sent to the delivery of weights")
            return
        if given not in self.keys:
            raise problem(401, "Unauthenticated", "You did not pass a valid authentication token")

    def not_here(self, request: Request) -> Reply:
        raise problem(404, "Not found", f"{request.method} {request.path}")

    # --- account, hardware ---

    @route("GET", "/v1/account")
    def account(self, request: Request) -> Any:
        """Whose key it is."""
        return {"type": "organization", "username": "lab", "name": "Lab", "github_url": ""}

    @route("GET", "/v1/hardware")
    def hardware(self, request: Request) -> Any:
        """Hardware, without prices."""
        names = {"cpu": "CPU", "gpu-l40s": "Nvidia L40S GPU", "gpu-h100": "Nvidia H100 GPU"}
        return Reply(200, [{"name": name, "sku": sku} for sku, name in names.items()])

    @route("GET", "/v1/webhooks/default/secret")
    def secret(self, request: Request) -> Any:
        """The key that webhooks are signed with."""
        return {"key": self.webhook_secret}

    # --- files ---

    @route("POST", "/v1/files")
    def create_file(self, request: Request) -> Any:
        """Take a file of at most 100 MB."""
        part = request.parts().get("content")
        if part is None:
            raise problem(400, "Bad request", "Missing content", field="content")
        if len(part.content) > _MAX_FILE_BYTES:
            raise problem(413, "Too large", "Files are at most 100 MB")
        file_id = self.new_id("", 26)
        self.files[file_id] = {
            "id": file_id,
            "name": part.filename or "upload",
            "content_type": part.content_type or "application/octet-stream",
            "content": part.content,
            "created": self.now(),
        }
        return Reply(201, self._shown_file(self.files[file_id]))

    def _shown_file(self, file: Mapping[str, Any]) -> dict[str, Any]:
        digest = hashlib.sha256(file["content"]).hexdigest()
        return {
            "id": file["id"],
            "name": file["name"],
            "content_type": file["content_type"],
            "size": len(file["content"]),
            "etag": digest[:32],
            "checksums": {"sha256": digest},
            "metadata": {},
            "created_at": _iso(file["created"]),
            "expires_at": _iso(file["created"] + dt.timedelta(days=1)),
            "urls": {"get": f"{self.origin}/v1/files/{file['id']}"},
        }

    @route("GET", "/v1/files/{file_id}")
    def get_file(self, request: Request, file_id: str) -> Any:
        """One file's facts."""
        if file_id not in self.files:
            raise problem(404, "Not found", "File not found")
        return self._shown_file(self.files[file_id])

    # --- models ---

    def _model(self, name: str, versions: Sequence[str] = ()) -> None:
        self.models[name] = {"versions": list(versions), "created": self.now()}

    @route("POST", "/v1/models")
    def create_model(self, request: Request) -> Any:
        """Make an empty model, a destination."""
        body = request.json()
        for field in ("owner", "name", "visibility", "hardware"):
            if not body.get(field):
                raise problem(422, "Unprocessable", f"{field} is required", field=field)
        name = f"{body['owner']}/{body['name']}"
        if name in self.models:
            raise problem(409, "Conflict", "A model with that name already exists")
        self._model(name)
        return Reply(201, self._shown_model(name))

    @route("GET", "/v1/models/{owner}/{name}")
    def get_model(self, request: Request, owner: str, name: str) -> Any:
        """One model."""
        return self._shown_model(self._known(owner, name))

    def _known(self, owner: str, name: str) -> str:
        if f"{owner}/{name}" not in self.models:
            raise problem(404, "Not found", "Model not found")
        return f"{owner}/{name}"

    def _shown_model(self, name: str) -> dict[str, Any]:
        model = self.models[name]
        owner, _, short = name.partition("/")
        latest = model["versions"][-1] if model["versions"] else None
        return {
            "url": f"https://replicate.com/{name}",
            "owner": owner,
            "name": short,
            "description": None,
            "visibility": "private",
            "github_url": None,
            "paper_url": None,
            "license_url": None,
            "run_count": 0,
            "cover_image_url": None,
            "default_example": None,
            "latest_version": self._shown_version(latest) if latest else None,
        }

    @route("GET", "/v1/models/{owner}/{name}/versions/{version}")
    def get_version(self, request: Request, owner: str, name: str, version: str) -> Any:
        """One version with its schema."""
        if version not in self.models[self._known(owner, name)]["versions"]:
            raise problem(404, "Not found", "Version not found")
        return self._shown_version(version)

    def _shown_version(self, version: str) -> dict[str, Any]:
        schemas = {"Input": INPUT}
        if version == VERSION:
            schemas["TrainingInput"] = TRAINING_INPUT
        return {
            "id": version,
            "created_at": "2026-01-01T00:00:00Z",
            "cog_version": "0.16.0",
            "openapi_schema": {"openapi": "3.0.2", "components": {"schemas": schemas}},
        }

    # --- trainings ---

    @route("POST", "/v1/models/{owner}/{name}/versions/{version}/trainings")
    def create_training(self, request: Request, owner: str, name: str, version: str) -> Any:
        """Create a training: here money would begin to flow."""
        self.get_version(request, owner, name, version)
        body = request.json()
        odd = sorted(set(body) - {"destination", "input", "webhook", "webhook_events_filter"})
        if odd:
            raise problem(422, "Unprocessable", f"Additional property {odd[0]}", field=odd[0])
        destination = str(body.get("destination") or "")
        if destination not in self.models:
            raise problem(404, "Not found", "The specified training destination does not exist")
        if version != VERSION:
            raise problem(422, "Unprocessable", "The version cannot be trained")
        inputs = check_inputs(body.get("input"))
        if not self.credit:
            raise problem(402, "Insufficient credit", "You have insufficient credit to run this")
        active = [one for one in self.trainings.values() if self._word(one) not in _FINAL]
        if self.trainings_at_once is not None and len(active) >= self.trainings_at_once:
            raise problem(429, "Throttled", "Request was throttled. Your rate limit resets in ~30s.",
                          headers={"Retry-After": "30"})  # fmt: skip
        return Reply(201, self._shown(self._new(f"{owner}/{name}", destination, inputs)))

    def _new(self, model: str, destination: str, inputs: dict[str, Any]) -> dict[str, Any]:
        identity = self.new_id("", 26)
        now, content = self.now(), self._content(inputs["train_data"])
        training: dict[str, Any] = {
            "id": identity,
            "model": model,
            "destination": destination,
            "input": inputs,
            "content": content,
            "created": now,
            "timeline": Timeline(now, self.stages, training="processing", trained="succeeded"),
            "hidden": self.lists_before_visible,
            "version": hashlib.sha256(identity.encode()).hexdigest(),
            "error": None,
            "forced": None,
        }
        fault = None if content is None else _first_fault(content)
        if content is None or fault is not None:
            said = (
                "train_data could not be fetched"
                if fault is None
                else f"line {fault[0]}: {fault[1]}"
            )
            training["error"] = said
            training["timeline"].stages = (
                *self.stages[:2],
                Stage("failed", self.stages[1].at_s + 1),
            )
        self.trainings[identity] = training
        return training

    def _content(self, url: str) -> bytes | None:
        """What lies at the URL, where it is one of ours."""
        file = self.files.get(urlsplit(url).path.rpartition("/")[2])
        return file["content"] if file else (b"" if url.startswith("https://") else None)

    def _word(self, training: Mapping[str, Any]) -> str:
        return str(
            training["timeline"].word(self.now())
            if training["forced"] is None
            else training["forced"]
        )

    def fail(self, training_id: str, message: str) -> None:
        """Let a training end in failure."""
        with self._lock:
            training = self.trainings[training_id]
            training["error"] = message
            training["timeline"].end("failed", self.now())

    def _shown(self, training: Mapping[str, Any]) -> dict[str, Any]:
        word, timeline, now = self._word(training), training["timeline"], self.now()
        identity = training["id"]
        started = timeline.start_of("processing")
        started = (
            started if started is not None and started <= now and timeline.age_s(now) >= 2 else None
        )
        done = word in _FINAL
        ended = timeline.start_of(word) if done else None
        if word == "succeeded" and training["version"] not in self._versions(training):
            self.models[training["destination"]]["versions"].append(training["version"])
        seconds = 0.0
        if started is not None and ended is not None:
            seconds = (ended - started).total_seconds()
        told = {
            "id": identity,
            "model": training["model"],
            "version": VERSION,
            "input": training["input"],
            "output": None,
            "logs": self._logs(training) if started is not None else "",
            "error": training["error"] if word == "failed" else None,
            "status": word,
            "source": "api",
            "created_at": _iso(training["created"]),
            "started_at": None if started is None else _iso(started),
            "completed_at": None if ended is None else _iso(ended),
            "metrics": {"predict_time": seconds, "total_time": seconds + 2} if done else {},
            "urls": {
                "get": f"{self.origin}/v1/predictions/{identity}",
                "cancel": f"{self.origin}/v1/trainings/{identity}/cancel",
            },
        }
        if word == "succeeded":
            told["output"] = {
                "version": f"{training['destination']}:{training['version']}",
                "weights": f"{self.origin}/delivery/{identity}/weights.zip",
            }
        return told

    def _versions(self, training: Mapping[str, Any]) -> list[str]:
        found: list[str] = self.models[training["destination"]]["versions"]
        return found

    def _logs(self, training: Mapping[str, Any]) -> str:
        """What a trainer on top of transformers prints: a bar and a line of figures each step."""
        steps = 12
        lines = ["Downloading weights", "Starting training"]
        epochs = float(training["input"].get("num_train_epochs", 1))
        for point in brain.curve(int(training["input"].get("seed", 0)), steps,
                                 training["timeline"].fraction(self.now())):  # fmt: skip
            step = int(point["step"])
            epoch = round(point["share"] * epochs, 2)
            lines.append(f"{step * 100 // steps:3d}%|####  | {step}/{steps} [00:01<00:05, 1.2it/s]")
            lines.append(f"{{'loss': {point['loss']}, 'learning_rate': 2e-05, 'epoch': {epoch}}}")
        if training["error"]:
            lines.append(f"Traceback: {training['error']}")
        return "\n".join(lines) + "\n"

    def _training(self, training_id: str) -> dict[str, Any]:
        if training_id not in self.trainings:
            raise problem(404, "Not found", "Training not found")
        return self.trainings[training_id]

    @route("GET", "/v1/trainings")
    def list_trainings(self, request: Request) -> Any:
        """A page of trainings, newest first."""
        shown = []
        for training in reversed(self.trainings.values()):
            if training["hidden"] > 0:
                training["hidden"] -= 1
            else:
                shown.append(training)
        begin = int(request.first("cursor") or 0)
        page = shown[begin : begin + self.page_size]
        more = begin + self.page_size < len(shown)
        following = f"{self.origin}/v1/trainings?cursor={begin + self.page_size}" if more else None
        return {"previous": None, "next": following, "results": [self._shown(one) for one in page]}

    @route("GET", "/v1/trainings/{training_id}")
    def get_training(self, request: Request, training_id: str) -> Any:
        """One training."""
        return self._shown(self._training(training_id))

    @route("POST", "/v1/trainings/{training_id}/cancel")
    def cancel(self, request: Request, training_id: str) -> Any:
        """Stop a training; one that ended stays as it is."""
        training = self._training(training_id)
        if self._word(training) not in _FINAL:
            begun = training["timeline"].age_s(self.now()) >= self.stages[1].at_s
            training["timeline"].end("canceled" if begun else "aborted", self.now())
        return self._shown(training)

    # --- running what was made ---

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
            "created_at": _iso(one["created"]),
            "started_at": _iso(one["created"]) if done else None,
            "completed_at": _iso(one["created"]) if done else None,
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


def _first_fault(content: bytes) -> tuple[int, str] | None:
    for number, row in brain.rows_of(content):
        if not isinstance(row, dict):
            return number, "not a JSON object"
        if not ({"text"} <= set(row) or {"prompt", "completion"} <= set(row) or "messages" in row):
            return number, "neither text nor prompt and completion"
        if "explode" in str(row.get("completion", "")):
            return number, "the trainer does not like it"
    return None


def _answer(content: bytes, prompt: str) -> str:
    """The completion of the training row whose prompt is most like this one."""
    asked = set(prompt.lower().split())
    best, score = "", -1.0
    for _, row in brain.rows_of(content):
        if isinstance(row, dict) and "prompt" in row:
            words = set(str(row["prompt"]).lower().split())
            shared = len(asked & words) / (len(asked | words) or 1)
            if shared > score:
                best, score = str(row["completion"]), shared
    return best or brain.nearest_answer(content, [{"role": "user", "content": prompt}])


def _iso(instant: dt.datetime) -> str:
    return instant.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
