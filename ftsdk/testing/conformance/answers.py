"""Checks of a result: what it was tuned from, and what a chat with it sends."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from ftsdk.errors import FtsdkError, Unsupported
from ftsdk.testing.conformance.world import World
from ftsdk.types.model import ModelHandle
from ftsdk.types.status import JobStatus
from ftsdk.util.clock import ManualClock

_READS = frozenset({"GET", "HEAD"})
_QUESTION = "What does ticket number 3 ask for?"
_OPTIONS: Mapping[str, Any] = {
    "max_tokens": 173,
    "temperature": 0.4375,
    "seed": 90_173,
    "top_p": 0.8125,
}
"""Values that no default has."""


@contextlib.contextmanager
def callable_result(world: World) -> Iterator[tuple[ModelHandle, set[str]]]:
    """Yield a result that can be called, and the paths of the requests that deployed it.

    It is deployed where that is declared, and undeployed afterwards. Skips where there is none.
    """
    identity = world.finished()
    handle = world.backend.model(identity)
    if handle.callable_now:
        yield handle, set()
        return
    if not world.backend.capabilities.can_deploy or not isinstance(world.clock, ManualClock):
        pytest.skip("no result of this backend can be called here")
    with world.watched() as seen:
        handle = world.backend.deploy(handle)
    try:
        for _ in range(600):
            if handle.callable_now:
                break
            world.clock.sleep(world.step_s)
            handle = world.backend.model(identity)
        assert handle.callable_now, "ten minutes after `deploy` the model cannot be called"
        yield handle, {path for method, path in seen if method not in _READS}
    finally:
        world.backend.undeploy(handle)


class AnswerChecks:
    """The model that a job made."""

    def test_a_result_names_its_base_model(self, world: World) -> None:
        handle = world.backend.model(world.finished())
        assert handle.base_model == (world.base_model or world.model)
        job = world.backend.get(world.finished())
        assert job.model in (None, world.model, handle.base_model)

    def test_another_base_model_is_named_as_well(self, world: World) -> None:
        """The usual base model may be written into the backend."""
        if world.other_model is None or not isinstance(world.clock, ManualClock):
            pytest.skip("this world has no other model")
        job = world.fresh(model=world.other_model)
        assert job.model in (None, world.other_model)
        ended = world.until(job.provider_job_id, lambda one: one.status.is_final)
        assert ended.status is JobStatus.SUCCEEDED, ended.message
        assert ended.model in (None, world.other_model)
        assert world.backend.model(job.provider_job_id).base_model == world.other_model

    def test_an_account_lists_the_result_with_its_base(self, world: World) -> None:
        if not world.backend.capabilities.lists_models:
            pytest.skip("the backend does not declare lists_models")
        handle = world.backend.model(world.finished())
        models = world.backend.account_models()
        if handle.callable_now:
            assert handle.id in models
        assert models.get(handle.id) in (None, handle.base_model)

    def test_chat_starts_nothing(self, world: World) -> None:
        """A model that has to be deployed first is refused, with no request that could cost."""
        if not world.backend.capabilities.can_chat:
            pytest.skip("the backend does not declare can_chat")
        handle = world.backend.model(world.finished())
        if not handle.callable_now:
            with world.watched() as seen, pytest.raises(FtsdkError):
                handle.chat(_QUESTION)
            assert {method for method, _ in seen} <= _READS
        with callable_result(world) as (served, deploying), world.watched() as seen:
            served.chat(_QUESTION, max_tokens=8)
        sent = {path for method, path in seen if method not in _READS}
        assert not sent & deploying, "chat made the requests of a deployment"
        if world.double is not None:
            assert sent

    @pytest.mark.parametrize("name", _OPTIONS)
    def test_a_chat_option_is_sent_or_refused(self, world: World, name: str) -> None:
        """An answer without the length or temperature that was asked for looks like one with it."""
        if not world.backend.capabilities.can_chat or world.double is None:
            pytest.skip("the backend does not declare can_chat, or the world has no double")
        value = _OPTIONS[name]
        refusal: Unsupported | None = None
        with callable_result(world) as (handle, _), world.watched_bodies() as seen:
            try:
                handle.chat(_QUESTION, **{name: value})
            except Unsupported as error:
                refusal = error
        if refusal is not None:
            assert name in str(refusal)
            assert all(method in _READS for method, _, _ in seen)
            return
        assert any(str(value).encode() in body for _, _, body in seen), f"{name} was dropped"

    def test_chat_sends_the_whole_conversation(self, world: World) -> None:
        if not world.backend.capabilities.can_chat or world.double is None:
            pytest.skip("the backend does not declare can_chat, or the world has no double")
        turns = [
            {"role": role, "content": f"{role} turn {number} of kestrel"}
            for number, role in enumerate(("user", "assistant", "user"))
        ]
        was_refused = False
        with callable_result(world) as (handle, _), world.watched_bodies() as seen:
            try:
                handle.chat(turns, max_tokens=8)
            except Unsupported:
                was_refused = True
        if was_refused:
            assert all(method in _READS for method, _, _ in seen)
            return
        arrived = b"\n".join(body for _, _, body in seen)
        assert all(turn["content"].encode() in arrived for turn in turns)
