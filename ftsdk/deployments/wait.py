"""Waiting until a deployment answers calls."""

from __future__ import annotations

from collections.abc import Callable

from ftsdk.errors import NotReady, WaitTimeout
from ftsdk.types.model import ModelHandle
from ftsdk.util.clock import Clock

_POLL_S = 5.0
"""Between two looks at a deployment that is starting; it takes minutes."""


def until_callable(
    look: Callable[[], ModelHandle], clock: Clock, timeout: float | None = None
) -> ModelHandle:
    """The model once a call would be answered. `look` returns it as it is now.

    `timeout` is in seconds. Raises `WaitTimeout` when it takes longer, `NotReady` when no
    deployment is starting.
    """
    until = None if timeout is None else clock.monotonic() + timeout
    while not (model := look()).callable_now:
        job = model.job_id or "JOB"
        if not model.is_starting:
            raise NotReady(
                "The model cannot be called, and no deployment of it is starting",
                where=f"provider {model.provider}",
                hint=f"ftsdk deploy {job} --for 2h, or model.deploy(hours=2), starts one",
                job_id=model.job_id,
            )
        if until is not None and clock.monotonic() >= until:
            raise WaitTimeout(
                f"The deployment was not ready after {timeout:g} s; it goes on, and costs",
                where=f"provider {model.provider}",
                hint=f"wait again, or end it: ftsdk undeploy {job}",
                job_id=model.job_id,
            )
        clock.sleep(_POLL_S)
    return model
