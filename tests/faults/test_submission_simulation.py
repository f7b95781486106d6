"""T1: no schedule of faults and deaths makes two paid jobs, loses one, or leaves one stuck.

The short tier runs 2,000 schedules, `--long` 100,000. The harness also has to catch three broken
protocols.
"""

from __future__ import annotations

from typing import Any

import pytest

from ftsdk.errors import FtsdkError
from ftsdk.jobs import account_check
from ftsdk.jobs.submitter import Submitter
from ftsdk.types.job import JobSnapshot
from ftsdk.types.status import JobStatus
from tests.faults.account_world import AccountWorld
from tests.faults.submission_world import simulate


def test_exactly_once(request: pytest.FixtureRequest, record_property: Any) -> None:
    long = request.config.getoption("--long")
    totals = simulate(0, 100_000 if long else 2_000)
    record_property("totals", str(totals))
    print(totals)  # the documentation has these figures
    assert not totals.bad, dict(list(totals.bad.items())[:5])
    assert totals.faults >= (150_000 if long else 3_000)
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


@pytest.mark.parametrize("planted", [SendsAgainWhenLost, LooksOnce, RecordsAfterSending])
def test_the_harness_catches(planted: type[Submitter]) -> None:
    totals = simulate(0, 2_000, planted, stop_at_bad=60)
    assert any("duplicate" in verdict for verdict in totals.bad.values()), str(totals)


def test_the_same_seed_gives_the_same_run() -> None:
    assert str(simulate(7, 25)) == str(simulate(7, 25))


# --- two accounts -------------------------------------------------------------------------------


def test_two_accounts_are_never_mixed(request: pytest.FixtureRequest, record_property: Any) -> None:
    long = request.config.getoption("--long")
    totals = simulate(0, 50_000 if long else 800, world_class=AccountWorld)
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
    totals = simulate(0, 1_000, world_class=AccountWorld, stop_at_bad=5)
    assert any(caught in verdict for verdict in totals.bad.values()), str(totals)
