"""Deploy and undeploy models. Each deployment has a lease, recorded before it starts.

`deploy` records the lease, then asks the provider; a crash in between leaves a lease in the state
`opening`. The spending guard ends a deployment whose lease is over.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import inspect
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from ftsdk.backends.base import Backend
from ftsdk.errors import FtsdkError, NotFound, StoreError, UnknownJob, Unsupported, UsageError
from ftsdk.session import Session
from ftsdk.spending.budget import Budget, budget_of
from ftsdk.spending.switch import require_spending
from ftsdk.store.leases import Lease, Leases
from ftsdk.store.limits import check_lease
from ftsdk.types.job import JobSnapshot
from ftsdk.types.model import ModelHandle
from ftsdk.util.cancellation import pass_point_of_no_return
from ftsdk.util.clock import SystemClock
from ftsdk.util.locks import job_lock

_LOCK_WAIT_S = 120.0
"""How long to wait for another caller that is starting the same deployment."""


def price_of(
    session: Session, job_id: str, options: Mapping[str, Any] | None = None
) -> Decimal | None:
    """Return the highest price of `deploy` in US dollars per hour; None if it is unknown.

    For a model that is deployed already, this is the price of its lease.
    """
    snapshot = session.journal.get(job_id)
    lease = _running_lease(Leases(session.journal), snapshot.id)
    if lease is not None:
        return lease.usd_per_hour
    backend = session.backend_for(snapshot)
    handle = backend.model(str(snapshot.provider_job_id))
    return backend.deployment_usd_per_hour(handle, **(options or {}))


def deploy(
    session: Session,
    job_id: str,
    *,
    hours: float | None = None,
    options: Mapping[str, Any] | None = None,
) -> tuple[ModelHandle, Lease]:
    """Deploy the model of a job for `hours` (default: the budget's `lease_hours`, else 2).

    The lease is recorded first, and all its hours count against the budget of their month.
    `options` are passed to the backend's `deploy`. If the model is deployed already, its lease is
    extended instead. Concurrent calls for one job run one after the other. Raises `BudgetError`,
    `Unsupported`, `NotReady`, or a `BackendError`.
    """
    snapshot = session.journal.get(job_id)
    backend = session.backend_for(snapshot)
    if not backend.capabilities.can_deploy or snapshot.provider_job_id is None:
        raise backend.cannot("deploy a model")
    _require_methods(backend, options or {})
    budget = budget_of(session.config)
    span = budget.lease if hours is None else dt.timedelta(hours=_checked_hours(hours))
    free = backend.capabilities.price == "free"
    require_spending("deploying a model", snapshot.provider, free=free, env=session.env)
    with _deploy_lock(session, snapshot.id):
        pass_point_of_no_return(snapshot.id)
        return _deploy(session, snapshot, backend, span, budget, options or {})


def _require_methods(backend: Backend, options: Mapping[str, Any]) -> None:
    """Refuse a deployment that could not be made or not be ended, before a lease is recorded."""
    for method in ("deploy", "undeploy"):
        if not backend.implements(method):
            raise Unsupported(
                f"{backend.name} declares can_deploy and has no method {method}",
                where=f"backend {backend.name}, {type(backend).__module__}.{type(backend).__name__}",
                hint="report it to the author of the backend",
                submitted="no",
            )
    try:
        inspect.signature(backend.deploy).bind(None, **options)
    except TypeError as error:
        raise Unsupported(
            f"{backend.name} does not take these options of a deployment: {error}",
            where=f"options: {', '.join(map(str, options))}",
            hint="leave them out",
            submitted="no",
        ) from error


@contextlib.contextmanager
def _deploy_lock(session: Session, job_id: str) -> Iterator[None]:
    """Lock the deployment of the job's model; released when the process ends."""
    with job_lock(
        session.home,
        job_id,
        wait_s=_LOCK_WAIT_S,
        clock=SystemClock(),  # real time, as another process is waited for
        purpose="deploy",
        failure="The lock of a deployment cannot be taken",
        submitted="no",
    ) as locked:
        if not locked:
            raise StoreError(
                "Another process is deploying this model",
                where=str(session.home / "locks" / f"{job_id}.deploy.lock"),
                hint="`ftsdk deployments` shows what is deployed; then run it again",
                job_id=job_id,
                submitted="no",
            )
        yield


def _deploy(
    session: Session,
    snapshot: JobSnapshot,
    backend: Backend,
    span: dt.timedelta,
    budget: Budget,
    options: Mapping[str, Any],
) -> tuple[ModelHandle, Lease]:
    handle = backend.model(str(snapshot.provider_job_id))
    leases, now = Leases(session.journal), session.clock.now()
    before = lease = _running_lease(leases, snapshot.id)
    if lease is None:
        usd_per_hour = backend.deployment_usd_per_hour(handle, **options)
        lease = _new_lease(snapshot, handle, now, now + span, session.config.profile, usd_per_hour)
        _add_lease(leases, lease, budget, now)
    elif lease.ends_at < now + span:
        lease = _extend_lease(leases, lease, now + span, now, budget)
    try:
        deployed = backend.deploy(handle, **options)
    except FtsdkError as error:
        refused = error.submitted is None and not error.retryable
        if before is not None:
            leases.extend(lease.id, before.ends_at)  # the earlier deployment continues
        elif error.submitted == "no" or refused:
            leases.mark_closed(lease.id, session.clock.now(), f"not deployed: {error.what}")
        error.job_id = error.job_id or snapshot.id
        raise
    return deployed, leases.mark_open(lease.id, str(deployed.id))


def _checked_hours(hours: float) -> float:
    if not 0 < hours <= 24 * 31:
        raise UsageError(
            f"A lease of {hours:g} hours is not possible",
            where="deploy",
            hint="give more than 0 hours and at most 744 (31 days)",
        )
    return hours


def _running_lease(leases: Leases, job_id: str) -> Lease | None:
    return next((lease for lease in leases.list(running=True) if lease.job_id == job_id), None)


def _new_lease(
    snapshot: JobSnapshot,
    handle: ModelHandle,
    now: dt.datetime,
    ends_at: dt.datetime,
    profile: str | None,
    usd_per_hour: Decimal | None,
) -> Lease:
    return Lease(
        id="lease_" + secrets.token_hex(8),
        provider=snapshot.provider,
        model=handle.id,
        started_at=now,
        ends_at=ends_at,
        job_id=snapshot.id,
        profile=profile,
        usd_per_hour=usd_per_hour,
    )


def _add_lease(leases: Leases, lease: Lease, budget: Budget, now: dt.datetime) -> None:
    being_sent = leases.journal.is_being_sent
    leases.add(
        lease,
        lambda cursor: check_lease(cursor, budget.limits, now, lease, being_sent=being_sent),
    )


def _extend_lease(
    leases: Leases, lease: Lease, ends_at: dt.datetime, now: dt.datetime, budget: Budget
) -> Lease:
    longer = replace(lease, ends_at=ends_at)
    being_sent = leases.journal.is_being_sent
    return leases.extend(
        lease.id,
        ends_at,
        lambda cursor: check_lease(
            cursor, budget.limits, now, longer, before=lease, being_sent=being_sent
        ),
    )


def undeploy(session: Session, lease_id: str, why: str = "undeployed") -> Lease:
    """Undeploy a model and close its lease, given by the lease's id or its job's.

    This ends spending, so it also works where spending is forbidden. Raises `UnknownJob` for an
    unknown lease. If the provider raises, the lease stays open and records the error.
    """
    leases = Leases(session.journal)
    lease = _find(session, leases, lease_id)
    if lease.state == "closed":
        return lease
    try:
        snapshot = session.journal.get(_job_of(lease))
        backend = session.backend_for(snapshot)
        if lease.state == "opening" and not backend.implements("deploy"):
            return leases.mark_closed(
                lease.id, session.clock.now(), "nothing can be deployed there"
            )
        backend.undeploy(backend.model(str(snapshot.provider_job_id)))
    except NotFound:
        why = f"{why}; the provider no longer has it"
    except FtsdkError as error:
        leases.record_failure(lease.id, error.what)
        raise
    return leases.mark_closed(lease.id, session.clock.now(), why)


def _job_of(lease: Lease) -> str:
    if lease.job_id is None:
        raise UnknownJob(
            "The lease's job is no longer in the journal, so its model cannot be undeployed here",
            where=f"lease {lease.id}, deployment {lease.deployment_id}",
            hint=f"undeploy {lease.model} on the site of {lease.provider}",
        )
    return lease.job_id


def _find(session: Session, leases: Leases, lease_id: str) -> Lease:
    found = [lease for lease in leases.list() if lease_id in (lease.id, lease.job_id)]
    if not found and lease_id.startswith("ftj_"):
        job_id = session.journal.get(lease_id).id
        found = [lease for lease in leases.list() if lease.job_id == job_id]
    still_open = [lease for lease in found if lease.state != "closed"]
    if not found:
        raise UnknownJob(
            f"There is no lease {lease_id}",
            where=str(session.journal.path),
            hint="`ftsdk deployments --all` lists them",
        )
    return (still_open or found)[-1]
