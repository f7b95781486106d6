"""Account and models of the Replicate double: hardware, models, versions with their schemas."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Any

from ftsdk.testing.lab.base import Double, route
from ftsdk.testing.lab.messages import Reply, Request
from ftsdk.testing.lab.replicate.request_checks import INPUT, TRAINING_INPUT, problem

TRAINER = "lab/llama-trainer"
COMMUNITY_TRAINER = "nateraw/axolotl-trainer-llama-2-7b"
"""The trainer of the catalogue; here it has the version of `TRAINER`."""
VERSION = hashlib.sha256(b"lab llama trainer").hexdigest()


class ReplicateModels(Double):
    """`/v1/account`, `/v1/hardware` and `/v1/models`; a mixin of `ReplicateDouble`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.webhook_secret = "whsec_" + base64.b64encode(b"lab webhook secret, no secret").decode()
        self.models: dict[str, dict[str, Any]] = {}
        self._add_model(TRAINER, versions=[VERSION])
        self._add_model(COMMUNITY_TRAINER, versions=[VERSION])
        self._add_model("lab/tuned")

    # --- account, hardware ---

    @route("GET", "/v1/account")
    def account(self, request: Request) -> Any:
        """Return the owner of the key."""
        return {"type": "organization", "username": "lab", "name": "Lab", "github_url": ""}

    @route("GET", "/v1/hardware")
    def hardware(self, request: Request) -> Any:
        """Return hardware, without prices."""
        names = {"cpu": "CPU", "gpu-l40s": "Nvidia L40S GPU", "gpu-h100": "Nvidia H100 GPU"}
        return Reply(200, [{"name": name, "sku": sku} for sku, name in names.items()])

    @route("GET", "/v1/webhooks/default/secret")
    def secret(self, request: Request) -> Any:
        """Return the key that signs webhooks."""
        return {"key": self.webhook_secret}

    # --- models ---

    def _add_model(self, name: str, versions: Sequence[str] = ()) -> None:
        self.models[name] = {"versions": list(versions), "created": self.now()}

    @route("POST", "/v1/models")
    def create_model(self, request: Request) -> Any:
        """Create an empty model, as a destination."""
        body = request.json()
        for field in ("owner", "name", "visibility", "hardware"):
            if not body.get(field):
                raise problem(422, "Unprocessable", f"{field} is required", field=field)
        name = f"{body['owner']}/{body['name']}"
        if name in self.models:
            raise problem(409, "Conflict", "A model with that name already exists")
        self._add_model(name)
        return Reply(201, self._model_object(name))

    @route("GET", "/v1/models/{owner}/{name}")
    def get_model(self, request: Request, owner: str, name: str) -> Any:
        """Return one model."""
        return self._model_object(self._existing(owner, name))

    def _existing(self, owner: str, name: str) -> str:
        if f"{owner}/{name}" not in self.models:
            raise problem(404, "Not found", f"Model not found; the trainer of the lab is {TRAINER}")
        return f"{owner}/{name}"

    def _model_object(self, name: str) -> dict[str, Any]:
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
            "latest_version": self._version_object(latest) if latest else None,
        }

    @route("GET", "/v1/models/{owner}/{name}/versions/{version}")
    def get_version(self, request: Request, owner: str, name: str, version: str) -> Any:
        """Return one version, with its schema."""
        if version not in self.models[self._existing(owner, name)]["versions"]:
            raise problem(404, "Not found", "Version not found")
        return self._version_object(version)

    def _version_object(self, version: str) -> dict[str, Any]:
        schemas = {"Input": INPUT}
        if version == VERSION:
            schemas["TrainingInput"] = TRAINING_INPUT
        return {
            "id": version,
            "created_at": "2026-01-01T00:00:00Z",
            "cog_version": "0.16.0",
            "openapi_schema": {"openapi": "3.0.2", "components": {"schemas": schemas}},
        }
