"""Send a prepared job: check its key and findings, reserve its cost, and submit it."""

from __future__ import annotations

import datetime as dt
import functools
import logging
from collections.abc import Collection, Sequence
from decimal import Decimal
from typing import Any

from ftsdk.errors import DatasetError, UsageError
from ftsdk.jobs.submitter import Submitter
from ftsdk.planning.prepare import PreparedJob
from ftsdk.session import Session
from ftsdk.spending.budget import budget_of
from ftsdk.spending.cap import Cap, caps_of, check_cap, lowest
from ftsdk.spending.reserve import reserve_job, reserve_quote, reserve_unsent
from ftsdk.spending.switch import require_spending
from ftsdk.store.duplicates import refuse_duplicates_since
from ftsdk.store.reservations import Reservations
from ftsdk.types.cost import Cost
from ftsdk.types.job import JobSnapshot
from ftsdk.types.status import JobStatus

_log = logging.getLogger("ftsdk")


def check_key(key: str | None) -> None:
    """Raise `UsageError` for an invalid idempotency key."""
    if key is not None and not (0 < len(key) <= 255 and key.isprintable()):
        raise UsageError(
            "A key is 1 to 255 printable characters",
            where="the argument key=",
            hint="for instance key='nightly-2026-11-25'",
        )


def submit(
    session: Session,
    prepared: PreparedJob,
    *,
    key: str | None = None,
    allow_findings: bool | Collection[str] = False,
    agreed: Decimal | None = None,
    needs_quote: bool = True,
    no_duplicate_since: dt.datetime | None = None,
) -> JobSnapshot:
    """Journal and send a prepared job. `agreed` is the amount in US dollars that a person confirmed.

    A quote above `agreed` is refused, and with `needs_quote` also a provider that gives no quote.
    With `no_duplicate_since`, `NeedsDecision` is raised if the same job was created after that time;
    the same job of any age that was never sent is sent instead of a new one.
    Any error that keeps the job from being accepted has `job_id` and `submitted` set.
    """
    spec, plan, budget = prepared.spec, prepared.plan, prepared.budget
    capabilities = prepared.backend.capabilities
    allowed = _acknowledged(prepared, allow_findings)
    free = capabilities.price == "free"
    require_spending("creating a job", spec.provider, free=free, env=session.env)
    reservation = reserve_job(
        plan.cost,
        spec,
        budget,
        profile=session.config.profile,
        catalogue=prepared.catalogue,
        usd_per_hour=prepared.backend.training_usd_per_hour(spec),
    )
    caps = caps_of(spec.max_cost, budget)
    return submitter_for(session, agreed, caps, needs_quote=needs_quote).create(
        spec,
        prepared.train,
        prepared.validation,
        key=key,
        profile=session.config.profile,
        account=session.account_of(spec.provider),
        facts={
            "notices": len(prepared.report.notices),
            **allowed,
            **session.address_of(spec.provider),
        },
        hook=reservation
        if no_duplicate_since is None
        else refuse_duplicates_since(no_duplicate_since, reservation),
        on_existing=lambda existing: _update_existing(session, existing, prepared, caps),
    )


def _update_existing(
    session: Session, existing: JobSnapshot, prepared: PreparedJob, caps: Sequence[Cap]
) -> None:
    """Apply the caller's cap and month to a job of an earlier call that was not accepted yet."""
    journal, now = session.journal, session.clock.now()
    if existing.status is JobStatus.CREATED:
        reserve_unsent(journal, existing.id, now, prepared.budget.limits, session.config.profile)
    before = existing.spec.get("max_cost")
    asked = prepared.spec.max_cost
    Reservations(journal).set_cap(existing.id, lowest(caps))
    if (None if before is None else Decimal(str(before))) == asked:
        return
    spec = {**existing.spec, "max_cost": None if asked is None else str(asked)}
    journal.change(existing.id, now=now, why="a new cap for the same job", spec=spec)
    _log.warning(
        "job %s of an earlier call was not sent; its cap is now %s (it was %s)",
        existing.id,
        "none" if asked is None else f"${asked}",
        "none" if before is None else f"${before}",
    )


def submitter_for(
    session: Session,
    agreed: Decimal | None = None,
    caps: Sequence[Cap] = (),
    *,
    needs_quote: bool = True,
) -> Submitter:
    """Return the submitter of a session.

    It checks each provider's quote against the budget, the cap of the job, `caps` and `agreed`.
    """
    return Submitter(
        session.journal,
        session.home,
        session.clock,
        session.backend_for,
        session.horizon,
        functools.partial(_check_quote, session, agreed, caps, needs_quote),
    )


def _check_quote(
    session: Session,
    agreed: Decimal | None,
    caps: Sequence[Cap],
    needs_quote: bool,
    snapshot: JobSnapshot,
    quote: Cost,
) -> Cost:
    check_cap(quote, caps, provider=snapshot.provider, model=snapshot.model)
    limits = budget_of(session.config).limits
    return reserve_quote(session.journal, snapshot, quote, limits, agreed, needs_quote)


def duplicate_of(
    session: Session, prepared: PreparedJob, within: dt.timedelta
) -> JobSnapshot | None:
    """Return the newest job created within that time with the same rows, settings and provider."""
    return session.journal.duplicate(prepared.fingerprint, session.clock.now() - within)


def _acknowledged(prepared: PreparedJob, allow_findings: bool | Collection[str]) -> dict[str, Any]:
    """Return what to journal about acknowledged findings; raises `DatasetError` for others.

    A backend without a key keeps the rows on this machine, so nothing has to be acknowledged.
    """
    report = prepared.report
    if not report.findings or not prepared.backend.capabilities.key_variables:
        return {}
    still_open = report.open_findings(allow_findings)
    if still_open:
        counts = ", ".join(f"{count:,} × {code}" for code, count in still_open.items())
        codes = " ".join(f"--allow-findings {code}" for code in still_open)
        raise DatasetError(
            f"The rows seem to contain secrets or personal data ({counts})",
            where=prepared.train.name,
            hint=f"remove them; or acknowledge them: allow_findings={list(still_open)} ({codes})",
            report=report,
            submitted="no",
        )
    return {"findings_allowed": report.open_findings()}
