"""Deployments that a comparison needs: priced before, ended after, and after a kill by the next call.

Before a deployment is started, its job is written into the migration's folder. Whatever is written
there when a migration starts was left by a killed one, and is ended first. A deployment that was running
before is used and not ended.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

from ftsdk.deployments.deploy import price_of, undeploy
from ftsdk.errors import BudgetError, UnknownJob
from ftsdk.evaluation.models import Model
from ftsdk.jobs.job import FineTuneJob
from ftsdk.migration.receipts import DEPLOYMENTS, read_record, write_record
from ftsdk.session import Session
from ftsdk.store.leases import Lease, Leases

_WAIT_S = 3600.0


class ComparisonLeases:
    """The deployments that a migration started and has not ended."""

    def __init__(self, session: Session, folder: Path, say: Callable[[str], None]) -> None:
        self._session, self._path, self._say = session, folder / DEPLOYMENTS, say

    def end_left(self) -> int:
        """End what a killed migration left running; return how many. Works where spending is forbidden."""
        left = self._started()
        for job_id in left:
            self._say(f"ending the deployment of {job_id} that an interrupted call left")
            self._end(job_id)
        return len(left)

    @contextlib.contextmanager
    def around(self, model: Model, hours: float, left: Decimal | None) -> Iterator[None]:
        """Deploy the model for the block, where it must be deployed to be called, and end it afterwards.

        `left` is what it may cost, in US dollars. Raises `BudgetError` before it is started.
        """
        job = model.job
        if job is None or model.handle.callable_now or not model.backend.capabilities.can_deploy:
            yield
            return
        if self._runs_already(job.id):
            yield
            return
        self._require(job.id, hours, left)
        self._remember([*self._started(), job.id])
        try:
            deployed = FineTuneJob(self._session, job)
            self._say(f"starting a deployment of {job.id} for at most {hours:g} h")
            deployed.deploy(hours=hours)
            deployed.callable_result(timeout=_WAIT_S)
            yield
        finally:
            self._end(job.id)

    def _runs_already(self, job_id: str) -> bool:
        return any(one.job_id == job_id for one in Leases(self._session.journal).list(running=True))

    def _require(self, job_id: str, hours: float, left: Decimal | None) -> None:
        if left is None:
            return
        price = price_of(self._session, job_id)
        usd = None if price is None else price * Decimal(str(hours))
        if usd is None or usd > left:
            cost = "an unknown amount" if usd is None else f"up to ${usd:.2f}"
            raise BudgetError(
                f"The comparison needs a deployment for {cost}, and ${left:.2f} of the budget are left",
                where=f"job {job_id}, {hours:g} h",
                hint="raise --budget, or shorten it with --lease-hours",
                submitted="no",
            )

    def _end(self, job_id: str) -> None:
        with contextlib.suppress(UnknownJob):  # killed before there was a lease
            undeploy(self._session, job_id, why="the comparison has ended")
        self._remember([one for one in self._started() if one != job_id])

    def _started(self) -> list[str]:
        if not self._path.is_file():
            return []
        return [str(one) for one in read_record(self._path)["jobs"]]

    def _remember(self, jobs: list[str]) -> None:
        write_record(self._path, {"jobs": jobs})


def lease_costs(session: Session, job_ids: set[str]) -> Decimal:
    """Return what the deployments of these jobs have cost so far, in US dollars."""
    if not session.has_journal:
        return Decimal(0)
    found: list[Lease] = [one for one in Leases(session.journal).list() if one.job_id in job_ids]
    costs = (one.cost(session.clock.now()) for one in found)
    return sum((cost for cost in costs if cost is not None), Decimal(0))
