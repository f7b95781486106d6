"""T1: no schedule of faults and deaths makes two paid jobs, loses one, or leaves one stuck.

Each world creates one job, with a key or without one, in processes of one thread or several. The short
tier runs 600 schedules, `--long` 100,000. The harness also has to catch the broken protocols below.
"""

from __future__ import annotations

from typing import Any

import pytest

from ftsdk.dataset import Dataset
from ftsdk.errors import FtsdkError, RateLimited
from ftsdk.jobs import account_check
from ftsdk.jobs.submitter import Submitter
from ftsdk.store.duplicates import Identity
from ftsdk.types.job import JobSnapshot
from ftsdk.types.spec import JobSpec
from ftsdk.types.status import JobStatus
from tests.faults.account_world import AccountWorld
from tests.faults.submission_world import ACTING, SAME, Process, World, simulate


def test_exactly_once(request: pytest.FixtureRequest, record_property: Any) -> None:
    long = request.config.getoption("--long")
    totals = simulate(0, 100_000 if long else 600)  # the planted bugs need 1 to 69
    record_property("totals", str(totals))
    print(totals)  # the documentation has these figures
    assert not totals.bad, dict(list(totals.bad.items())[:5])
    assert totals.faults >= (150_000 if long else 900)
    assert totals.deaths > totals.schedules / 10


class SendsAgainWhenLost(Submitter):
    """Planted bug: a lost answer is treated as a job that does not exist."""

    def _handle_failure(
        self, snapshot: JobSnapshot, error: FtsdkError, attempt: int, *, was_in_doubt: bool
    ) -> JobSnapshot:
        if error.submitted != "no" and attempt < 3:
            snapshot = self._mark_in_doubt(snapshot, "lost")
            return self._send(snapshot, attempt + 1)
        return super()._handle_failure(snapshot, error, attempt, was_in_doubt=was_in_doubt)


class LooksOnce(Submitter):
    """Planted bug: looks once, and sends again when the list does not show the job yet."""

    def _reconcile(
        self,
        snapshot: JobSnapshot,
        *,
        patient: bool,
        cause: FtsdkError | None = None,
        attempt: int = 1,
    ) -> JobSnapshot:
        found = self.backend_for(snapshot).find(self.request(snapshot))
        if found:
            return self._adopt(snapshot, found)
        return self._send(snapshot, attempt + 1) if attempt < 3 else snapshot


class RecordsAfterSending(Submitter):
    """Planted bug: the create call is recorded in the journal only after it has ended."""

    def _send(self, snapshot: JobSnapshot, attempt: int = 1) -> JobSnapshot:
        remote = self.backend_for(snapshot).submit(self.request(snapshot))
        self.journal.change(
            snapshot.id, now=self.clock.now(), why="late", status=JobStatus.SUBMITTING
        )
        return self._accept(snapshot, remote, "accepted")


class TakesEvery429ForARefusal(Submitter):
    """Planted bug: a gateway's 429, after which the job may exist, is waited for and sent again."""

    def _handle_failure(
        self, snapshot: JobSnapshot, error: FtsdkError, attempt: int, *, was_in_doubt: bool
    ) -> JobSnapshot:
        if isinstance(error, RateLimited):
            error.submitted = "no"
        return super()._handle_failure(snapshot, error, attempt, was_in_doubt=was_in_doubt)


class LooksBeforeJournaling(Submitter):
    """Planted bug: whether the same job is there is looked for before the transaction, not in it."""

    def create(self, spec: JobSpec, train: Dataset, *args: Any, **facts: Any) -> JobSnapshot:
        if facts["key"] is None:
            wanted = Identity(spec.fingerprint(train.sha256, None))
            there = self.journal.same_job(wanted, SAME, self.clock.now())
            if there is not None:
                return self.continue_submission(there.id, creating=True)
        return super().create(spec, train, *args, **{**facts, "hook": None})


PLANTED = [
    SendsAgainWhenLost,
    LooksOnce,
    RecordsAfterSending,
    TakesEvery429ForARefusal,
    LooksBeforeJournaling,
]


@pytest.mark.parametrize("planted", PLANTED)
def test_the_harness_catches(planted: type[Submitter]) -> None:
    totals = simulate(0, 2_000, planted, until="duplicate")
    assert any("duplicate" in verdict for verdict in totals.bad.values()), str(totals)


class OneProcess(World):
    """A world in which the threads of one process create the same job at once; nobody dies."""

    def run(self) -> str:
        process, self.death_rate = Process(self, None), 0.0
        submitter = self._submitter()

        def body(me: int) -> None:
            ACTING.process, ACTING.me = process, me
            try:
                self.outcomes.append(self.create(submitter))
            except FtsdkError as error:
                self.outcomes.append(error)

        self.baton.run([body] * 3)
        self._recover()
        return self._check()


class SlowProvider(OneProcess):
    """The provider refuses up to five create calls for pace, and does nothing worse."""

    def __init__(self, *args: Any, **facts: Any) -> None:
        super().__init__(*args, **facts)
        self.read_faults, self.left = 0.0, self.chance.randrange(6)

    def next_fault(self) -> str:
        self.left -= 1
        return "paced" if self.left >= 0 else "ok"

    def _check(self) -> str:
        told_to_wait = any(
            isinstance(one, RateLimited) and (one.retry_after_s or 0) + 1 > 100
            for one in self.outcomes
        )
        ids = {one.id for one in self.outcomes if isinstance(one, JobSnapshot)}
        if not self.provider.jobs and not told_to_wait:
            return f"nobody made the job: {self.outcomes}"
        if len(ids) > 1:
            return f"one caller got another job: {ids}"
        return super()._check()


class TakesPaceForADoubt(Submitter):
    """Planted bug: a refusal for pace leaves a job in doubt, which nobody sends any more."""

    def _handle_failure(
        self, snapshot: JobSnapshot, error: FtsdkError, attempt: int, *, was_in_doubt: bool
    ) -> JobSnapshot:
        error.submitted = "maybe"
        return super()._handle_failure(snapshot, error, attempt, was_in_doubt=was_in_doubt)


def test_threads_of_one_process_make_one_job(request: pytest.FixtureRequest) -> None:
    totals = simulate(
        0, 20_000 if request.config.getoption("--long") else 200, world_class=OneProcess
    )
    print(totals)
    assert not totals.bad, dict(list(totals.bad.items())[:5])
    caught = simulate(0, 400, LooksBeforeJournaling, world_class=OneProcess, until="duplicate")
    assert any("duplicate" in verdict for verdict in caught.bad.values()), str(caught)


def test_a_provider_that_refuses_for_pace_gets_one_job(request: pytest.FixtureRequest) -> None:
    totals = simulate(
        0, 20_000 if request.config.getoption("--long") else 200, world_class=SlowProvider
    )
    print(totals)
    assert not totals.bad, dict(list(totals.bad.items())[:5])
    caught = simulate(0, 400, TakesPaceForADoubt, world_class=SlowProvider, until="nobody made")
    assert any("nobody made" in verdict for verdict in caught.bad.values()), str(caught)


def test_the_same_seed_gives_the_same_run() -> None:
    assert str(simulate(7, 25)) == str(simulate(7, 25))


# --- two accounts -------------------------------------------------------------------------------


def test_two_accounts_are_never_mixed(request: pytest.FixtureRequest, record_property: Any) -> None:
    long = request.config.getoption("--long")
    totals = simulate(0, 50_000 if long else 200, world_class=AccountWorld)
    record_property("totals", str(totals))
    print(f"two accounts: {totals}")
    assert not totals.bad, dict(list(totals.bad.items())[:5])
    assert totals.deaths > totals.schedules / 10


@pytest.mark.parametrize(
    ("planted", "caught"),
    [
        ("require_account", "duplicate"),  # looks, and sends again, with whatever key there is
        ("is_of_account", "mixed"),  # gives the other account's job back for the same key
    ],
)
def test_the_harness_catches_mixed_accounts(
    planted: str, caught: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account_check, planted, lambda *_: True)
    totals = simulate(0, 1_000, world_class=AccountWorld, until=caught)
    assert any(caught in verdict for verdict in totals.bad.values()), str(totals)
