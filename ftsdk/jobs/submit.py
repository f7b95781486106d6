"""Sending a prepared job: its key, its findings, its reservation, and the submitter that sends it."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Collection
from decimal import Decimal
from typing import Any

from ftsdk.errors import DatasetError, UsageError
from ftsdk.jobs.submitter import Submitter
from ftsdk.planning.prepare import PreparedJob
from ftsdk.session import Session
from ftsdk.spending.budget import budget_of
from ftsdk.spending.reserve import reserve_job, reserve_quote, reserve_unsent
from ftsdk.spending.switch import require_spending
from ftsdk.store.duplicates import first_since
from ftsdk.store.reservations import Reservations
from ftsdk.types.cost import Cost
from ftsdk.types.job import JobSnapshot


def check_key(key: str | None) -> None:
    """Raise `UsageError` for something that cannot be an idempotency key."""
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
    first_after: dt.datetime | None = None,
) -> JobSnapshot:
    """Journal and send a prepared job. `agreed` is what a person confirmed, in US dollars.

    With `first_after`, `NeedsDecision` is raised where the same job was created after that time.
    Raises what keeps the job from being accepted, with `job_id` and `submitted` filled in.
    """
    spec, plan, budget = prepared.spec, prepared.plan, prepared.budget
    able = prepared.backend.capabilities
    allowed = _acknowledged(prepared, allow_findings)
    unsent = None if key is None else Reservations(session.journal).unsent(key)
    if unsent is not None:
        reserve_unsent(session.journal, unsent, session.clock.now(), budget.limits)
    require_spending("creating a job", spec.provider, free=able.price == "free", env=session.env)
    reservation = reserve_job(
        plan.cost,
        spec,
        budget,
        profile=session.config.profile,
        catalogue=prepared.catalogue,
        usd_per_hour=prepared.backend.training_usd_per_hour(spec),
    )
    return submitter_for(session, agreed).create(
        spec,
        prepared.train,
        prepared.validation,
        key=key,
        profile=session.config.profile,
        facts={
            "notices": len(prepared.report.notices),
            **allowed,
            **session.address_of(spec.provider),
        },
        hook=reservation if first_after is None else first_since(first_after, reservation),
    )


def submitter_for(session: Session, agreed: Decimal | None = None) -> Submitter:
    """The submitter of a session, which checks each provider's quote against the budget."""
    return Submitter(
        session.journal,
        session.home,
        session.clock,
        session.backend_for,
        session.horizon,
        functools.partial(_check_quote, session, agreed),
    )


def _check_quote(
    session: Session, agreed: Decimal | None, snapshot: JobSnapshot, quote: Cost
) -> Cost:
    limits = budget_of(session.config).limits
    return reserve_quote(session.journal, snapshot, quote, limits, agreed)


def duplicate_of(
    session: Session, prepared: PreparedJob, within: dt.timedelta
) -> JobSnapshot | None:
    """The newest job created within that time that trains the same thing in the same place."""
    return session.journal.duplicate(prepared.fingerprint, session.clock.now() - within)


def _acknowledged(prepared: PreparedJob, allow_findings: bool | Collection[str]) -> dict[str, Any]:
    """What the journal keeps of acknowledged findings; `DatasetError` when some are not.

    A backend that needs no key keeps the rows on this machine: nothing to acknowledge there.
    """
    report = prepared.report
    if not report.findings or not prepared.backend.capabilities.key_variables:
        return {}
    still_open = report.open_findings(allow_findings)
    if still_open:
        counts = ", ".join(f"{count:,} × {code}" for code, count in still_open.items())
        codes = " ".join(f"--allow-findings {code}" for code in still_open)
        raise DatasetError(
            f"The rows hold what looks like secrets or personal data ({counts})",
            where=prepared.train.name,
            hint=f"remove them; or acknowledge them: allow_findings={list(still_open)} ({codes})",
            report=report,
            submitted="no",
        )
    return {"findings_allowed": report.open_findings()}
