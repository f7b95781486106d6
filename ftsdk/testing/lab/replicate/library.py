"""The part of the Replicate double that keeps things: files, models, versions with their schemas."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from ftsdk.testing.lab.base import Double, route
from ftsdk.testing.lab.replicate.request_checks import INPUT, TRAINING_INPUT, iso, problem
from ftsdk.testing.lab.wire import Reply, Request

__all__ = ["TRAINER", "VERSION", "ReplicateLibrary"]

TRAINER = "lab/llama-trainer"
VERSION = hashlib.sha256(b"lab llama trainer").hexdigest()
_MAX_FILE_BYTES = 100_000_000


class ReplicateLibrary(Double):
    """Account, files and models; mixed into the double."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.webhook_secret = "whsec_" + base64.b64encode(b"lab webhook secret, no secret").decode()
        self.files: dict[str, dict[str, Any]] = {}
        self.models: dict[str, dict[str, Any]] = {}
        self._model(TRAINER, versions=[VERSION])
        self._model("lab/tuned")

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
            "created_at": iso(file["created"]),
            "expires_at": iso(file["created"] + dt.timedelta(days=1)),
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
            raise problem(404, "Not found", f"Model not found; what the lab trains is {TRAINER}")
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
