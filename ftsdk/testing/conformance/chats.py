"""Checks of batches and stored chats: sent once, found again, and nothing is left out."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from ftsdk.backends.base import Backend
from ftsdk.errors import BackendError, FtsdkError, NotReady, UsageError
from ftsdk.testing.conformance.answers import callable_result
from ftsdk.testing.conformance.faults import double_of
from ftsdk.testing.conformance.pages import paged
from ftsdk.testing.conformance.world import World
from ftsdk.testing.lab import Behaviour
from ftsdk.types.chat import Batch, BatchState, ChatRequest
from ftsdk.types.model import ModelHandle
from ftsdk.util.clock import ManualClock

_SIZES = (3, 20)
_LOST: tuple[tuple[Behaviour, dict[str, Any]], ...] = (
    ("reset", {"acted": True}),
    ("html", {"acted": True}),
    ("status", {"acted": True, "status": 500}),
)
_READS: Mapping[str, Callable[[Backend, Batch], Any]] = {
    "find_batches": lambda backend, batch: backend.find_batches(str(batch.tag)),
    "get_batch": lambda backend, batch: backend.get_batch(batch.id),
    "batch_outcomes": lambda backend, batch: list(backend.batch_outcomes(batch.id)),
    "cancel_batch": lambda backend, batch: backend.cancel_batch(batch.id),
}
_PATIENCE = 2_000


def asked_for(count: int = 4, **options: Any) -> list[ChatRequest]:
    """Return requests, each with a question of its own."""
    return [
        ChatRequest(
            f"request-{number}",
            ({"role": "user", "content": f"What does ticket number {number} ask for?"},),
            options,
        )
        for number in range(count)
    ]


@contextlib.contextmanager
def batches_of(world: World, claim: str = "can_batch") -> Iterator[ModelHandle]:
    """Yield a model to run batches of. Skips where there are none, or where time is real."""
    if not getattr(world.backend.capabilities, claim):
        pytest.skip(f"the backend does not declare {claim}")
    if not isinstance(world.clock, ManualClock):
        pytest.skip("batches are tried where waiting takes no time")
    with callable_result(world) as (handle, _):
        yield handle


def create_of(world: World) -> tuple[str, str]:
    """Return method and path of the call that creates a batch."""
    assert world.batch_create is not None, "World.batch_create must name the call"
    return world.batch_create


def ended(world: World, batch: Batch) -> Batch:
    """Let time pass until the batch has ended; return it."""
    found = world.backend.get_batch(batch.id)
    for _ in range(_PATIENCE):
        if found.state.is_final:
            return found
        world.clock.sleep(world.step_s)
        found = world.backend.get_batch(batch.id)
    raise AssertionError(f"the batch stays {found.state}")


class ChatChecks:
    """Batches and stored chats."""

    @pytest.mark.parametrize("number", range(len(_LOST)))
    def test_a_batch_is_created_once_and_found_again(self, world: World, number: int) -> None:
        """Its answer is lost: it is paid for, and must be found by its tag."""
        behaviour, facts = _LOST[number]
        with batches_of(world) as handle:
            double, tag = double_of(world), f"lost-{number}"
            double.spoil(behaviour, *create_of(world), **facts)
            before = creates(world)
            with pytest.raises(FtsdkError) as caught:
                world.backend.batch(handle, asked_for(), tag=tag)
            assert creates(world) - before == 1
            assert caught.value.submitted == "maybe"
            found = world.restarted().find_batches(tag)
            assert [one.tag for one in found] == [tag]
            assert ended(world, found[0]).state is BatchState.COMPLETED

    def test_a_refused_batch_was_not_submitted(self, world: World) -> None:
        with batches_of(world) as handle:
            double_of(world).spoil("status", *create_of(world), status=400)
            with pytest.raises(FtsdkError) as caught:
                world.backend.batch(handle, asked_for(), tag="refused")
            assert caught.value.submitted == "no"
            assert world.backend.find_batches("refused") == []

    def test_a_batch_that_cannot_be_right_is_refused_before_it_is_sent(self, world: World) -> None:
        one = asked_for(1)[0]
        wrong: Sequence[list[ChatRequest]] = (
            [],
            [one, one],
            [ChatRequest("x" * 65, one.messages)],
            [ChatRequest("x", one.messages, {"temprature": 1})],
        )
        with batches_of(world) as handle:
            for requests in wrong:
                with world.watched() as seen, pytest.raises(UsageError):
                    world.backend.batch(handle, requests, tag="wrong")
                assert [asked for asked in seen if asked[0] != "GET"] == [], requests

    @pytest.mark.parametrize("size", _SIZES)
    def test_a_batch_is_found_on_every_page(self, world: World, size: int) -> None:
        with batches_of(world) as handle:
            tags = ["twice", *(f"crowd-{size}-{number}" for number in range(23)), "twice"]
            tags = [f"{tag}-{size}" for tag in tags]
            made = [world.backend.batch(handle, asked_for(1), tag=tag).id for tag in tags]
            with paged(world, size) as backend:
                found = [one.id for one in backend.find_batches(tags[0])]
                assert found == [made[0], made[-1]], "the oldest first, on any page"
                assert [one.id for one in backend.find_batches(tags[12])] == [made[12]]
                assert backend.find_batches("nobody-has-it") == []

    def test_every_outcome_of_a_batch_is_its_own_requests(self, world: World) -> None:
        with batches_of(world) as handle:
            requests = asked_for(25, max_tokens=173)
            with world.watched_bodies() as seen:
                batch = world.backend.batch(handle, requests, tag="outcomes")
            if world.double is not None:
                assert any(b"173" in body for _, _, body in seen), "max_tokens was dropped"
            assert ended(world, batch).state is BatchState.COMPLETED
            outcomes = list(world.backend.batch_outcomes(batch.id))
            assert sorted(one.id for one in outcomes) == sorted(one.id for one in requests)
            answers = {one.id: one.answer and one.answer.text for one in outcomes}
            for request in requests[2:4]:
                expected = world.backend.chat(handle, request.messages, {"max_tokens": 173})
                assert answers[request.id] == expected.text

    def test_a_batch_has_no_outcomes_before_its_end(self, world: World) -> None:
        with batches_of(world) as handle:
            batch = world.backend.batch(handle, asked_for(), tag="early")
            assert not batch.state.is_final
            with pytest.raises(NotReady):
                list(world.backend.batch_outcomes(batch.id))

    def test_a_cancelled_batch_ends_and_has_what_was_done(self, world: World) -> None:
        with batches_of(world) as handle:
            batch = world.backend.batch(handle, asked_for(50), tag="cancelled")
            for _ in range(_PATIENCE):
                if world.backend.get_batch(batch.id).done:
                    break
                world.clock.sleep(world.step_s)
            world.backend.cancel_batch(batch.id)
            last = ended(world, batch)
            world.backend.cancel_batch(batch.id)  # it has ended: nothing is wrong
            assert last.state is BatchState.CANCELLED
            outcomes = list(world.backend.batch_outcomes(batch.id))
            assert len(outcomes) == last.done + last.failed

    @pytest.mark.parametrize("method", _READS)
    def test_an_outage_is_no_batch(self, world: World, method: str) -> None:
        with batches_of(world) as handle:
            batch = world.backend.batch(handle, asked_for(1), tag="outage")
            ended(world, batch)
            with double_of(world).down(), pytest.raises(BackendError):
                _READS[method](world.backend, batch)

    @pytest.mark.parametrize("size", _SIZES)
    def test_stored_chats_are_read_to_the_last_page(self, world: World, size: int) -> None:
        with batches_of(world, "has_stored_chats") as handle:
            mark, count = {"size": str(size)}, 23
            for request in asked_for(count):
                options = {"store": True, "metadata": mark}
                world.backend.chat(handle, request.messages, options)
                world.pass_s(1)
            sent = [list(request.messages) for request in asked_for(count)][::-1]
            with paged(world, size) as backend:
                found = list(backend.stored_chats(metadata=mark))
                assert [list(one.messages) for one in found] == sent, "newest first, all of them"
                assert len({one.id for one in found}) == count
                few = [one.id for one in backend.stored_chats(metadata=mark, limit=4)]
                assert few == [one.id for one in found[:4]]
                others = backend.stored_chats(model="nobody-has-this-model")
                assert list(others) == []


def creates(world: World) -> int:
    """Return how many calls that create a batch arrived."""
    method, path = create_of(world)
    requests = [] if world.double is None else world.double.requests()
    return sum(one == method and bool(re.search(path, where)) for one, where in requests)
