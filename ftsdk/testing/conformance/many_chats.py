"""Checks of many chats at once: an outcome each, within bounds, and nothing sent twice for nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from ftsdk.errors import FtsdkError, Unsupported
from ftsdk.testing.conformance.answers import callable_result
from ftsdk.testing.conformance.chats import asked_for
from ftsdk.testing.conformance.world import World
from ftsdk.types.chat import ChatOutcome, ChatRequest, OutcomeKind
from ftsdk.types.model import ModelHandle

_READS = frozenset({"GET", "HEAD"})
_COUNT = 12


@contextlib.contextmanager
def model_for_many(world: World) -> Iterator[ModelHandle]:
    """Yield a model that answers. Skips where `can_chat_many` is not declared."""
    if not world.backend.capabilities.can_chat_many:
        pytest.skip("the backend does not declare can_chat_many")
    with callable_result(world) as (handle, _):
        yield handle


class ManyChatChecks:
    """`Backend.chat_many`."""

    def test_many_chats_have_an_outcome_each(self, world: World) -> None:
        reported: list[ChatOutcome] = []
        with model_for_many(world) as handle:
            found = list(
                world.backend.chat_many(
                    handle,
                    iter(asked_for(_COUNT, max_tokens=8)),
                    concurrency=3,
                    on_outcome=reported.append,
                )
            )
        ids = sorted(f"request-{number}" for number in range(_COUNT))
        assert sorted(one.id for one in found) == ids
        assert sorted(one.id for one in reported) == ids
        assert all(one.answer is not None for one in found)
        assert all(one.kind is not OutcomeKind.ERROR for one in found)

    def test_requests_of_many_chats_are_read_as_they_are_needed(self, world: World) -> None:
        read = 0

        def counted() -> Iterator[ChatRequest]:
            nonlocal read
            for one in asked_for(200, max_tokens=8):
                read += 1
                yield one

        with model_for_many(world) as handle:
            outcomes = world.backend.chat_many(handle, counted(), concurrency=2)
            next(outcomes)
            outcomes.close()  # type: ignore[attr-defined]  # an iterator that ends early is a generator
        assert read <= 20

    def test_an_option_that_is_refused_ends_many_chats(self, world: World) -> None:
        """Every request would get the refusal, so it is raised and no outcome of each."""
        with model_for_many(world) as handle, world.watched() as seen:
            refused: FtsdkError | None = None
            try:
                list(world.backend.chat_many(handle, asked_for(5, stream=True), concurrency=2))
            except Unsupported as error:
                refused = error
        assert refused is not None
        assert "stream" in str(refused)
        assert all(method in _READS for method, _ in seen)

    def test_no_concurrency_is_refused_before_anything_is_sent(self, world: World) -> None:
        with model_for_many(world) as handle, world.watched() as seen:
            with pytest.raises(FtsdkError):
                world.backend.chat_many(handle, asked_for(1), concurrency=0)
            assert seen == []
