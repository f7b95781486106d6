"""Train the replacements: each target's job is created exactly once, and all of them are waited for.

The job's idempotency key is written down before it is created. Killed anywhere, the next call gives the
same key, and so finds the job that exists.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import orjson

from ftsdk.errors import (
    DatasetError,
    FtsdkError,
    Rejected,
    SpecError,
    UnknownModel,
    Unsupported,
)
from ftsdk.jobs.job import FineTuneJob
from ftsdk.jobs.submit import submit
from ftsdk.migration.candidates import prepared_job
from ftsdk.migration.migrate_options import MigrationOptions
from ftsdk.migration.old_model import OldModel
from ftsdk.migration.receipts import (
    Receipts,
    read_record,
    refuse_changes,
    write_record,
)
from ftsdk.planning.prepare import PreparedJob
from ftsdk.session import Session
from ftsdk.types.job import JobSnapshot
from ftsdk.types.migration import CandidatePlan
from ftsdk.types.status import JobStatus
from ftsdk.util.names import file_name

_REFUSALS = (Unsupported, Rejected, DatasetError, SpecError, UnknownModel)
Say = Callable[[str], None]


@dataclass(frozen=True)
class Trained:
    """What became of a target: its job, and why it has no model; empty where it has one."""

    plan: CandidatePlan
    job: JobSnapshot | None
    failed: str = ""


class Training:
    """The jobs of one old model's replacements."""

    def __init__(
        self,
        session: Session,
        receipts: Receipts,
        old: OldModel,
        options: MigrationOptions,
        source: str,
        say: Say,
    ) -> None:
        self._session, self._receipts = session, receipts
        self._old, self._options, self._source, self._say = old, options, source, say

    def job_of(self, plan: CandidatePlan) -> JobSnapshot | None:
        """Return the job of a candidate, where it was created."""
        path = self._begun(plan)
        if not path.is_file() or not self._session.has_journal:
            return None
        return self._session.journal.find_key(str(read_record(path)["key"]))

    def cost_of(self, plan: CandidatePlan) -> Decimal:
        """Return what the job of a candidate counts for, in US dollars."""
        job = self.job_of(plan)
        return (job.cost.usd if job is not None and not job.was_refused else None) or Decimal(0)

    def has_failed(self, plans: Sequence[CandidatePlan]) -> bool:
        """Whether a job of these candidates failed or was cancelled."""
        jobs = (self.job_of(one) for one in plans if one.kind == "tuned")
        bad = (JobStatus.FAILED, JobStatus.CANCELLED)
        return any(job is not None and job.status in bad for job in jobs)

    def train(
        self, plans: list[CandidatePlan], left: Callable[[], Decimal | None]
    ) -> list[Trained]:
        """Create the jobs, wait until each has ended, and write its receipt.

        `left` returns what is left of the budget. A target that refuses its job does not stop the others.
        Raises `NeedsDecision` for a job in doubt, and what keeps a job from being created for now, after
        the others were created; they go on at their providers.
        """
        jobs: list[tuple[CandidatePlan, JobSnapshot]] = []
        refused: list[Trained] = []
        stopped: list[FtsdkError] = []
        for plan in plans:
            try:
                jobs.append((plan, self._created(plan, left)))
            except FtsdkError as error:
                if _is_refusal(error):
                    refused.append(
                        Trained(
                            plan, None, f"{plan.provider} refused it: {error.what}; {error.hint}"
                        )
                    )
                else:
                    stopped.append(error)
        if stopped:
            raise stopped[0]
        return [*(self._ended(plan, job) for plan, job in jobs), *refused]

    # --- creating ---

    def _created(self, plan: CandidatePlan, left: Callable[[], Decimal | None]) -> JobSnapshot:
        existing = self.job_of(plan)
        if existing is not None and self._may_stay(existing):
            return existing
        rest = left()
        if rest is not None:
            rest += self.cost_of(plan)
        prepared = prepared_job(self._session, self._old, plan, self._options, budget=rest)
        key = self._key(plan, prepared)
        self._say(f"creating the job at {plan.provider}")
        return submit(
            self._session,
            prepared,
            key=key,
            allow_findings=self._options.allow_findings,
            say=self._say,
        )

    def _may_stay(self, job: JobSnapshot) -> bool:
        """Whether this job is the one to wait for; otherwise it is sent, or another is created."""
        if job.status in (JobStatus.FAILED, JobStatus.CANCELLED):
            return not (self._options.retry or job.was_refused)
        return job.is_accepted

    def _key(self, plan: CandidatePlan, prepared: PreparedJob) -> str:
        """Return the key of the job, and write it down before there is a job."""
        path = self._begun(plan)
        before = read_record(path) if path.is_file() else None
        facts = {"target": plan.name, "settings and rows": prepared.fingerprint}
        attempt = 1
        if before is not None:
            refuse_changes(before["job"], facts, path)
            attempt = int(before["attempt"])
            ended = self._session.journal.find_key(str(before["key"]))
            if ended is not None and ended.status.is_final and not ended.was_refused:
                attempt += 1
        asked = orjson.dumps([self._source, self._old.name, facts, attempt])
        key = f"migrate-{hashlib.sha256(asked).hexdigest()[:32]}"
        write_record(path, {"key": key, "attempt": attempt, "job": facts})
        return key

    def _begun(self, plan: CandidatePlan) -> Path:
        return self._receipts.path("train", f"{file_name(plan.name)}.begun")

    # --- waiting ---

    def _ended(self, plan: CandidatePlan, job: JobSnapshot) -> Trained:
        inputs = {"target": plan.name, "job": job.id}
        of = file_name(plan.name)
        receipt = self._receipts.read("train", of)
        if receipt is None or receipt.inputs != inputs:
            started = self._session.clock.now()
            handle = FineTuneJob(self._session, job)
            self._say(f"training at {plan.provider}: {job.id}")
            handle.wait()
            job = handle.snapshot
            receipt = self._receipts.write(
                "train", inputs, started, _facts(job), usd=job.cost.usd, of=of
            )
        return Trained(plan, self._session.journal.get(job.id), str(receipt.result["failed"]))


def _is_refusal(error: FtsdkError) -> bool:
    """Whether the provider takes no such job, whatever is done at another time."""
    return isinstance(error, _REFUSALS) and error.submitted == "no"


def _facts(job: JobSnapshot) -> dict[str, object]:
    failed = ""
    if job.status is not JobStatus.SUCCEEDED:
        failed = f"its job {job.id} {job.status}" + (f": {job.message}" if job.message else "")
    return {"job": job.id, "provider_job": job.provider_job_id, "failed": failed}
