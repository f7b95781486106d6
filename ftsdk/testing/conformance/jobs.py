"""Checks of a job's life: submitted once, read without side effects, ended correctly."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from itertools import pairwise

import pytest

from ftsdk.errors import FtsdkError, NotFound, NotReady
from ftsdk.testing.conformance.world import World
from ftsdk.types.cost import CostBasis
from ftsdk.types.model import ModelHandle, ModelKind
from ftsdk.types.status import JobStatus
from ftsdk.util.clock import ManualClock
from ftsdk.util.ids import submission_tag

_ODD_IDS = ("../../etc/passwd", "a/b", "", "x\ny", "..", "é" * 9, "a" * 5000, "?x=1", "#")
_INVENTED = ("compacting", "ON_HOLD", "succeeded!", "", "已完成")


def needs(world: World, claim: str) -> None:
    """Skip unless the backend declares this capability."""
    if not getattr(world.backend.capabilities, claim):
        pytest.skip(f"the backend does not declare {claim}")


class JobChecks:
    """From submit to the result."""

    # --- submitting ---

    def test_submit_returns_a_job_that_has_not_ended(self, world: World) -> None:
        _, job = world.first()
        assert job.provider_job_id
        assert job.provider_job_id.isprintable()
        assert job.status.is_remote
        assert not job.status.is_final
        assert job.raw_status

    def test_submit_is_one_create_call(self, world: World) -> None:
        if world.double is None:
            pytest.skip("this world has no double")
        before = world.double.creates()
        world.fresh()
        assert world.double.creates() == before + 1

    def test_a_job_is_found_by_its_tag(self, world: World) -> None:
        request, job = world.first()
        assert [one.provider_job_id for one in world.backend.find(request)] == [job.provider_job_id]

    def test_no_other_tag_finds_it(self, world: World) -> None:
        world.first()
        other = world.request()
        assert world.backend.find(other) == []
        assert submission_tag(other.job_id) == other.tag

    def test_resending_makes_one_job_where_it_is_declared_safe(self, world: World) -> None:
        needs(world, "resend_is_safe")
        request, job = world.first()
        assert world.backend.submit(request).provider_job_id == job.provider_job_id
        assert len(world.backend.find(request)) == 1

    def test_a_new_process_finds_the_job(self, world: World) -> None:
        """DSPy kept the id in a thread: the process died, and the job was lost."""
        request, job = world.first()
        found = world.restarted().find(request)
        assert [one.provider_job_id for one in found] == [job.provider_job_id]

    def test_an_accepted_job_has_no_result(self, world: World) -> None:
        """LiteLLM returned the display name as the tuned model at once."""
        _, job = world.first()
        if job.status is not JobStatus.SUCCEEDED:
            assert job.result_model is None

    # --- reading ---

    def test_get_returns_the_same_job(self, world: World) -> None:
        _, job = world.first()
        read = world.backend.get(job.provider_job_id)
        assert read.provider_job_id == job.provider_job_id
        assert read.raw_status

    def test_get_keeps_the_raw_reply(self, world: World) -> None:
        _, job = world.first()
        assert world.backend.get(job.provider_job_id).raw

    def test_an_unknown_id_is_not_found(self, world: World) -> None:
        with pytest.raises(NotFound):
            world.backend.get(world.unknown_id)

    @pytest.mark.parametrize("identity", _ODD_IDS, ids=lambda one: repr(one[:12]))
    def test_a_malformed_id_is_refused(self, world: World, identity: str) -> None:
        for verb in ("get", "cancel"):
            with world.watched() as seen, pytest.raises(FtsdkError):
                getattr(world.backend, verb)(identity)
            assert [one for one in seen if ".." in one[1] or "passwd" in one[1]] == []

    def test_list_is_newest_first(self, world: World) -> None:
        _, job = world.first()
        jobs = list(world.backend.list())
        assert job.provider_job_id in [one.provider_job_id for one in jobs]
        times = [one.created_at for one in jobs if one.created_at is not None]
        assert times == sorted(times, reverse=True)

    def test_list_respects_its_limit(self, world: World) -> None:
        world.first()
        assert len(list(world.backend.list(limit=1))) == 1

    def test_get_many_returns_each_job(self, world: World) -> None:
        identities = [one.provider_job_id for one in world.backend.list(limit=5)]
        found = [one.provider_job_id for one in world.backend.get_many(identities)]
        assert sorted(found) == sorted(identities)

    def test_reads_only_read(self, world: World) -> None:
        """Kiln deployed an H100 on the status read that first saw the job done."""
        request, job = world.first() if world.double is None else world.another()
        identity = job.provider_job_id
        able = world.backend.capabilities
        with world.watched() as seen:
            world.until(identity, lambda one: one.status.is_final)
            world.backend.get(identity)
            list(world.backend.list(limit=3))
            list(world.backend.get_many([identity]))
            world.backend.find(request)
            world.backend.model(identity)
            for claim, verb in (("has_events", "events"), ("has_metrics", "metrics"),
                                ("has_checkpoints", "checkpoints"), ("has_logs", "logs")):  # fmt: skip
                if getattr(able, claim):
                    getattr(world.backend, verb)(identity)
        assert {method for method, _ in seen} <= {"GET", "HEAD"}

    def test_times_are_the_providers_own(self, world: World) -> None:
        """Portkey returned NaN and milliseconds; brainwires returned the time of the read as the job's."""
        _, job = world.first()
        first = world.backend.get(job.provider_job_id)
        world.pass_s(0.01)
        second = world.backend.get(job.provider_job_id)
        assert first.created_at == second.created_at
        for read in (first, second):
            if not read.status.is_final:
                assert read.finished_at is None
            for time in (read.created_at, read.finished_at):
                assert time is None or time.tzinfo is not None
                assert time is None or abs(time - world.clock.now()) < dt.timedelta(days=1)

    def test_reads_are_repeatable(self, world: World) -> None:
        identity = world.finished()
        first, second = world.backend.get(identity), world.backend.get(identity)
        assert first.status is second.status
        assert first.finished_at == second.finished_at

    def test_every_known_status_is_mapped(self, world: World) -> None:
        if world.double is None or not world.statuses:
            pytest.skip("this world has no double")
        job = world.fresh()
        for word, ours in world.statuses.items():
            world.double.show_status(job.provider_job_id, word)
            read = world.backend.get(job.provider_job_id)
            assert read.status is ours, word
            assert read.raw_status == word
        world.double.show_status(job.provider_job_id, None)

    def test_an_unknown_status_is_not_final_and_raises_nothing(self, world: World) -> None:
        if world.double is None or not world.statuses:
            pytest.skip("this world has no double")
        job = world.fresh()
        for word in _INVENTED:
            world.double.show_status(job.provider_job_id, word)
            read = world.backend.get(job.provider_job_id)
            assert read.status is JobStatus.UNKNOWN, word
            assert read.raw_status == word
            assert any(one.provider_job_id == job.provider_job_id for one in world.backend.list())
        world.double.show_status(job.provider_job_id, None)

    # --- the course of a run ---

    def test_events_are_ordered_and_unique(self, world: World) -> None:
        needs(world, "has_events")
        events = world.backend.events(world.finished())
        assert events
        assert [one.seq for one in events] == sorted({one.seq for one in events})
        assert len({one.id for one in events}) == len(events)
        assert all(a.time <= b.time for a, b in pairwise(events))
        assert all(one.time.tzinfo is not None for one in events)

    def test_events_continue_after_a_position(self, world: World) -> None:
        needs(world, "has_events")
        events = world.backend.events(world.finished())
        middle = events[len(events) // 2].seq
        later = world.backend.events(world.finished(), after=middle)
        assert [one.id for one in later] == [one.id for one in events if one.seq > middle]
        assert world.backend.events(world.finished(), after=events[-1].seq) == []

    def test_events_are_the_same_after_a_restart(self, world: World) -> None:
        needs(world, "has_events")
        before = [(one.seq, one.id) for one in world.backend.events(world.finished())]
        after = [(one.seq, one.id) for one in world.restarted().events(world.finished())]
        assert before == after

    def test_metrics_are_by_step_and_finite(self, world: World) -> None:
        needs(world, "has_metrics")
        points = world.backend.metrics(world.finished())
        assert points
        steps = [one.step for one in points]
        assert steps == sorted(set(steps))
        losses = [one.train_loss for one in points if one.train_loss is not None]
        assert losses
        assert all(math.isfinite(one) for one in losses)

    def test_checkpoints_are_by_step(self, world: World) -> None:
        needs(world, "has_checkpoints")
        kept = world.backend.checkpoints(world.finished())
        assert kept
        steps = [one.step for one in kept]
        assert steps == sorted(steps)
        assert len({one.id for one in kept}) == len(kept)

    def test_logs_have_a_tail(self, world: World) -> None:
        needs(world, "has_logs")
        lines = world.backend.logs(world.finished())
        assert lines
        assert world.backend.logs(world.finished(), tail=2) == lines[-2:]
        assert world.backend.logs(world.finished(), tail=0) == []

    # --- the end ---

    def test_there_is_no_model_before_success(self, world: World) -> None:
        needs(world, "can_cancel")
        assert isinstance(world.cancelled().asked_early, NotReady)

    def test_succeeded_means_that_the_model_exists(self, world: World) -> None:
        identity = world.finished()
        handle = world.backend.model(identity)
        assert handle.provider == world.backend.name
        assert handle.id
        assert handle.base_model
        assert handle.kind in set(ModelKind)

    def test_a_final_status_stays(self, world: World) -> None:
        identity = world.finished()
        world.pass_s(0.01)
        job = world.backend.get(identity)
        assert job.status is JobStatus.SUCCEEDED
        assert (
            job.created_at is None or job.finished_at is None or job.created_at <= job.finished_at
        )

    def test_a_handle_survives_json(self, world: World) -> None:
        handle = world.backend.model(world.finished())
        again = ModelHandle.model_validate_json(handle.model_dump_json())
        assert again == handle
        with pytest.raises(NotReady):
            again.chat("hello")

    def test_callable_now_is_true_only_when_a_call_works(self, world: World) -> None:
        handle = world.backend.model(world.finished())
        if not handle.callable_now:
            able = world.backend.capabilities
            assert able.can_deploy or not able.can_chat, "chat is declared, but cannot work"
            with pytest.raises(FtsdkError):
                handle.chat("hello")
            return
        answer = handle.chat("What does ticket number 3 ask for?", max_tokens=8)
        assert isinstance(answer.text, str)
        assert answer.message.get("role") == "assistant"
        assert all(isinstance(count, int) for count in answer.usage.values())

    def test_the_cost_is_decimal(self, world: World) -> None:
        cost = world.backend.get(world.finished()).cost
        if cost is None:
            return
        assert cost.basis in set(CostBasis)
        for amount in (cost.low, cost.high):
            assert amount is None or isinstance(amount, Decimal)

    def test_a_failed_job_has_a_reason(self, world: World) -> None:
        if world.fails_with is None and world.fail is None:
            pytest.skip("this world has no failing job")
        job = world.fresh(**dict(world.fails_with or {}))
        if world.fail is not None:
            world.fail(job.provider_job_id)
        ended = world.until(job.provider_job_id, lambda one: one.status.is_final)
        assert ended.status is JobStatus.FAILED
        assert ended.message
        with pytest.raises((NotReady, FtsdkError)):
            world.backend.model(job.provider_job_id)

    # --- acting ---

    def test_cancelling_is_not_a_failure(self, world: World) -> None:
        """Kiln reported a cancelled job as failed, and one that was still running as well."""
        needs(world, "can_cancel")
        story = world.cancelled()
        assert story.first.status is not JobStatus.FAILED
        assert story.last.status is JobStatus.CANCELLED

    def test_cancelling_twice_is_harmless(self, world: World) -> None:
        needs(world, "can_cancel")
        identity = world.cancelled().last.provider_job_id
        world.backend.cancel(identity)
        assert world.backend.get(identity).status is JobStatus.CANCELLED

    def test_a_cancelled_job_stays_listed(self, world: World) -> None:
        """Portkey deleted the record to cancel the job."""
        needs(world, "can_cancel")
        identity = world.cancelled().last.provider_job_id
        assert identity in [one.provider_job_id for one in world.backend.list()]

    def test_a_cancelled_job_has_no_model(self, world: World) -> None:
        needs(world, "can_cancel")
        with pytest.raises(FtsdkError):
            world.backend.model(world.cancelled().last.provider_job_id)

    def test_a_paused_job_resumes(self, world: World) -> None:
        needs(world, "can_pause")
        needs(world, "can_resume")
        job = world.fresh()
        world.backend.pause(job.provider_job_id)
        held = world.until(job.provider_job_id, lambda one: one.status is JobStatus.PAUSED)
        assert not held.status.is_final
        world.backend.resume(job.provider_job_id)
        ended = world.until(job.provider_job_id, lambda one: one.status.is_final)
        assert ended.status is JobStatus.SUCCEEDED

    def test_a_cancelled_job_resumes_where_it_is_declared(self, world: World) -> None:
        needs(world, "can_cancel")
        needs(world, "can_resume")
        job = world.fresh()
        world.backend.cancel(job.provider_job_id)
        held = world.until(job.provider_job_id, lambda one: one.status.is_final)
        assert held.status is JobStatus.CANCELLED
        if not world.backend.capabilities.resumes_ended:
            with pytest.raises(FtsdkError):
                world.backend.resume(job.provider_job_id)
            return
        world.backend.resume(job.provider_job_id)
        ended = world.until(job.provider_job_id, lambda one: one.status.is_final)
        assert ended.status is JobStatus.SUCCEEDED

    def test_a_result_is_downloaded(self, world: World) -> None:
        needs(world, "can_download")
        handle = world.backend.model(world.finished())
        folder = world.home / "downloaded"
        place = handle.download(folder)
        assert place.exists()
        assert any(folder.rglob("*"))

    def test_a_deleted_result_is_gone(self, world: World) -> None:
        needs(world, "can_delete")
        if not isinstance(world.clock, ManualClock):
            pytest.skip("deleting is tried where making another job takes no time")
        job = world.fresh()
        world.until(job.provider_job_id, lambda one: one.status.is_final)
        world.backend.delete(job.provider_job_id)
        try:
            handle = world.backend.model(job.provider_job_id)
        except FtsdkError:
            return
        assert not handle.callable_now
