"""End deployments whose lease is over and cancel jobs that reach their cap.

`enforce` does it once; `SpendingGuard` does it regularly while jobs are watched. Every CLI command
that acts on jobs calls it first.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from ftsdk.deployments.deploy import undeploy
from ftsdk.errors import ConfigError, FtsdkError, JournalLocked, StoreError
from ftsdk.jobs.actions import cancel, refresh
from ftsdk.jobs.pending_cancel import cancel_found, requested_cancels
from ftsdk.session import Session
from ftsdk.spending.budget import budget_of
from ftsdk.store.acknowledgements import Acknowledgements
from ftsdk.store.leases import Lease, Leases
from ftsdk.store.reservations import Reservations
from ftsdk.types.events import Event
from ftsdk.types.job import JobSnapshot
from ftsdk.types.status import JobStatus

_log = logging.getLogger("ftsdk")


@dataclass(frozen=True)
class Notice:
    """A notice about spending. `kind` is stable."""

    kind: Literal["costs", "ended", "not_ended", "near_cap", "stopped"]
    text: str
    job_id: str | None = None
    lease_id: str | None = None

    def __str__(self) -> str:
        return self.text


def enforce(
    session: Session, *, own_profile: bool = False, watched: Collection[str] = ()
) -> list[Notice]:
    """End leases that are over and cancel jobs at their cap.

    Returns a notice for each of them, and for each deployment that is still billed. If a provider
    cannot be reached, its lease stays open, gives a notice, and is tried again next time. This only
    ends spending, so it also works where spending is forbidden. With `own_profile`, only leases and
    jobs of the session's profile are checked, and the jobs whose ids are in `watched`.
    """
    now, notices = session.clock.now(), list[Notice]()
    for lease in _leases(session, own_profile):
        if lease.is_over(now):
            notices.append(_end_lease(session, lease))
    _cancel_found_jobs(session)
    notices += _check_capped_jobs(session, now, own_profile, watched)
    return notices + running_cost_notices(session, own_profile=own_profile)


class SpendingGuard:
    """Calls `enforce` while jobs are watched, at most every `every_s` seconds."""

    def __init__(
        self, session: Session, watched: Collection[str] = (), *, every_s: float = 30.0
    ) -> None:
        self.session, self.watched, self.every_s = session, watched, every_s
        self._checked_at: float | None = None
        self._trouble: str | None = None

    def check(self) -> list[Notice]:
        """Return what was ended, cancelled or is near its cap; empty between two checks."""
        now = self.session.clock.monotonic()
        if self._checked_at is not None and now - self._checked_at < self.every_s:
            return []
        self._checked_at = now
        try:
            notices = enforce(self.session, own_profile=True, watched=self.watched)
        except JournalLocked:
            return []  # another process is writing; the next check finds the same
        except (StoreError, ConfigError) as error:
            return self._not_checked(error)
        self._trouble = None
        return [notice for notice in notices if notice.kind != "costs"]

    def _not_checked(self, error: FtsdkError) -> list[Notice]:
        """Return a notice that nothing could be checked, once as long as the reason is the same."""
        is_known, self._trouble = self._trouble == error.what, error.what
        _log.warning("deployments and caps could not be checked: %s", error.what)
        text = f"Deployments and caps could not be checked and may COST MONEY: {error.what}"
        return [] if is_known else [Notice("not_ended", text)]

    def events(self, seq: int) -> list[Event]:
        """Return the notices of `check` as warning events; `seq` is that of the job's newest event."""
        now = self.session.clock.now()
        return [
            Event(
                id=f"{notice.kind}-{notice.lease_id or notice.job_id or 'all'}-{now:%H%M%S}",
                seq=seq,
                time=now,
                kind="warning",
                message=notice.text,
            )
            for notice in self.check()
        ]


# --- deployments ---------------------------------------------------------------------------------


def running_cost_notices(session: Session, *, own_profile: bool = False) -> list[Notice]:
    """Return a notice for every open deployment that is billed by the hour."""
    now, notices = session.clock.now(), list[Notice]()
    for lease in _leases(session, own_profile):
        if lease.is_over(now):
            continue
        if lease.usd_per_hour is not None and lease.usd_per_hour == 0:
            continue
        doubt = " (requested; it may not be running)" if lease.state == "opening" else ""
        left = _span(lease.ends_at - now)
        text = f"{lease.model} at {lease.provider} costs {_rate(lease)}; {left} left{doubt}"
        notices.append(Notice("costs", text, lease.job_id, lease.id))
    return notices


def _leases(session: Session, own_profile: bool) -> list[Lease]:
    running = Leases(session.journal).list(running=True)
    return [
        lease for lease in running if not own_profile or lease.profile == session.config.profile
    ]


def _end_lease(session: Session, lease: Lease) -> Notice:
    try:
        closed = undeploy(session, lease.id, why="the lease was over")
    except FtsdkError as error:
        _log.warning("lease %s could not be ended: %s", lease.id, error.what)
        text = (
            f"{lease.model} at {lease.provider} may STILL COST {_rate(lease)}: its lease is over, "
            f"and undeploying it failed: {error.what}"
        )
        return Notice("not_ended", text, lease.job_id, lease.id)
    spent = closed.cost(session.clock.now())
    cost = "" if spent is None else f", about ${spent:.2f} in all"
    text = f"{lease.model} at {lease.provider} is undeployed: its lease was over{cost}"
    return Notice("ended", text, lease.job_id, lease.id)


def _rate(lease: Lease) -> str:
    return "money" if lease.usd_per_hour is None else f"${lease.usd_per_hour:.2f} an hour"


def _span(span: dt.timedelta) -> str:
    minutes = max(0, int(span.total_seconds() // 60))
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"


# --- jobs billed by the hour ---------------------------------------------------------------------


def over_cap(session: Session, job: JobSnapshot) -> str | None:
    """Return a warning for a job that is running over its cap, or None. Only reads the journal."""
    if job.status is not JobStatus.RUNNING:
        return None
    reserved = Reservations(session.journal).get(job.id)
    if reserved is None or reserved.cap is None or reserved.usd_per_hour is None:
        return None
    spent = _cost_so_far(session, job, reserved.usd_per_hour, session.clock.now())
    if spent < reserved.cap:
        return None
    return (
        f"{_cost_and_cap(job, reserved.cap, spent)}; refreshing does not cancel it, "
        f"but job.wait(), `ftsdk watch {job.id}` and job.cancel() do"
    )


def _cancel_found_jobs(session: Session) -> None:
    """Cancel the jobs that were to be cancelled once found, where asking the provider failed then."""
    for job_id in requested_cancels(session.journal):
        try:
            job = session.journal.get(job_id)
        except StoreError as error:  # a row that cannot be read
            session.warn_once(f"job {job_id} was to be cancelled and is not: {error.what}")
            continue
        if job.is_accepted:
            cancel_found(session.journal, session.backend_for(job), job, session.clock.now())


def _check_capped_jobs(
    session: Session, now: dt.datetime, own_profile: bool, watched: Collection[str]
) -> list[Notice]:
    notices: list[Notice] = []
    for known, reserved in Reservations(session.journal).capped():
        if own_profile and known.profile != session.config.profile and known.id not in watched:
            continue
        job = _refreshed(session, known)
        if job.status is not JobStatus.RUNNING:
            continue  # queued costs nothing; finalizing has been paid for already
        cap, rate = reserved.cap or Decimal(0), reserved.usd_per_hour or Decimal(0)
        spent = _cost_so_far(session, job, rate, now)
        if spent >= cap:
            notices += _cancel_over_cap(session, job, cap, spent)
        else:
            notices += _near_cap(session, job, cap, spent, rate)
    return notices


def _near_cap(
    session: Session, job: JobSnapshot, cap: Decimal, spent: Decimal, rate: Decimal
) -> list[Notice]:
    """Return a warning for a job that is near its cap, once per job."""
    warn_at = Decimal(str(budget_of(session.config).warn_at))
    seen = Acknowledgements(session.journal)
    if spent < cap * warn_at or not seen.add(
        "near_cap", job.id, session.clock.now(), f"${spent:.2f}"
    ):
        return []
    text = (
        f"{job.id} has cost about ${spent:.2f}; it is cancelled at ${cap:.2f}, "
        f"in {_span(_time_for(cap - spent, rate))}"
    )
    return [Notice("near_cap", text, job.id)]


def _cost_and_cap(job: JobSnapshot, cap: Decimal, spent: Decimal) -> str:
    return f"{job.id} has cost about ${spent:.2f} and its cap is ${cap:.2f}"


def _refreshed(session: Session, job: JobSnapshot) -> JobSnapshot:
    """Return the refreshed job, or the known snapshot when the provider cannot be reached."""
    try:
        return refresh(session, job)
    except FtsdkError as error:
        _log.warning("job %s has a cap and could not be refreshed: %s", job.id, error.what)
        return job


def _time_for(usd: Decimal, usd_per_hour: Decimal) -> dt.timedelta:
    return dt.timedelta(hours=float(usd / usd_per_hour)) if usd_per_hour else dt.timedelta(days=31)


def _cost_so_far(session: Session, job: JobSnapshot, rate: Decimal, now: dt.datetime) -> Decimal:
    """Return what a running job has cost in US dollars: its bill so far, or hours times the rate.

    If the provider does not report the start time, hours count from when the job was first seen
    running. Queue time never counts, but the start of an unobserved run may be missed.
    """
    changes = session.journal.status_changes(job.id)
    seen = (change[0] for change in changes if change[2] is JobStatus.RUNNING)
    began = job.started_at or next(seen, now)
    hours = Decimal(str(max(0.0, (now - began).total_seconds()))) / 3600
    billed = job.cost.high if job.cost.basis == "billed" and job.cost.high is not None else None
    return max(hours * rate, billed or Decimal(0))


def _cancel_over_cap(
    session: Session, job: JobSnapshot, cap: Decimal, spent: Decimal
) -> list[Notice]:
    summary = _cost_and_cap(job, cap, spent)
    try:
        now = cancel(session, job)
    except FtsdkError as error:
        _log.warning("job %s is over its cap and could not be cancelled: %s", job.id, error.what)
        return [Notice("not_ended", f"{summary}: cancelling it FAILED: {error.what}", job.id)]
    if now.status in (JobStatus.SUCCEEDED, JobStatus.FAILED):
        return []  # it had ended by itself
    return [Notice("stopped", f"{summary}: cancelled", job.id)]
