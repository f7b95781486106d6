"""What runs on and costs: leases whose time is over, and jobs billed by the hour at their cap.

`enforce` ends what is over and stops what has reached its cap, with a warning before. A watcher
calls it now and then (`Attendant`), and so does the next command.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from ftsdk.deployments.deploy import undeploy
from ftsdk.errors import FtsdkError, JournalLocked
from ftsdk.jobs.actions import cancel, refresh
from ftsdk.spending.budget import budget_of
from ftsdk.store import Journal
from ftsdk.store.leases import Lease, Leases
from ftsdk.store.reservations import Spending
from ftsdk.types.job import JobSnapshot
from ftsdk.types.status import JobStatus

if TYPE_CHECKING:
    from ftsdk.client import Client

__all__ = [
    "Attendant",
    "Notice",
    "enforce",
    "over_cap",
    "profiles_at_stake",
    "still_costs",
]

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


# --- deployments ----------------------------------------------------------------------------------


def enforce(
    client: Client, *, own_profile: bool = False, watched: Collection[str] = ()
) -> list[Notice]:
    """End leases that are over, and stop jobs at their cap; what happened, and what still costs.

    A lease whose provider cannot be reached stays, is said loudly, and is tried again next time.
    Everything here ends spending, so it goes through where spending is forbidden. With
    `own_profile`, only what was started under the client's profile is looked at, and the jobs whose
    ids are `watched`.
    """
    now, told = client.clock.now(), list[Notice]()
    for lease in _leases(client, own_profile):
        if lease.is_over(now):
            told.append(_ended(client, lease))
    told += _capped(client, now, own_profile, watched)
    return told + still_costs(client, own_profile=own_profile)


def _leases(client: Client, own_profile: bool) -> list[Lease]:
    running = Leases(client.journal).list(running=True)
    return [one for one in running if not own_profile or one.profile == client.config.profile]


def profiles_at_stake(journal: Journal) -> list[str | None]:
    """The profiles under which something is deployed, or runs with a cap; None is no profile."""
    leases = {lease.profile for lease in Leases(journal).list(running=True)}
    jobs = {job.profile for job, _ in Spending(journal).capped()}
    return sorted(leases | jobs, key=lambda name: name or "")


class Attendant:
    """Looks after leases and caps while jobs are watched: `enforce`, at most every `every_s`."""

    def __init__(
        self, client: Client, watched: Collection[str] = (), *, every_s: float = 30.0
    ) -> None:
        self.client, self.watched, self.every_s = client, watched, every_s
        self._looked: float | None = None

    def look(self) -> list[Notice]:
        """What was ended, stopped or is near its cap; empty in between."""
        now = self.client.clock.monotonic()
        if self._looked is not None and now - self._looked < self.every_s:
            return []
        self._looked = now
        try:
            told = enforce(self.client, own_profile=True, watched=self.watched)
        except JournalLocked:
            return []  # somebody writes just now; the next look finds the same
        return [notice for notice in told if notice.kind != "costs"]


def _ended(client: Client, lease: Lease) -> Notice:
    try:
        closed = undeploy(client, lease.id, why="the lease was over")
    except FtsdkError as error:
        _log.warning("lease %s could not be ended: %s", lease.id, error.what)
        text = (
            f"{lease.model} at {lease.provider} may STILL COST {_rate(lease)}: its lease is over, "
            f"and undeploying did not work: {error.what}"
        )
        return Notice("not_ended", text, lease.job_id, lease.id)
    spent = closed.cost(client.clock.now())
    cost = "" if spent is None else f", about ${spent:.2f} in all"
    text = f"{lease.model} at {lease.provider} is undeployed: its lease was over{cost}"
    return Notice("ended", text, lease.job_id, lease.id)


def still_costs(client: Client, *, own_profile: bool = False) -> list[Notice]:
    """A notice for everything that stands deployed and costs by the hour."""
    now, told = client.clock.now(), list[Notice]()
    for lease in _leases(client, own_profile):
        if lease.is_over(now):
            continue
        if lease.usd_per_hour is not None and lease.usd_per_hour == 0:
            continue
        doubt = (
            " (asked for; whether it stands was never known)" if lease.state == "opening" else ""
        )
        left = _span(lease.ends_at - now)
        text = f"{lease.model} at {lease.provider} costs {_rate(lease)}; {left} left{doubt}"
        told.append(Notice("costs", text, lease.job_id, lease.id))
    return told


def _rate(lease: Lease) -> str:
    return "money" if lease.usd_per_hour is None else f"${lease.usd_per_hour:.2f} an hour"


def _span(span: dt.timedelta) -> str:
    minutes = max(0, int(span.total_seconds() // 60))
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"


# --- jobs billed by the hour -------------------------------------------------------------------------


def _capped(
    client: Client, now: dt.datetime, own_profile: bool, watched: Collection[str]
) -> list[Notice]:
    budget, money, told = budget_of(client.config), Spending(client.journal), list[Notice]()
    for known, held in money.capped():
        if own_profile and known.profile != client.config.profile and known.id not in watched:
            continue
        job = _as_it_stands(client, known)
        cap, rate = held.cap or Decimal(0), held.usd_per_hour or Decimal(0)
        if job.status is not JobStatus.RUNNING:
            continue  # queued costs nothing; one that is finalizing has been trained, and paid for
        spent = _so_far(client, job, rate, now)
        if spent >= cap:
            told += _stopped(client, job, cap, spent)
        elif spent >= cap * Decimal(str(budget.warn_at)) and money.acknowledge(
            "near_cap", job.id, now, f"${spent:.2f}"
        ):
            text = (
                f"{job.id} has cost about ${spent:.2f}; it is cancelled at ${cap:.2f}, "
                f"in {_span(_time_for(cap - spent, rate))}"
            )
            told.append(Notice("near_cap", text, job.id))
    return told


def over_cap(client: Client, job: JobSnapshot) -> str | None:
    """What to say of a job that runs on over its cap; reads the journal, asks and ends nothing."""
    if job.status is not JobStatus.RUNNING:
        return None
    held = Spending(client.journal).get(job.id)
    if held is None or held.cap is None or held.usd_per_hour is None:
        return None
    spent = _so_far(client, job, held.usd_per_hour, client.clock.now())
    if spent < held.cap:
        return None
    return (
        f"{_about(job, held.cap, spent)}, and reading it ends nothing: "
        f"job.wait(), `ftsdk watch {job.id}` or job.cancel() does"
    )


def _about(job: JobSnapshot, cap: Decimal, spent: Decimal) -> str:
    return f"{job.id} has cost about ${spent:.2f} and its cap is ${cap:.2f}"


def _as_it_stands(client: Client, job: JobSnapshot) -> JobSnapshot:
    """The job as its provider tells it now: it may have begun, or ended, since anybody looked."""
    try:
        return refresh(client, job)
    except FtsdkError as error:
        _log.warning("job %s has a cap and could not be asked for: %s", job.id, error.what)
        return job


def _time_for(usd: Decimal, usd_per_hour: Decimal) -> dt.timedelta:
    return dt.timedelta(hours=float(usd / usd_per_hour)) if usd_per_hour else dt.timedelta(days=31)


def _so_far(client: Client, job: JobSnapshot, rate: Decimal, now: dt.datetime) -> Decimal:
    """What a running job has cost: as billed so far, or its hours since it began to run.

    Where the provider does not tell when it began, hours count from when it was first seen running:
    a queue never costs a job its life, and time that nobody looked at counts too little.
    """
    seen = (move[0] for move in client.journal.moves(job.id) if move[2] is JobStatus.RUNNING)
    began = job.started_at or next(seen, now)
    hours = Decimal(str(max(0.0, (now - began).total_seconds()))) / 3600
    billed = job.cost.high if job.cost.basis == "billed" and job.cost.high is not None else None
    return max(hours * rate, billed or Decimal(0))


def _stopped(client: Client, job: JobSnapshot, cap: Decimal, spent: Decimal) -> list[Notice]:
    about = _about(job, cap, spent)
    try:
        now = cancel(client, job)
    except FtsdkError as error:
        _log.warning("job %s is over its cap and could not be cancelled: %s", job.id, error.what)
        return [Notice("not_ended", f"{about}: cancelling it DID NOT WORK: {error.what}", job.id)]
    if now.status in (JobStatus.SUCCEEDED, JobStatus.FAILED):
        return []  # it had ended by itself
    return [Notice("stopped", f"{about}: cancelled", job.id)]
