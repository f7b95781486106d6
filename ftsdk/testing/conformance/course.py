"""Checks of a job from submit to its end and beyond: nothing is final before it is, and then it stays."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from decimal import Decimal
from types import ModuleType

import pytest

from ftsdk.backends.base import Backend
from ftsdk.testing.conformance.world import World
from ftsdk.types.cost import Cost, CostBasis
from ftsdk.types.job import RemoteJob
from ftsdk.types.status import JobStatus
from ftsdk.util.clock import ManualClock

_ON_ITS_WAY = re.compile(r"(?i)(ing|[a-z]_?requested)$|^(pending|queued|waiting)")
_ENDS_THOUGH = frozenset({"missing"})


def assert_right_for_its_status(job: RemoteJob, *, is_free: bool) -> None:
    """Assert that the record says nothing that its status rules out."""
    for amount in _amounts(job.cost):
        assert amount.is_finite(), f"{job.raw_status}: the cost is {amount}"
        assert amount >= 0, f"{job.raw_status}: the cost is negative, {amount}"
    if job.progress is not None and job.progress.fraction is not None:
        assert 0 <= job.progress.fraction <= 1, job.raw_status
    if job.started_at is not None and job.finished_at is not None:
        assert job.started_at <= job.finished_at, job.raw_status
    if job.result_model is not None:
        assert job.status is JobStatus.SUCCEEDED, f"{job.raw_status}: it has a result already"
    if job.status.is_final:
        return
    assert job.finished_at is None, f"{job.raw_status}: the job goes on, and has an end"
    is_billed = job.cost is not None and job.cost.basis is CostBasis.BILLED
    costs_nothing = is_free and not any(_amounts(job.cost))
    assert not is_billed or costs_nothing, (
        f"{job.raw_status}: the job goes on, and its bill is final"
    )


def _amounts(cost: Cost | None) -> Iterator[Decimal]:
    if cost is not None:
        for amount in (cost.low, cost.high, cost.storage_usd, cost.hosting_usd_per_hour):
            if amount is not None:
                yield amount


def course_of(world: World) -> list[RemoteJob]:
    """Return what `get` and `list` say of one job, from submit to its end and a while longer."""
    made = world.fresh() if isinstance(world.clock, ManualClock) else world.first()[1]
    reads = [made]

    def ended(job: RemoteJob) -> bool:
        reads.append(job)
        reads.extend(
            one for one in world.backend.list() if one.provider_job_id == job.provider_job_id
        )
        return job.status.is_final

    world.until(made.provider_job_id, ended)
    return reads + world.read_on(made.provider_job_id)


def _modules_of(backend: type[Backend]) -> list[ModuleType]:
    """Return the modules that the backend is made of: its classes', and what these import."""
    found: dict[str, ModuleType] = {}
    for base in backend.__mro__:
        top = base.__module__.partition(".")[0]
        if base.__module__ not in sys.modules or base in (Backend, *Backend.__mro__):
            continue
        module = found[base.__module__] = sys.modules[base.__module__]
        for value in vars(module).values():
            name = value.__name__ if isinstance(value, ModuleType) else _origin(value)
            if name.partition(".")[0] == top and name in sys.modules:
                found[name] = sys.modules[name]
    return list(found.values())


def _origin(value: object) -> str:
    """Return the module in which a class or function was defined."""
    name = getattr(value, "__module__", None)
    return name if isinstance(name, str) else ""


class CourseChecks:
    """What a job may say of itself at each moment."""

    def test_nothing_is_final_before_the_end(self, world: World) -> None:
        """An end, a bill or a result of a running job makes a program stop waiting for it."""
        reads = course_of(world)
        if isinstance(world.clock, ManualClock):
            assert any(not one.status.is_final for one in reads)
        is_free = world.backend.capabilities.price == "free"
        for job in reads:
            assert_right_for_its_status(job, is_free=is_free)
        assert reads[-1].status is JobStatus.SUCCEEDED

    def test_every_status_has_a_right_record(self, world: World) -> None:
        if world.double is None or not world.statuses:
            pytest.skip("this world has no double")
        identity = world.fresh().provider_job_id
        is_free = world.backend.capabilities.price == "free"
        for word in world.statuses:
            world.double.show_status(identity, word)
            assert_right_for_its_status(world.backend.get(identity), is_free=is_free)
        world.double.show_status(identity, None)

    def test_a_final_status_is_the_last(self, world: World) -> None:
        """A provider's word that is followed by another was not final, whatever the table says."""
        stories = [course_of(world)]
        if world.backend.capabilities.can_cancel:
            story = world.cancelled()
            stories.append([story.first, story.last, *story.later])
        for reads in stories:
            ended = [job.raw_status for job in reads if job.status.is_final]
            assert len(set(ended)) == 1, f"called final, and followed by another: {ended}"

    def test_a_status_on_its_way_is_not_final(self, world: World) -> None:
        """`STOPPING` in both tables, the backend's and the world's, agrees with itself."""
        for word, ours in world.statuses.items():
            if _ON_ITS_WAY.search(word) and word.lower() not in _ENDS_THOUGH:
                assert not ours.is_final, f"{word} reads as if the job went on; expected {ours}"

    def test_the_expected_statuses_are_not_the_backends_table(self, world: World) -> None:
        """A table compared with itself is always right."""
        if not world.statuses:
            pytest.skip("this world has no statuses")
        for module in _modules_of(type(world.backend)):
            for name, value in vars(module).items():
                assert value is not world.statuses or module.__name__ == type(self).__module__, (
                    f"World.statuses is {module.__name__}.{name}: write the expected statuses out, "
                    "from the provider's documentation"
                )
