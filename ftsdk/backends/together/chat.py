"""Models of one account as they can be called: their endpoint, its cost, their answers."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from ftsdk.backends.hosted.chat_answer import answer_of, checked_options, options_of
from ftsdk.backends.together import job_mapping
from ftsdk.backends.together.endpoints import Endpoint, Endpoints
from ftsdk.errors import NotReady, Rejected, Unsupported
from ftsdk.types.cost import Cost, CostBasis
from ftsdk.types.model import ChatAnswer, ModelHandle
from ftsdk.util.clock import Clock


class ServedModels:
    """Handles of one account, with the state of their endpoints."""

    def __init__(self, endpoints: Endpoints, clock: Clock) -> None:
        self._endpoints, self._clock = endpoints, clock

    def current(self, handle: ModelHandle) -> ModelHandle:
        """Return the handle, callable where it has an endpoint that is ready. Only reads."""
        return self._served(handle, self._endpoints.find(_endpoint_name(handle)))

    def _served(self, handle: ModelHandle, endpoint: Endpoint | None) -> ModelHandle:
        raw = {k: v for k, v in handle.raw.items() if k != "endpoint"}
        cost = handle.running_cost
        if endpoint is not None:
            raw["endpoint"] = endpoint.to_dict()
            if endpoint.usd_per_hour is not None:
                cost = Cost(
                    basis=CostBasis.QUOTED,
                    hosting_usd_per_hour=endpoint.usd_per_hour,
                    source="Together, GET /v2/public/inference-instance-types",
                    as_of=self._clock.now().date(),
                )
        return handle.model_copy(
            update={
                "callable_now": endpoint is not None and endpoint.callable_now,
                "is_starting": endpoint is not None and endpoint.is_starting,
                "running_cost": cost,
                "raw": raw,
            }
        )

    def deploy(self, handle: ModelHandle, **options: Any) -> ModelHandle:
        """Return the handle with its endpoint, started if there was none.

        Raises `Unsupported` for a model that is not in Together's registry.
        """
        registered = _registered(handle)
        return self._served(
            handle, self._endpoints.start(_endpoint_name(handle), registered, **options)
        )

    def usd_per_hour(self, handle: ModelHandle, **options: Any) -> Decimal | None:
        """Return the most that `deploy` costs per hour: Together's price, else the catalogue's."""
        ours = handle.running_cost.hosting_usd_per_hour
        endpoint = handle.raw.get("endpoint")
        if endpoint is not None and endpoint["deployment"] is not None:
            return ours  # it exists already, and `deploy` starts no other
        names = ("config", "min_replicas", "max_replicas")
        asked = {name: options[name] for name in names if name in options}
        price = self._endpoints.usd_per_hour(_registered(handle), **asked)
        if price is not None or ours is None:
            return price
        return ours * int(options.get("max_replicas", 1))

    def undeploy(self, handle: ModelHandle) -> ModelHandle:
        """Remove the endpoint and return the handle."""
        self._endpoints.stop(_endpoint_name(handle))
        return self._served(handle, None)

    def chat(
        self, handle: ModelHandle, messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]
    ) -> ChatAnswer:
        """Return the model's answer.

        Raises `NotReady` without an endpoint that is ready, `Unsupported` for an option that
        Together does not have and for `stream=True`.
        """
        asked = checked_options(options, _known(), "Together")
        endpoint = self._endpoints.find(_endpoint_name(handle))
        if endpoint is None:
            hourly = handle.running_cost.hosting_usd_per_hour
            price = f", about ${hourly:.2f} an hour" if hourly is not None else ""
            job = handle.job_id or "JOB"
            raise NotReady(
                "The model has no endpoint, so it cannot be called now",
                where="Together",
                hint=f"ftsdk deploy {job} --for 2h (in Python model.deploy(hours=2)) starts one{price}; "
                f"or ftsdk download {job} FOLDER",
                job_id=handle.job_id,
            )
        _require_running(endpoint, handle)
        begun = self._clock.monotonic()
        reply = self._endpoints.chat(endpoint, {"messages": [*messages], **asked})
        return answer_of(reply, "Together", latency_s=self._clock.monotonic() - begun)


@functools.cache
def _known() -> frozenset[str]:
    """Return the options of a chat completion, from the installed SDK."""
    from together.resources.chat.completions import CompletionsResource

    return options_of(CompletionsResource.create) - {"extra_body"}


def _registered(handle: ModelHandle) -> str:
    """Return the model's id in Together's registry. Raises `Unsupported` where it has none."""
    ids = (handle.raw.get(name) for name in ("model_object_id", "adapter_object_id"))
    registered = next((str(one) for one in ids if one), None)
    if registered is None:
        raise Unsupported(
            "The model is not in Together's registry, so it cannot be deployed there",
            where=f"job {handle.raw.get('ft_id')}; it was never uploaded to the registry",
            hint=f"ftsdk download {handle.job_id or 'JOB'} FOLDER downloads the weights instead",
        )
    return registered


def _require_running(endpoint: Endpoint, handle: ModelHandle) -> None:
    """Raise `NotReady` or `Rejected` where a call would not be answered."""
    if endpoint.callable_now:
        return
    job, state = handle.job_id or "JOB", endpoint.state.lower()
    where = f"Together, endpoint {endpoint.name}"
    if endpoint.is_starting:
        raise NotReady(
            f"The endpoint is {state}: a call would not be answered yet",
            where=where,
            hint=f"it takes minutes; ftsdk deploy {job} --wait (in Python model.wait()) waits for it",
            job_id=handle.job_id,
        )
    raise Rejected(
        f"The endpoint is {state}",
        where=where,
        hint=f"ftsdk undeploy {job}, then ftsdk deploy {job} starts it again "
        "(in Python model.undeploy(), model.deploy())",
        job_id=handle.job_id,
    )


def _endpoint_name(handle: ModelHandle) -> str:
    """Return the endpoint's name: the job's tag, else its id."""
    tag = job_mapping.tag_of(handle.raw)
    identity = str(handle.raw.get("ft_id") or handle.raw.get("id") or handle.id)
    return tag or re.sub(r"[^a-z0-9-]+", "-", identity.lower()).strip("-")[:40]
