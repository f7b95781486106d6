"""Inference of the Together double: projects, configs, endpoints, deployments, chat."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from ftsdk.testing.lab import fake_training
from ftsdk.testing.lab.base import route
from ftsdk.testing.lab.chats import Chats
from ftsdk.testing.lab.messages import Request
from ftsdk.testing.lab.together.jobs import FakeJob
from ftsdk.testing.lab.together.request_checks import refuse

PROJECT = {"id": "proj_lab", "name": "Lab", "slug": "lab-project"}
_HARDWARE = {"1xnvidia-h100-80gb": 549, "1xnvidia-b200-180gb": 899}
_BASE = "/v2/projects/{project_id}"


class TogetherEndpoints(Chats):
    """Dedicated endpoints (API v2) and chat; a mixin of `TogetherDouble`."""

    jobs: dict[str, FakeJob]
    period_s = 1.0
    has_empty_logprobs = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.endpoints: dict[str, dict[str, Any]] = {}
        self.provisioning_s = 3.0
        self.configs = 1
        """Number of configs that fit a model."""

    @route("GET", "/v3/whoami")
    def whoami(self, request: Request) -> Any:
        """Return the owner of the key."""
        return {
            "type": "project_api_key",
            "api_key": {"id": "key_lab"},
            "organization": {"id": "org_lab", "name": "Lab"},
            "project": PROJECT,
        }

    @route("GET", "/v2/public/inference-instance-types")
    def instance_types(self, request: Request) -> Any:
        """Return hardware and prices."""
        return {
            "object": "list",
            "next_cursor": None,
            "data": [
                {
                    "id": name,
                    "name": name,
                    "description": name,
                    "gpuCount": 1,
                    "gpuMemoryGib": 80,
                    "gpuType": name.split("-")[1].upper(),
                    "priceCentsPerHour": cents,
                    "regions": [{"name": "lab"}],
                }
                for name, cents in _HARDWARE.items()
            ],
        }

    @route("GET", f"{_BASE}/configs")
    def list_configs(self, request: Request, project_id: str) -> Any:
        """Return the configs that fit a model."""
        self._check_project(project_id)
        model = request.first("referenceModel") or ""
        hardware = list(_HARDWARE)[: self.configs]
        data = [
            {
                "id": f"cr_{number}",
                "projectId": "proj_public",
                "certifications": [],
                "referenceModel": model,
                "referenceModelId": model.rpartition("/")[2],
                "selectors": [
                    {"key": "accelerator_type", "value": name.partition("x")[2]},
                    {"key": "accelerator_count", "value": "1"},
                ],
            }
            for number, name in enumerate(hardware, 1)
        ]
        return {"object": "list", "data": data, "next_cursor": None}

    def _check_project(self, project_id: str) -> None:
        if project_id != PROJECT["id"]:
            raise refuse(404, f"Project {project_id} not found", kind="not_found_error")

    # --- endpoints ---

    @route("GET", f"{_BASE}/endpoints")
    def list_endpoints(self, request: Request, project_id: str) -> Any:
        """Return the endpoints of the project."""
        self._check_project(project_id)
        found = [self._endpoint_object(one) for one in self.endpoints.values()]
        return {"object": "list", "data": found, "next_cursor": None}

    @route("POST", f"{_BASE}/endpoints")
    def create_endpoint(self, request: Request, project_id: str) -> Any:
        """Create an endpoint: a stable name. Nothing runs or is billed yet."""
        self._check_project(project_id)
        name = str(request.json().get("name", ""))
        if not name or len(name) > 63:
            raise refuse(400, "name must have 1 to 63 characters", param="name")
        if any(one["name"] == name for one in self.endpoints.values()):
            raise refuse(409, f"Endpoint {name} already exists")
        identity = self.new_id("ep_", 12)
        self.endpoints[identity] = {
            "id": identity, "name": name, "created": self.now(), "deployments": {}, "split": [],
        }  # fmt: skip
        return self._endpoint_object(self.endpoints[identity])

    def _endpoint(self, project_id: str, endpoint_id: str) -> dict[str, Any]:
        self._check_project(project_id)
        if endpoint_id not in self.endpoints:
            raise refuse(404, f"Endpoint {endpoint_id} not found", kind="not_found_error")
        return self.endpoints[endpoint_id]

    @route("GET", f"{_BASE}/endpoints/{{endpoint_id}}")
    def get_endpoint(self, request: Request, project_id: str, endpoint_id: str) -> Any:
        """Return one endpoint."""
        return self._endpoint_object(self._endpoint(project_id, endpoint_id))

    @route("PATCH", f"{_BASE}/endpoints/{{endpoint_id}}")
    def patch_endpoint(self, request: Request, project_id: str, endpoint_id: str) -> Any:
        """Change the traffic split."""
        endpoint, body = self._endpoint(project_id, endpoint_id), request.json()
        for entry in body.get("trafficSplit", []):
            if entry.get("deploymentId") not in endpoint["deployments"]:
                raise refuse(400, "trafficSplit names an unknown deployment")
        endpoint["split"] = body.get("trafficSplit", endpoint["split"])
        return self._endpoint_object(endpoint)

    @route("DELETE", f"{_BASE}/endpoints/{{endpoint_id}}")
    def delete_endpoint(self, request: Request, project_id: str, endpoint_id: str) -> Any:
        """Delete an endpoint that has no deployments."""
        if self._endpoint(project_id, endpoint_id)["deployments"]:
            raise refuse(400, "Delete its deployments first")
        del self.endpoints[endpoint_id]
        return {"id": endpoint_id}

    @route("POST", f"{_BASE}/endpoints/{{endpoint_id}}/deployments")
    def create_deployment(self, request: Request, project_id: str, endpoint_id: str) -> Any:
        """Start replicas. At the provider, billing starts here."""
        endpoint, body = self._endpoint(project_id, endpoint_id), request.json()
        for name in ("name", "autoscaling", "model", "config"):
            if name not in body:
                raise refuse(400, f"{name} is required", param=name)
        timeout = body.get("inactiveTimeout", 0)
        if timeout and not 30 <= timeout <= 1440:
            raise refuse(400, "inactiveTimeout must be 0 or 30 to 1440", param="inactiveTimeout")
        if self._job_of_model(body["model"]) is None:
            raise refuse(404, f"Model {body['model']} not found", kind="not_found_error")
        identity = self.new_id("dep_", 12)
        endpoint["deployments"][identity] = {"id": identity, **body, "created": self.now()}
        return self._deployment_object(endpoint, endpoint["deployments"][identity])

    @route("DELETE", f"{_BASE}/endpoints/{{endpoint_id}}/deployments/{{deployment_id}}")
    def delete_deployment(
        self, request: Request, project_id: str, endpoint_id: str, deployment_id: str
    ) -> Any:
        """Stop and delete a deployment that gets no traffic."""
        endpoint = self._endpoint(project_id, endpoint_id)
        if any(entry["deploymentId"] == deployment_id for entry in endpoint["split"]):
            raise refuse(400, "The deployment is still in the traffic split")
        if endpoint["deployments"].pop(deployment_id, None) is None:
            raise refuse(404, "No such deployment", kind="not_found_error")
        return {"id": deployment_id}

    def _job_of_model(self, model: str) -> FakeJob | None:
        """Return the job that registered this model."""
        identity = model.partition("/models/")[2].partition("/")[0]
        for job in self.jobs.values():
            if identity in (job.object_id(), job.object_id("adapter")) and not job.unregistered:
                return job
        return None

    def _state(self, deployment: dict[str, Any]) -> str:
        age = (self.now() - deployment["created"]).total_seconds()
        return "DEPLOYMENT_STATE_" + ("READY" if age >= self.provisioning_s else "PROVISIONING")

    def _hardware(self, deployment: dict[str, Any]) -> str:
        number = int(str(deployment["config"]).rpartition("cr_")[2] or 1)
        return list(_HARDWARE)[number - 1]

    def _endpoint_object(self, endpoint: dict[str, Any]) -> dict[str, Any]:
        at = _iso(endpoint["created"])
        return {
            "id": endpoint["id"],
            "name": f"{PROJECT['slug']}/{endpoint['name']}",
            "projectId": PROJECT["id"],
            "createdAt": at,
            "updatedAt": at,
            "endpointType": "ENDPOINT_TYPE_DEDICATED",
            "etag": "1",
            "visibility": "VISIBILITY_PRIVATE",
            "trafficSplit": endpoint["split"],
            "deployments": [
                {
                    "id": one["id"],
                    "name": f"{PROJECT['slug']}/{endpoint['name']}/{one['name']}",
                    "autoscaling": one["autoscaling"],
                    "createdAt": _iso(one["created"]),
                    "estimatedEffectiveTrafficShare": 1,
                    "hardware": self._hardware(one),
                    "model": f"{one['model']}/revisions/rv_1",
                    "modelId": one["model"].rpartition("/")[2],
                    "state": self._state(one),
                    "trafficMode": "TRAFFIC_MODE_LIVE",
                }
                for one in endpoint["deployments"].values()
            ],
        }

    def _deployment_object(self, endpoint: dict[str, Any], one: dict[str, Any]) -> dict[str, Any]:
        summary = self._endpoint_object(endpoint)["deployments"][-1]
        return {
            **{k: v for k, v in summary.items() if k != "state"},
            "config": one["config"],
            "configId": one["config"].rpartition("/")[2],
            "endpointId": endpoint["id"],
            "etag": "1",
            "projectId": PROJECT["id"],
            "modelRevisionId": "rv_1",
            "updatedAt": summary["createdAt"],
            "inactiveTimeout": one.get("inactiveTimeout", 0),
            "status": {"state": summary["state"], "message": ""},
        }

    # --- chat ---

    @route("POST", "/v1/chat/completions")
    def chat(self, request: Request) -> Any:
        """Return a chat completion of the tuned model behind an endpoint."""
        body = request.json()
        if not body.get("messages"):
            raise refuse(400, "messages is required", param="messages")
        slug, _, name = str(body.get("model", "")).partition("/")
        endpoint = next((e for e in self.endpoints.values() if e["name"] == name), None)
        ready = [
            one
            for one in (endpoint or {}).get("deployments", {}).values()
            if self._state(one).endswith("READY")
        ]
        if slug != PROJECT["slug"] or endpoint is None or not ready or not endpoint["split"]:
            raise refuse(
                404, f"Unable to access model {body.get('model')}", code="model_not_available"
            )
        self._check_pace(body)
        job = self._job_of_model(ready[0]["model"])
        text = fake_training.nearest_answer(job.content if job else b"", body["messages"])
        choices, usage = self._choices(body, text)
        seed = int(body.get("seed") or 0)
        return {
            "id": self.new_id("chat", 16),
            "object": "chat.completion",
            "created": self.stamp(),
            "model": body["model"],
            "prompt": [],
            "choices": [
                {**one, "text": one["message"]["content"], "seed": seed} for one in choices
            ],
            "usage": usage,
        }

    def _check_pace(self, body: dict[str, Any]) -> None:
        found = self._limited(body)
        if found is not None:
            what = found[0].removesuffix("s")
            raise refuse(
                429,
                f"Request was rejected due to {what} rate limiting.",
                kind=f"dynamic_{what}_limited",
            )

    def headers(self, request: Request) -> Mapping[str, str]:
        limits = self.limiter.together_headers() if self.is_chat(request) else {}
        return {**super().headers(request), **limits}


def _iso(instant: dt.datetime) -> str:
    return instant.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
