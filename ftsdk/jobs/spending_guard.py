"""Ends what costs too long: deployments whose lease is over, and jobs at their cap.

`enforce` does it once; `SpendingGuard` does it now and then while jobs are watched. Every command
of the command line that acts on jobs calls it first.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from ftsdk.deployments.deploy import undeploy
from ftsdk.errors import FtsdkError, JournalLocked
from ftsdk.jobs.actions import cancel, refresh
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
    """Something about money that a person should read. `kind` is stable."""

    kind: Literal["costs", "ended", "not_ended", "near_cap", "stopped"]
    text: str
    job_id: str | None = None
    lease_id: str | None = None

    def __str__(self) -> str:
        return self.text


def enforce(
    session: Session, *, own_profile: bool = False, watched: Collection[str] = ()
) -> list[Notice]:
    """End leases that are over and stop jobs at their cap. Returns what was done and still costs.

    A lease whose provider cannot be reached stays open, gives a notice, and is tried again next
    time. Everything here ends spending, so it works where spending is forbidden. With
    `own_profile`, only what was started under the session's profile is looked at, and the jobs
    whose ids are `watched`.
    """
    now, notices = session.clock.now(), list[Notice]()
    for lease in _leases(session, own_profile):
        if lease.is_over(now):
            notices.append(_ended(session, lease))
    notices += _capped(session, now, own_profile, watched)
    return notices + still_costs(session, own_profile=own_profile)


class SpendingGuard:
    """`enforce` while jobs are watched, at most every `every_s` seconds."""

    def __init__(
        self, session: Session, watched: Collection[str] = (), *, every_s: float = 30.0
    ) -> None:
        self.session, self.watched, self.every_s = session, watched, every_s
        self._checked_at: float | None = None

    def check(self) -> list[Notice]:
        """What was ended, stopped or is near its cap; empty in between."""
        now = self.session.clock.monotonic()
        if self._checked_at is not None and now - self._checked_at < self.every_s:
            return []
        self._checked_at = now
        try:
            notices = enforce(self.session, own_profile=True, watched=self.watched)
        except JournalLocked:
            return []  # another process writes just now; the next check finds the same
        return [notice for notice in notices if notice.kind != "costs"]

    def events(self, seq: int) -> list[Event]:
        """The notices of `check` as warnings among a job's events; `seq` is the newest event's."""
        now = self.session.clock.now()
        return [
            Event(
                id=f"{notice.kind}-{notice.lease_id or notice.job_id}-{now:%H%M%S}",
                seq=seq,
                time=now,
                kind="warning",
                message=notice.text,
            )
            for notice in self.check()
        ]


# --- deployments ---------------------------------------------------------------------------------


def still_costs(session: Session, *, own_profile: bool = False) -> list[Notice]:
    """A notice for every open deployment that costs by the hour."""
    now, notices = session.clock.now(), list[Notice]()
    for lease in _leases(session, own_profile):
        if lease.is_over(now):
            continue
        if lease.usd_per_hour is not None and lease.usd_per_hour == 0:
            continue
        doubt = " (asked for; whether it runs is not known)" if lease.state == "opening" else ""
        left = _span(lease.ends_at - now)
        text = f"{lease.model} at {lease.provider} costs {_rate(lease)}; {left} left{doubt}"
        notices.append(Notice("costs", text, lease.job_id, lease.id))
    return notices


def _leases(session: Session, own_profile: bool) -> list[Lease]:
    running = Leases(session.journal).list(running=True)
    return [one for one in running if not own_profile or one.profile == session.config.profile]


def _ended(session: Session, lease: Lease) -> Notice:
    try:
        closed = undeploy(session, lease.id, why="the lease was over")
    except FtsdkError as error:
        _log.warning("lease %s could not be ended: %s", lease.id, error.what)
        text = (
            f"{lease.model} at {lease.provider} may STILL COST {_rate(lease)}: its lease is over, "
            f"and undeploying did not work: {error.what}"
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
    """A warning for a job that runs on over its cap, or None. Only reads the journal."""
    if job.status is not JobStatus.RUNNING:
        return None
    reserved = Reservations(session.journal).get(job.id)
    if reserved is None or reserved.cap is None or reserved.usd_per_hour is None:
        return None
    spent = _so_far(session, job, reserved.usd_per_hour, session.clock.now())
    if spent < reserved.cap:
        return None
    return (
        f"{_about(job, reserved.cap, spent)}, and reading it ends nothing: "
        f"job.wait(), `ftsdk watch {job.id}` or job.cancel() does"
    )


def _capped(
    session: Session, now: dt.datetime, own_profile: bool, watched: Collection[str]
) -> list[Notice]:
    notices: list[Notice] = []
    for known, reserved in Reservations(session.journal).capped():
        if own_profile and known.profile != session.config.profile and known.id not in watched:
            continue
        job = _refreshed(session, known)
        if job.status is not JobStatus.RUNNING:
            continue  # queued costs nothing; one that is finalizing has been trained and paid for
        cap, rate = reserved.cap or Decimal(0), reserved.usd_per_hour or Decimal(0)
        spent = _so_far(session, job, rate, now)
        if spent >= cap:
            notices += _stopped(session, job, cap, spent)
        else:
            notices += _near_cap(session, job, cap, spent, rate)
    return notices


def _near_cap(
    session: Session, job: JobSnapshot, cap: Decimal, spent: Decimal, rate: Decimal
) -> list[Notice]:
    """One warning for a job that is near its cap; none when it was given before."""
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


def _about(job: JobSnapshot, cap: Decimal, spent: Decimal) -> str:
    return f"{job.id} has cost about ${spent:.2f} and its cap is ${cap:.2f}"


def _refreshed(session: Session, job: JobSnapshot) -> JobSnapshot:
    """The job as its provider reports it now, or as it was known where that could not be asked."""
    try:
        return refresh(session, job)
    except FtsdkError as error:
        _log.warning("job %s has a cap and could not be asked for: %s", job.id, error.what)
        return job


def _time_for(usd: Decimal, usd_per_hour: Decimal) -> dt.timedelta:
    return dt.timedelta(hours=float(usd / usd_per_hour)) if usd_per_hour else dt.timedelta(days=31)


def _so_far(session: Session, job: JobSnapshot, rate: Decimal, now: dt.datetime) -> Decimal:
    """What a running job has cost in US dollars: as billed so far, or its hours times the rate.

    Where the provider does not report when it began, hours count from when it was first seen
    running: time in a queue never counts, and time that nobody looked at counts too little.
    """
    seen = (move[0] for move in session.journal.moves(job.id) if move[2] is JobStatus.RUNNING)
    began = job.started_at or next(seen, now)
    hours = Decimal(str(max(0.0, (now - began).total_seconds()))) / 3600
    billed = job.cost.high if job.cost.basis == "billed" and job.cost.high is not None else None
    return max(hours * rate, billed or Decimal(0))


def _stopped(session: Session, job: JobSnapshot, cap: Decimal, spent: Decimal) -> list[Notice]:
    about = _about(job, cap, spent)
    try:
        now = cancel(session, job)
    except FtsdkError as error:
        _log.warning("job %s is over its cap and could not be cancelled: %s", job.id, error.what)
        return [Notice("not_ended", f"{about}: cancelling it DID NOT WORK: {error.what}", job.id)]
    if now.status in (JobStatus.SUCCEEDED, JobStatus.FAILED):
        return []  # it had ended by itself
    return [Notice("stopped", f"{about}: cancelled", job.id)]
