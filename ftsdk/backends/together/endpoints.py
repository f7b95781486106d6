"""Dedicated endpoints, through which a tuned model at Together is called.

An endpoint is named after the job's tag, so that any process finds it and a second `deploy` finds
the first. It bills by the minute and replica, idle time included. It stops by itself after
`inactive_timeout` minutes without a request (at least 30).

Source: together 3.1.1, resources/endpoints and lib/cli/api/endpoints/deploy.py (2026-11-04).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ftsdk.backends.together.transport import Transport, known_id
from ftsdk.errors import (
    AuthError,
    FtsdkError,
    NotFound,
    Unsupported,
    UsageError,
)

_READY = frozenset({"READY", "SCALING", "DEGRADED"})
_STARTING = frozenset({"PROVISIONING"})
_TIMEOUT_MINUTES = (30, 1440)
_MOST_PAGES = 50


@dataclass(frozen=True)
class Endpoint:
    """A dedicated endpoint and its one deployment. `name` is what chat takes as `model`."""

    id: str
    name: str
    project: str
    state: str
    deployment: str | None = None
    hardware: str = ""
    usd_per_hour: Decimal | None = None

    @property
    def callable_now(self) -> bool:
        """Whether a call would be answered."""
        return self.state in _READY

    @property
    def is_starting(self) -> bool:
        """Whether it will be callable after a while."""
        return self.state in _STARTING

    def to_dict(self) -> dict[str, Any]:
        """Return it as a handle's `raw` keeps it."""
        return {
            "id": self.id,
            "name": self.name,
            "state": self.state,
            "deployment": self.deployment,
            "hardware": self.hardware,
        }


class Endpoints:
    """The endpoints of one account's project."""

    def __init__(self, transport: Transport, project_id: str | None) -> None:
        self._transport = transport
        self._given = project_id

    def _project(self) -> str:
        if self._given:
            return known_id(self._given, "project")
        reply = self._transport.get("/v3/whoami")
        project = reply.get("project")
        found = project.get("id") if isinstance(project, Mapping) else None
        if not isinstance(found, str):
            raise UsageError(
                "The key does not say which Together project it is for",
                where="GET /v3/whoami",
                hint="set TOGETHER_PROJECT_ID, or use a project's key",
            )
        return known_id(found, "project")

    # --- reading ---

    def find(self, name: str) -> Endpoint | None:
        """Return the endpoint called `name` in this project, or None. Only reads."""
        try:
            project = self._project()
            for row in self._pages(f"/v2/projects/{project}/endpoints"):
                if str(row.get("name", "")).rpartition("/")[2] == name:
                    return _endpoint(row, project)
        except (AuthError, NotFound, UsageError):
            return None  # a key that cannot list endpoints cannot call one either
        return None

    def _pages(
        self, path: str, query: Mapping[str, Any] | None = None
    ) -> Iterator[Mapping[str, Any]]:
        asked: dict[str, Any] = {"limit": 100, **(query or {})}
        seen = set()
        for _ in range(_MOST_PAGES):
            page = self._transport.get(path, asked)
            data = page.get("data")
            yield from (row for row in data or () if isinstance(row, Mapping))
            cursor = page.get("next_cursor")
            if not isinstance(cursor, str) or not cursor or cursor in seen:
                return
            seen.add(cursor)
            asked["after"] = cursor

    def _prices(self) -> dict[str, Decimal]:
        """Return US dollars per hour of one replica, by the hardware's id and name."""
        found = {}
        for row in self._pages("/v2/public/inference-instance-types"):
            cents = row.get("priceCentsPerHour")
            if isinstance(cents, int):
                for name in (row.get("id"), row.get("name")):
                    found[str(name)] = Decimal(cents) / 100
        return found

    def usd_per_hour(
        self,
        model_id: str,
        *,
        config: str | None = None,
        min_replicas: int = 1,
        max_replicas: int = 1,
    ) -> Decimal | None:
        """Return the most that `start` with these options costs per hour, all replicas together.
        Only reads.

        None where Together gives no price. Raises what `start` raises for ambiguous options.
        """
        _require_replicas(min_replicas, max_replicas)
        project = self._project()
        model = f"projects/{project}/models/{known_id(model_id, 'model')}"
        price = self._config(project, model, config)[1]
        return None if price is None else price * max_replicas

    # --- starting and stopping ---

    def start(
        self,
        name: str,
        model_id: str,
        *,
        config: str | None = None,
        min_replicas: int = 1,
        max_replicas: int = 1,
        inactive_timeout: int = _TIMEOUT_MINUTES[0],
    ) -> Endpoint:
        """Return the endpoint `name` that serves `model_id`, started if there is none.

        `config` is a `cr_…` id; without it the model's only config is used. `inactive_timeout` is
        in minutes, 30 to 1440.

        Raises `UsageError` when several configs fit (with their prices per hour), `Unsupported`
        when none does.
        """
        low, high = _TIMEOUT_MINUTES
        if not low <= inactive_timeout <= high:
            raise UsageError(
                f"inactive_timeout={inactive_timeout} is not between {low} and {high} minutes",
                where="deploy",
                hint="an endpoint without a timeout would bill until somebody stops it",
            )
        _require_replicas(min_replicas, max_replicas)
        project = self._project()
        model = f"projects/{project}/models/{known_id(model_id, 'model')}"
        there = self.find(name)
        if there is not None and there.deployment is not None:
            return there
        chosen, price = self._config(project, model, config)
        base = f"/v2/projects/{project}/endpoints"
        if there is None:
            made = self._transport.send("POST", base, {"name": name})
            there = _endpoint(made, project)
        deployment = self._transport.send(
            "POST",
            f"{base}/{there.id}/deployments",
            {
                "name": "main",
                "model": model,
                "config": chosen,
                "autoscaling": {"minReplicas": min_replicas, "maxReplicas": max_replicas},
                "inactiveTimeout": inactive_timeout,
            },
            creates=True,
        )
        try:
            identity = known_id(str(deployment.get("id") or "?"), "deployment")
            self._transport.send(
                "PATCH",
                f"{base}/{there.id}",
                {"trafficSplit": [{"deploymentId": identity, "weight": 1}]},
            )
        except FtsdkError as error:
            error.submitted = "yes"  # replicas are starting, and are billed
            raise
        found = self.find(name) or there
        return Endpoint(
            id=found.id,
            name=found.name,
            project=project,
            state=found.state,
            deployment=identity,
            hardware=str(deployment.get("hardware") or ""),
            usd_per_hour=None if price is None else price * min_replicas,
        )

    def _config(self, project: str, model: str, given: str | None) -> tuple[str, Decimal | None]:
        """Return the config's path and the price of one replica per hour."""
        rows = list(self._pages(f"/v2/projects/{project}/configs", {"referenceModel": model}))
        prices = self._prices()
        fitting = {str(row.get("id")): (row, prices.get(_hardware(row))) for row in rows}
        if given is not None and given not in fitting:
            raise UsageError(
                f"The config {given!r} does not fit this model",
                where=model,
                hint=f"one of {', '.join(sorted(fitting)) or 'none'}",
            )
        if not fitting:
            raise Unsupported(
                "Together has no config with which this model could be served",
                where=model,
                hint="ftsdk download JOB FOLDER, and serve the weights elsewhere; `-Reference` bases often "
                "have none",
            )
        if given is None and len(fitting) > 1:
            choices = ", ".join(
                f"{one} ({_hardware(row)}" + (f", ${price:.2f}/h)" if price is not None else ")")
                for one, (row, price) in sorted(fitting.items())
            )
            raise UsageError(
                "Several configs fit this model, at different prices",
                where=model,
                hint=f"ftsdk deploy JOB --set config=ID (in Python options={{'config': ID}}) with one of {choices}",
            )
        identity = given or next(iter(fitting))
        row, price = fitting[identity]
        owner = str(row.get("projectId") or project)
        return f"projects/{owner}/configs/{identity}", price

    def stop(self, name: str) -> bool:
        """Remove the endpoint and its deployment; return False when there was none."""
        there = self.find(name)
        if there is None:
            return False
        path = f"/v2/projects/{there.project}/endpoints/{there.id}"
        self._transport.send("PATCH", path, {"trafficSplit": []})
        if there.deployment is not None:
            self._transport.send("DELETE", f"{path}/deployments/{there.deployment}")
        self._transport.send("DELETE", path)
        return True

    # --- calling ---

    def chat(self, endpoint: Endpoint, body: Mapping[str, Any]) -> dict[str, Any]:
        """Make one chat completion, in one call. Returns the raw reply."""
        return self._transport.send(
            "POST", self._transport.chat_url, {"model": endpoint.name, **body}
        )


def _require_replicas(least: int, most: int) -> None:
    if not (type(least) is int and type(most) is int and 0 < least <= most):
        raise UsageError(
            "min_replicas must be at least 1 and at most max_replicas",
            where="deploy",
            hint="whole numbers, for instance min_replicas=1, max_replicas=2",
        )


def _hardware(config: Mapping[str, Any]) -> str:
    """Return the config's hardware as instance types name it: `1xnvidia-h100-80gb`."""
    selectors = {
        str(one.get("key")): str(one.get("value"))
        for one in config.get("selectors") or ()
        if isinstance(one, Mapping)
    }
    kind, count = selectors.get("accelerator_type"), selectors.get("accelerator_count")
    return f"{count}x{kind}" if kind and count else ""


def _endpoint(row: Mapping[str, Any], project: str) -> Endpoint:
    deployments = [one for one in row.get("deployments") or () if isinstance(one, Mapping)]
    first = deployments[0] if deployments else {}
    state = str(first.get("state") or "STOPPED").removeprefix("DEPLOYMENT_STATE_")
    identity = first.get("id")
    return Endpoint(
        id=known_id(str(row.get("id") or "?"), "endpoint"),
        name=str(row.get("name") or ""),
        project=project,
        state=state,
        deployment=str(identity) if identity else None,
        hardware=str(first.get("hardware") or ""),
    )
