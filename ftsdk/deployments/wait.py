"""Wait until a deployed model can be called."""

from __future__ import annotations

from collections.abc import Callable

from ftsdk.errors import BackendError, NotReady, WaitTimeout
from ftsdk.types.model import ModelHandle
from ftsdk.util.clock import Clock
from ftsdk.util.patience import Patience

_POLL_S = 5.0
"""The polling interval; deployments take minutes to start."""


def until_callable(
    read: Callable[[], ModelHandle], clock: Clock, timeout: float | None = None
) -> ModelHandle:
    """Poll with `read` until the model can be called, and return it.

    `timeout` is in seconds. Raises `WaitTimeout` when it takes longer, `NotReady` when no deployment
    is starting, and a `BackendError` when the provider cannot be reached for minutes.
    """
    until = None if timeout is None else clock.monotonic() + timeout
    patience = Patience(clock)
    while True:
        try:
            model = read()
        except BackendError as error:
            if not patience.bears(error) or (until is not None and clock.monotonic() >= until):
                raise
            clock.sleep(_POLL_S)
            continue
        patience.read()
        if model.callable_now:
            return model
        job = model.job_id or "JOB"
        if not model.is_starting:
            raise NotReady(
                "The model cannot be called, and no deployment of it is starting",
                where=f"provider {model.provider}",
                hint=f"ftsdk deploy {job} --for 2h, or model.deploy(hours=2)",
                job_id=model.job_id,
            )
        if until is not None and clock.monotonic() >= until:
            raise WaitTimeout(
                f"The deployment was not ready after {timeout:g} s; it continues, and so does its cost",
                where=f"provider {model.provider}",
                hint=f"wait again, or end it with ftsdk undeploy {job}",
                job_id=model.job_id,
            )
        clock.sleep(_POLL_S)
