"""Deployments are leases: written down before they start, priced, ended when their time is over.

Nothing deploys by itself. `deploy` writes the lease, then asks the provider; a crash in between
leaves a lease that says so. What is over is ended by `ftsdk.jobs.spending_guard`.
"""

from __future__ import annotations

import datetime as dt
import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ftsdk.backends.base import Backend
from ftsdk.errors import (
    FtsdkError,
    NotFound,
    NotReady,
    StoreError,
    UnknownJob,
    UsageError,
    WaitTimeout,
)
from ftsdk.spending.budget import Budget, budget_of, require_spending
from ftsdk.store.leases import Lease, Leases
from ftsdk.store.reservations import check_lease
from ftsdk.types.job import JobSnapshot
from ftsdk.types.model import ModelHandle
from ftsdk.util.clock import Clock, SystemClock
from ftsdk.util.locks import job_lock

if TYPE_CHECKING:
    from ftsdk.client import Client

__all__ = [
    "deploy",
    "price_of",
    "undeploy",
    "until_callable",
]

_log = logging.getLogger("ftsdk")

_LOOK_EVERY_S = 5.0
"""Between two looks at a deployment that is on its way; it takes minutes."""

_LOCK_WAIT_S = 120.0
"""How long somebody else may take to start a deployment before a second caller gives up."""


def price_of(
    client: Client, job_id: str, options: Mapping[str, Any] | None = None
) -> Decimal | None:
    """US dollars an hour that `deploy` with these options may cost; None where it is not known.

    A model that stands already costs what it was deployed at.
    """
    snapshot = client.journal.get(job_id)
    lease = _standing(Leases(client.journal), snapshot.id)
    if lease is not None:
        return lease.usd_per_hour
    backend = client._backend_for(snapshot)
    handle = backend.model(str(snapshot.provider_job_id))
    return backend.deployment_usd_per_hour(handle, **(options or {}))


def deploy(
    client: Client,
    job_id: str,
    *,
    hours: float | None = None,
    options: Mapping[str, Any] | None = None,
) -> tuple[ModelHandle, Lease]:
    """Deploy the model of a job for `hours` (the budget's `lease_hours`, else 2).

    The lease is written first; its whole time counts against the budget of each month in which it
    stands. `options` go to the backend's `deploy` untouched. A model that is deployed already is
    not deployed twice: its lease is extended, where the budget has room for it; of several callers
    at once one goes first. Raises `BudgetError`, `Unsupported`, `NotReady`, or the provider's refusal.
    """
    snapshot = client.journal.get(job_id)
    backend = client._backend_for(snapshot)
    if not backend.capabilities.can_deploy or snapshot.provider_job_id is None:
        raise backend.cannot("deploy a model")
    span = budget_of(client.config).lease if hours is None else dt.timedelta(hours=_hours(hours))
    free = backend.capabilities.price == "free"
    require_spending("deploying a model", snapshot.provider, free=free, env=client.env)
    with job_lock(
        client.home,
        snapshot.id,
        purpose="deploy",
        wait_s=_LOCK_WAIT_S,
        clock=SystemClock(),  # the other caller takes real time
        failure="The lock of a deployment cannot be taken",
        submitted="no",
    ) as mine:
        if not mine:
            raise StoreError(
                "Another process is deploying this model just now",
                where=f"job {snapshot.id}",
                hint="`ftsdk deployments` lists what is deployed; run it again",
                job_id=snapshot.id,
                submitted="no",
            )
        return _deployed(client, snapshot, backend, span, options or {})


def _deployed(
    client: Client,
    snapshot: JobSnapshot,
    backend: Backend,
    span: dt.timedelta,
    options: Mapping[str, Any],
) -> tuple[ModelHandle, Lease]:
    budget = budget_of(client.config)
    handle = backend.model(str(snapshot.provider_job_id))
    leases, now = Leases(client.journal), client.clock.now()
    standing = lease = _standing(leases, snapshot.id)
    if lease is None:
        hourly = backend.deployment_usd_per_hour(handle, **options)
        lease = _begun(client, leases, snapshot, handle, now + span, budget, hourly)
    elif lease.ends_at < now + span:
        lease = _extended(leases, lease, now + span, now, budget)
    try:
        served = backend.deploy(handle, **options)
    except FtsdkError as error:
        refused = error.submitted is None and not error.retryable
        if standing is not None:
            leases.extend(lease.id, standing.ends_at)  # what stood goes on standing, and costs
        elif error.submitted == "no" or refused:
            leases.closed(lease.id, client.clock.now(), f"not deployed: {error.what}")
        error.job_id = error.job_id or snapshot.id
        raise
    return served, leases.opened(lease.id, str(served.id))


def until_callable(
    look: Callable[[], ModelHandle], clock: Clock, timeout: float | None = None
) -> ModelHandle:
    """The model once a call would be answered; `look` tells it as it is now, `timeout` in seconds.

    Raises `WaitTimeout` when it takes longer, `NotReady` when no deployment is on its way.
    """
    until = None if timeout is None else clock.monotonic() + timeout
    while not (model := look()).callable_now:
        job = model.job_id or "JOB"
        if not model.is_starting:
            raise NotReady(
                "The model cannot be called, and no deployment of it is on its way",
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
        clock.sleep(_LOOK_EVERY_S)
    return model


def _hours(hours: float) -> float:
    if not 0 < hours <= 24 * 31:
        raise UsageError(
            f"A lease of {hours:g} hours is not one",
            where="deploy",
            hint="give more than 0 hours and at most 744 (31 days)",
        )
    return hours


def _standing(leases: Leases, job_id: str) -> Lease | None:
    return next((one for one in leases.list(running=True) if one.job_id == job_id), None)


def _begun(
    client: Client,
    leases: Leases,
    snapshot: JobSnapshot,
    handle: ModelHandle,
    ends_at: dt.datetime,
    budget: Budget,
    usd_per_hour: Decimal | None,
) -> Lease:
    now = client.clock.now()
    lease = Lease(
        id="lease_" + secrets.token_hex(8),
        provider=snapshot.provider,
        model=handle.id,
        started_at=now,
        ends_at=ends_at,
        job_id=snapshot.id,
        profile=client.config.profile,
        usd_per_hour=usd_per_hour,
    )
    leases.begin(lease, lambda cursor: check_lease(cursor, budget.limits, now, lease))
    return lease


def _extended(
    leases: Leases, lease: Lease, ends_at: dt.datetime, now: dt.datetime, budget: Budget
) -> Lease:
    longer = replace(lease, ends_at=ends_at)
    return leases.extend(
        lease.id,
        ends_at,
        lambda cursor: check_lease(cursor, budget.limits, now, longer, before=lease),
    )


def undeploy(client: Client, lease_id: str, why: str = "undeployed") -> Lease:
    """End a lease (by its id, or its job's): the model is undeployed, then the lease is closed.

    Spending is ended, so this goes through where spending is forbidden. Raises `UnknownJob` for an
    unknown lease, and what the provider raises; then the lease stays, and says why.
    """
    leases = Leases(client.journal)
    lease = _find(client, leases, lease_id)
    if lease.state == "closed":
        return lease
    try:
        snapshot = client.journal.get(_job_of(lease))
        backend = client._backend_for(snapshot)
        handle = backend.model(str(snapshot.provider_job_id))
        backend.undeploy(handle)
    except NotFound:
        why = f"{why}; the provider does not know it any more"
    except FtsdkError as error:
        leases.troubled(lease.id, error.what)
        raise
    return leases.closed(lease.id, client.clock.now(), why)


def _job_of(lease: Lease) -> str:
    if lease.job_id is None:
        raise UnknownJob(
            "The lease's job is not in the journal any more, so its model cannot be undeployed here",
            where=f"lease {lease.id}, deployment {lease.deployment_id}",
            hint=f"undeploy {lease.model} at {lease.provider} itself",
        )
    return lease.job_id


def _find(client: Client, leases: Leases, lease_id: str) -> Lease:
    found = [one for one in leases.list() if lease_id in (one.id, one.job_id)]
    if not found and lease_id.startswith("ftj_"):
        job_id = client.journal.get(lease_id).id
        found = [one for one in leases.list() if one.job_id == job_id]
    standing = [one for one in found if one.state != "closed"]
    if not found:
        raise UnknownJob(
            f"No lease is called {lease_id}",
            where=str(client.journal.path),
            hint="`ftsdk deployments --all` lists them",
        )
    return (standing or found)[-1]
