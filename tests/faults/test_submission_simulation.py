"""T1: no schedule of faults and deaths makes two paid jobs, loses one, or leaves one stuck.

The short tier plays a few thousand schedules; `--long` plays 100,000. The harness is also turned
on three broken protocols, each of which it has to catch.
"""

from __future__ import annotations

from typing import Any

import pytest

from ftsdk.errors import FtsdkError
from ftsdk.jobs.submitter import Submitter
from ftsdk.types.job import JobSnapshot
from ftsdk.types.status import JobStatus
from tests.faults.submission_world import simulate


def test_exactly_once(request: pytest.FixtureRequest, record_property: Any) -> None:
    long = request.config.getoption("--long")
    tally = simulate(0, 100_000 if long else 2_000)
    record_property("tally", str(tally))
    print(tally)  # the figure the documentation names
    assert not tally.bad, dict(list(tally.bad.items())[:5])
    assert tally.faults >= (150_000 if long else 3_000)
    assert tally.deaths > tally.schedules / 10


class SendsAgainWhenLost(Submitter):
    """Planted: an answer that was lost is taken for a job that does not exist."""

    def _not_accepted(
        self, snapshot: JobSnapshot, error: FtsdkError, attempt: int, *, doubtful: bool
    ) -> JobSnapshot:
        if error.submitted != "no" and attempt < 3:
            snapshot = self._doubt(snapshot, "lost")
            return self._send(snapshot, attempt + 1)
        return super()._not_accepted(snapshot, error, attempt, doubtful=doubtful)


class LooksOnce(Submitter):
    """Planted: looks once, and sends again when the list does not show the job yet."""

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


class NoMarkBeforeSending(Submitter):
    """Planted: the journal hears of the create call only when it has ended."""

    def _send(self, snapshot: JobSnapshot, attempt: int = 1) -> JobSnapshot:
        remote = self.backend_for(snapshot).submit(self.request(snapshot))
        self.journal.change(
            snapshot.id, now=self.clock.now(), why="late", status=JobStatus.SUBMITTING
        )
        return self._accept(snapshot, remote, "accepted")


@pytest.mark.parametrize("planted", [SendsAgainWhenLost, LooksOnce, NoMarkBeforeSending])
def test_the_harness_catches(planted: type[Submitter]) -> None:
    tally = simulate(0, 2_000, planted, stop_at_bad=60)
    assert any("duplicate" in verdict for verdict in tally.bad.values()), str(tally)


def test_the_same_seed_is_the_same_story() -> None:
    assert str(simulate(7, 25)) == str(simulate(7, 25))
