"""Simulated submissions in which each process has the key of one of two accounts.

Both have the same home. What one account made, the other cannot see. A user looks for jobs in doubt
with either key, and sends a job again when it is reported as not found in time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ftsdk.backends.base import Backend
from ftsdk.errors import BackendError, NeedsDecision, WrongAccount
from ftsdk.jobs.submitter import Submitter
from ftsdk.types.job import JobSnapshot, RemoteJob
from ftsdk.types.status import JobStatus
from tests.faults.submission_world import ACTING, Process, Provider, SimulatedBackend, World

ACCOUNTS = ("project:a", "project:b")


class AccountBackend(SimulatedBackend):
    """The provider as the account of one process sees it."""

    has_read_list = False

    def account(self) -> str | None:
        return None if self.process is None else self.process.account

    def find(self, request: Any) -> list[RemoteJob]:
        found = super().find(request)
        self.has_read_list = True
        return found


class AccountWorld(World):
    """One schedule of faults and deaths, with two accounts."""

    def __init__(self, seed: int, folder: Path, submitter: type[Submitter] = Submitter) -> None:
        super().__init__(seed, folder, submitter)
        token = self.provider.takes_token
        other = Provider(self.chance, takes_token=token, jobs=[])
        self.providers = dict(zip(ACCOUNTS, (self.provider, other), strict=True))
        self.mixed: list[str] = []
        self.refused = 0

    def provider_of(self, process: Process | None) -> Provider:
        return self.provider if process is None else self.providers[str(process.account)]

    def backend(self, process: Process | None) -> Backend:
        return AccountBackend(self, process)

    def _new_process(self, dies_at: int | None) -> Process:
        return Process(self, dies_at, account=self.chance.choice(ACCOUNTS))

    def create(self, submitter: Submitter) -> JobSnapshot:
        """Create the job for the account of the process."""
        account = None if ACTING.process is None else ACTING.process.account
        try:
            made = submitter.create(
                self.spec, self.dataset, None, key="the-key", profile=None, account=account
            )
        except WrongAccount:
            self.refused += 1
            raise
        if made.account != account:
            self.mixed.append(f"{account} was given a job of {made.account}")
        return made

    def _recover(self) -> None:
        """Look with both keys, in a random order, and send again what is not found in time."""
        for _ in range(14):
            for account in self.chance.sample(ACCOUNTS, 2):
                self._look(account)
            self.clock.advance(80)

    def _look(self, account: str) -> None:
        solo = Process(self, None, account=account)
        solo.effect = lambda *_, **__: None  # type: ignore[method-assign]  # nothing else runs
        ACTING.process = solo
        try:
            self._look_as(solo)
        finally:
            ACTING.process = None

    def _look_as(self, solo: Process) -> None:
        submitter, backend = self._submitter(), AccountBackend(self, solo)
        submitter.backend_for = lambda _: backend
        for snapshot in submitter.journal.list():
            if snapshot.status not in (JobStatus.SUBMITTING, JobStatus.IN_DOUBT):
                continue
            try:
                backend.has_read_list = False
                current = submitter.continue_submission(snapshot.id)
                undecided = current.status is JobStatus.IN_DOUBT
                if undecided and backend.has_read_list and submitter.is_past_horizon(current):
                    submitter.resolve(snapshot.id, send_again=True)
            except WrongAccount:
                self.refused += 1
            except (BackendError, NeedsDecision):
                pass  # the next round asks again
        submitter.journal.close()

    def _check(self) -> str:
        submitter = self._submitter()
        known: list[JobSnapshot] = submitter.journal.list()
        paid = [(account, job) for account, p in self.providers.items() for job in p.jobs]
        problems = [f"mixed: {one}" for one in self.mixed]
        problems += [f"raw exception: {error!r}" for error in self.crashes]
        if len(paid) > 1:
            problems.append(f"duplicate: {len(paid)} paid jobs")
        adopted = {(s.account, s.tag): s for s in known if s.provider_job_id}
        tags = {job["tag"] for _, job in paid}
        for account, job in paid:
            if (account, job["tag"]) not in adopted and not self._may_be_found_later(known):
                problems.append(f"lost: {job['id']} of {account} is paid and unknown")
        problems += [
            f"mixed: the journal has a job of {account} that it does not have"
            for (account, tag) in adopted
            if tag in tags and (account, tag) not in {(a, job["tag"]) for a, job in paid}
        ]
        problems += [f"stuck: {s.status}" for s in known if s.status is JobStatus.SUBMITTING]
        submitter.journal.close()
        return "; ".join(problems) or "ok"
