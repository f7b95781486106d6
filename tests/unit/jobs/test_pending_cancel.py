"""Cancelling a job in doubt: nobody can be asked yet, so it is cancelled once it is found."""

from __future__ import annotations

import pytest

from ftsdk.backends.fake import FakeBackend
from ftsdk.errors import NeedsDecision, Unavailable, UsageError
from ftsdk.jobs.pending_cancel import is_cancel_requested
from ftsdk.jobs.spending_guard import enforce
from ftsdk.types.status import JobStatus

LATE = {
    "submit": "lost",
    "visible_after_s": 200,
    "timeline": [["running", 0], ["succeeded", 9000]],
}


def in_doubt(client, rows, **options):
    with pytest.raises(Unavailable) as caught:
        client.create_job(rows(5), provider_options={**LATE, **options})
    return client.get_job(str(caught.value.job_id))


def test_cancelling_a_job_in_doubt_says_so_and_cancels_it_when_found(client, rows, clock):
    job = in_doubt(client, rows)
    with pytest.raises(NeedsDecision, match="nobody could be asked to cancel it") as caught:
        job.cancel()
    assert (caught.value.exit_code, caught.value.submitted) == (7, "maybe")
    clock.advance(200)
    assert client.reconcile(job.id)[0].status is JobStatus.CANCELLED
    assert not is_cancel_requested(client.journal, job.id)


def test_an_unreachable_provider_is_a_cancel_in_doubt_too(client, rows, clock, monkeypatch):
    job = in_doubt(client, rows)

    def down(self, request):
        raise Unavailable("no connection", retryable=True)

    with monkeypatch.context() as outage:
        outage.setattr(FakeBackend, "find", down)
        with pytest.raises(NeedsDecision, match="once it is found"):
            job.cancel()
    clock.advance(200)
    assert job.refresh().status is JobStatus.CANCELLED


def test_a_cancel_that_fails_when_the_job_is_found_is_tried_again(client, rows, clock, monkeypatch):
    job = in_doubt(client, rows)
    with pytest.raises(NeedsDecision):
        job.cancel()
    clock.advance(200)

    def down(self, provider_job_id):
        raise Unavailable("no connection", retryable=True)

    with monkeypatch.context() as outage:
        outage.setattr(FakeBackend, "cancel", down)
        assert client.reconcile(job.id)[0].status is not JobStatus.CANCELLED
    enforce(client.session)
    assert client.get_job(job.id).status is JobStatus.CANCELLED


def test_a_job_that_is_found_while_cancelling_is_cancelled_once(client, rows, clock, monkeypatch):
    job = in_doubt(client, rows)
    clock.advance(200)
    calls, cancel = [], FakeBackend.cancel
    monkeypatch.setattr(
        FakeBackend, "cancel", lambda self, one: (calls.append(one), cancel(self, one))[1]
    )
    assert job.cancel().status is JobStatus.CANCELLED
    assert len(calls) == 1


def test_a_job_to_be_cancelled_that_was_not_sent_is_cancelled(client, rows, monkeypatch):
    def cancelled_meanwhile(self, request):
        with pytest.raises(NeedsDecision):
            client.get_job(request.job_id).cancel()
        raise Unavailable("refused", submitted="no", retryable=True)

    monkeypatch.setattr(FakeBackend, "submit", cancelled_meanwhile)
    with pytest.raises(Unavailable) as caught:
        client.create_job(rows(5))
    assert client.get_job(str(caught.value.job_id)).status is JobStatus.CANCELLED


def test_pausing_a_job_in_doubt_is_refused(client, rows):
    with pytest.raises(UsageError, match="no provider could be asked to pause it"):
        in_doubt(client, rows).pause()
