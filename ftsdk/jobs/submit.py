"""Send a prepared job: check its key and findings, reserve its cost, and submit it."""

from __future__ import annotations

import datetime as dt
import functools
import logging
from collections.abc import Callable, Collection, Sequence
from decimal import Decimal
from typing import Any

from ftsdk.errors import DatasetError, UsageError
from ftsdk.jobs.submitter import Submitter
from ftsdk.planning.prepare import PreparedJob
from ftsdk.session import Session
from ftsdk.spending.budget import budget_of
from ftsdk.spending.cap import Cap, caps_of, check_cap, lowest, lowest_amount
from ftsdk.spending.reserve import reserve_job, reserve_quote, reserve_unsent
from ftsdk.spending.switch import require_spending
from ftsdk.store.accounts import Accounts
from ftsdk.store.duplicates import DuplicateRule, Identity, made_at, unless_same
from ftsdk.store.reservations import Reservations, sending_hook
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
    again: bool | Collection[str] = False,
    say: Callable[[str], None] = _log.warning,
) -> JobSnapshot:
    """Journal and send a prepared job. `agreed` is the amount in US dollars that a person confirmed.

    A quote above `agreed` is refused, and with `needs_quote` also a provider that gives no quote.
    Without a key, the very same job is given back where there is one (`DuplicateRule`), and `say` is
    called with one line about it. `again` makes another one: always, or beside the jobs with these
    ids. `say` is also called while the provider refuses the job for pace.
    Any error that keeps the job from being accepted has `job_id` and `submitted` set.
    """
    spec, plan, budget = prepared.spec, prepared.plan, prepared.budget
    capabilities = prepared.backend.capabilities
    allowed = _acknowledged(prepared, allow_findings)
    free = capabilities.price == "free"
    require_spending("creating a job", spec.provider, free=free, env=session.env)
    confirmed = agreed if needs_quote and agreed else None  # 0 is no cap: the job is free
    reservation = reserve_job(
        plan.cost,
        spec,
        budget,
        profile=session.config.profile,
        catalogue=prepared.catalogue,
        usd_per_hour=prepared.backend.training_usd_per_hour(spec),
        agreed=confirmed,
        being_sent=session.journal.is_being_sent,
    )
    caps = caps_of(spec.max_cost, budget)
    rule = None if key is not None or again is True else duplicate_rule(prepared, again or ())
    submitter = submitter_for(session, agreed, caps, needs_quote=needs_quote, say=say)
    return submitter.create(
        spec,
        prepared.train,
        prepared.validation,
        key=key,
        profile=session.config.profile,
        account=session.account_of(spec.provider),
        facts={
            "notices": len(prepared.report.notices),
            "data_notices": [{"code": one.code, "rows": one.rows} for one in plan.data],
            **allowed,
            **session.address_of(spec.provider),
        },
        hook=reservation
        if rule is None
        else unless_same(_identity(session, prepared), rule, reservation),
        on_existing=lambda existing: _use_existing(
            session, existing, prepared, caps, confirmed, key, say
        ),
    )


def duplicate_rule(prepared: PreparedJob, besides: Collection[str] = ()) -> DuplicateRule:
    """Return which existing jobs are given back instead of creating this one without a key."""
    may_cost = prepared.backend.capabilities.price != "free"
    return DuplicateRule(may_cost, besides)


def same_job(session: Session, prepared: PreparedJob, rule: DuplicateRule) -> JobSnapshot | None:
    """Return the existing job that `rule` gives back, if there is one now."""
    return session.journal.same_job(_identity(session, prepared), rule, session.clock.now())


def _identity(session: Session, prepared: PreparedJob) -> Identity:
    provider = prepared.spec.provider
    account = session.account_of(provider)
    return Identity(
        prepared.fingerprint,
        session.address_of(provider).get("base_url"),
        frozenset() if account is None else Accounts(session.journal).same_as(provider, account),
        session.config.profile,
    )


def continue_creating(
    session: Session, snapshot: JobSnapshot, say: Callable[[str], None] = _log.warning
) -> JobSnapshot:
    """Return an existing job, after its submission has been continued if it was not accepted yet.

    Raises what `submit` raises.
    """
    return submitter_for(session, say=say).continue_submission(snapshot.id, creating=True)


def _use_existing(
    session: Session,
    existing: JobSnapshot,
    prepared: PreparedJob,
    caps: Sequence[Cap],
    confirmed: Decimal | None,
    key: str | None,
    say: Callable[[str], None],
) -> None:
    if key is None:
        say(same_job_message(existing, session.clock.now()))
    if not existing.status.is_remote:
        _update_existing(session, existing, prepared, caps, confirmed)


def age_of(job: JobSnapshot, now: dt.datetime) -> str:
    """Return how long ago a job was created or sent, in words."""
    minutes = round((now - made_at(job)).total_seconds() / 60)
    if minutes < 1:
        return "just now"
    return f"{minutes} min ago" if minutes < 120 else f"{minutes // 60} h ago"


def same_job_message(job: JobSnapshot, now: dt.datetime) -> str:
    """Return the line that says why an existing job is given back, and how to create another."""
    unsent = job.status is JobStatus.CREATED
    what = "was never sent, and is sent now" if unsent else "is used, and no other job is created"
    return (
        f"{job.id}, created {age_of(job, now)}, is the very same job (rows, settings, account): it {what}; "
        "again=True (--again), or a key, creates another one"
    )


def _update_existing(
    session: Session,
    existing: JobSnapshot,
    prepared: PreparedJob,
    caps: Sequence[Cap],
    confirmed: Decimal | None,
) -> None:
    """Apply the caller's cap and month to a job of an earlier call that was not accepted yet."""
    journal, now = session.journal, session.clock.now()
    if existing.status is JobStatus.CREATED:
        reserve_unsent(journal, existing.id, now, prepared.budget.limits, session.config.profile)
    before = existing.spec.get("max_cost")
    asked = prepared.spec.max_cost
    Reservations(journal).set_cap(existing.id, lowest_amount(lowest(caps), confirmed))
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
    say: Callable[[str], None] = _log.warning,
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
        sending_hook(
            lambda: budget_of(session.config).limits,
            session.clock.now,
            session.journal.is_being_sent,
        ),
        say,
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
            hint=f"remove them; or acknowledge them: allow_findings={list(still_open)} ({codes}), or "
            f"some values: {next(iter(still_open))}:PATTERN",
            report=report,
            submitted="no",
        )
    return {"findings_allowed": report.open_findings()}
