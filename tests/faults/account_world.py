"""Simulated submissions in which each process has the key of one of two accounts.

Both have the same home. What one account made, the other cannot see. A user looks for jobs in doubt
with either key, and sends a job again when it is reported as not found in time.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from ftsdk.backends.base import Backend
from ftsdk.errors import BackendError, FtsdkError, NeedsDecision, WrongAccount
from ftsdk.jobs.submitter import Submitter
from ftsdk.types.job import JobSnapshot, RemoteJob
from ftsdk.types.status import JobStatus
from tests.faults.submission_world import Died, Process, Provider, SimulatedBackend, World

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

    def _process(self, account: str, me: int = 0, dies_at: int | None = None) -> Process:
        return Process(self, me, dies_at, account=account)

    def _attempt(self, me: int) -> None:
        dies_at = self.chance.randrange(1, 80) if self.chance.random() < 0.6 else None
        account = self.chance.choice(ACCOUNTS)
        try:
            submitter = self._submitter(self._process(account, me, dies_at))
            made = submitter.create(
                self.spec, self.dataset, None, key="the-key", profile=None, account=account
            )
        except WrongAccount:
            self.refused += 1
        except (Died, FtsdkError, sqlite3.Error):
            pass  # the caller got an error or died; only the state afterwards matters
        else:
            if made.account != account:
                self.mixed.append(f"{account} was given a job of {made.account}")

    def _recover(self) -> None:
        """Look with both keys, in a random order, and send again what is not found in time."""
        for _ in range(14):
            for account in self.chance.sample(ACCOUNTS, 2):
                self._look(account)
            self.clock.advance(80)

    def _look(self, account: str) -> None:
        solo = self._process(account)
        solo.effect = lambda: None  # type: ignore[method-assign]  # nothing else runs, nobody dies
        submitter = self._submitter(solo)
        backend = AccountBackend(self, solo)
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
        submitter = self._submitter(None)
        known: list[JobSnapshot] = submitter.journal.list()
        paid = [(account, job) for account, p in self.providers.items() for job in p.jobs]
        problems = [f"mixed: {one}" for one in self.mixed]
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
