"""Checks of lists in pages: what is on the second page is read, too."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from ftsdk.backends.base import Backend
from ftsdk.testing.conformance.world import World
from ftsdk.util.clock import ManualClock

_SIZES = (3, 20)
_PARTS = {
    "events": "has_events",
    "metrics": "has_metrics",
    "checkpoints": "has_checkpoints",
    "logs": "has_logs",
}
"""What a run leaves behind, and the claim for it."""


@contextlib.contextmanager
def paged(world: World, size: int | None) -> Iterator[Backend]:
    """Yield a new backend, which has read nothing yet, while lists come in pages of that size."""
    backend = world.restarted()
    if world.double is not None:
        world.double.page(size)
    try:
        yield backend
    finally:
        if world.double is not None:
            world.double.page(None)
        backend.close()


def needs_a_crowd(world: World) -> None:
    """Skip where making two dozen jobs takes real time."""
    if not isinstance(world.clock, ManualClock):
        pytest.skip("lists are tried where making many jobs takes no time")


class PageChecks:
    """Lists of jobs, events, metrics, checkpoints and logs, in pages of 3 and of 20.

    A backend that reads only the first page passes everything else with a young account.
    """

    @pytest.mark.parametrize("size", _SIZES)
    def test_list_reads_every_page(self, world: World, size: int) -> None:
        needs_a_crowd(world)
        made = [job.provider_job_id for _, job in world.crowd()]
        with paged(world, size) as backend:
            listed = [one.provider_job_id for one in backend.list()]
        assert [one for one in made if one not in listed] == [], f"{len(listed)} jobs were listed"
        assert len(listed) == len(set(listed))

    @pytest.mark.parametrize("size", _SIZES)
    def test_find_reads_every_page(self, world: World, size: int) -> None:
        """The oldest job is on the last page; a lost answer is looked for among new ones as well."""
        needs_a_crowd(world)
        crowd = world.crowd()
        with paged(world, size) as backend:
            for request, job in (crowd[0], crowd[len(crowd) // 2], crowd[-1]):
                found = [one.provider_job_id for one in backend.find(request)]
                assert found == [job.provider_job_id]

    @pytest.mark.parametrize("size", _SIZES)
    def test_get_many_reads_every_page(self, world: World, size: int) -> None:
        needs_a_crowd(world)
        made = [job.provider_job_id for _, job in world.crowd()]
        read: set[str] = set()
        with paged(world, size) as backend:
            for _ in made:  # some may be left out to keep to a rate limit, and come next time
                left = [one for one in made if one not in read]
                read |= {one.provider_job_id for one in backend.get_many(left)}
                if read >= set(made):
                    return
                world.pass_s(60)
        assert sorted(read) == sorted(made)

    @pytest.mark.parametrize("limit", [2, 4, 7, 21])
    def test_a_limit_may_lie_on_any_page(self, world: World, limit: int) -> None:
        needs_a_crowd(world)
        world.crowd()
        with paged(world, None) as backend:
            newest = [one.provider_job_id for one in backend.list()][:limit]
        with paged(world, 3) as backend:
            assert [one.provider_job_id for one in backend.list(limit=limit)] == newest

    @pytest.mark.parametrize("part", _PARTS)
    def test_a_run_is_read_to_its_last_page(self, world: World, part: str) -> None:
        if not getattr(world.backend.capabilities, _PARTS[part]):
            pytest.skip(f"the backend does not declare {_PARTS[part]}")
        identity = world.long_run()

        def read(size: int | None) -> Any:
            with paged(world, size) as backend:
                return getattr(backend, part)(identity)

        whole = read(None)
        if world.double is not None:
            assert len(whole) > 1, f"too few {part} for two pages: see World.long_job"
        if part in world.counts:
            assert len(whole) == world.counts[part](identity)
        for size in _SIZES if len(whole) > min(_SIZES) else (1, *_SIZES):
            found = read(size)
            assert len(found) == len(whole), f"pages of {size}"
            assert found == whole, f"pages of {size}"

    def test_events_continue_on_any_page(self, world: World) -> None:
        if not world.backend.capabilities.has_events:
            pytest.skip("the backend does not declare has_events")
        identity = world.long_run()
        events = world.backend.events(identity)
        for event in (events[0], events[len(events) // 2], events[-2]):
            with paged(world, 3) as backend:
                later = backend.events(identity, after=event.seq)
            assert [one.id for one in later] == [one.id for one in events if one.seq > event.seq]

    @pytest.mark.parametrize("size", _SIZES)
    def test_models_are_read_to_the_last_page(self, world: World, size: int) -> None:
        if not world.backend.capabilities.lists_models:
            pytest.skip("the backend does not declare lists_models")
        world.finished()
        with paged(world, None) as backend:
            whole = dict(backend.account_models())
        with paged(world, size) as backend:
            assert dict(backend.account_models()) == whole
