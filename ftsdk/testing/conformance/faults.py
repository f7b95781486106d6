"""Checks with faults on the wire: what is known of a create call is told, and nothing else."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import pytest

from ftsdk.errors import BackendError, FtsdkError, RateLimited, Unavailable
from ftsdk.testing.conformance.world import Wire, World
from ftsdk.types.status import JobStatus

_LOST: tuple[tuple[str, dict[str, Any]], ...] = (
    ("close", {"acted": True}),
    ("reset", {"acted": True}),
    ("cut", {}),
    ("html", {"acted": True}),
    ("empty", {"acted": True}),
    ("status", {"acted": True, "status": 500}),
    ("status", {"acted": True, "status": 503, "retry_after": "1"}),
    ("status", {"acted": True, "status": 408}),
    ("status", {"acted": True, "status": 409}),
    ("status", {"acted": True, "status": 429, "retry_after": "1"}),
    ("drop", {"field": "id"}),
    ("set", {"field": "id", "value": ""}),
    ("rename", {"field": "id", "value": "identifier"}),
)
_NEVER: tuple[tuple[str, dict[str, Any]], ...] = (
    ("close", {}),
    ("reset", {}),
    ("status", {"status": 502}),
    ("status", {"status": 504}),
    ("status", {"status": 425}),
)
_REFUSED = (400, 401, 403, 413, 422)


def wired(world: World) -> Wire:
    """The wire; skips where there is none."""
    if world.wire is None:
        pytest.skip("no wire to spoil")
    world.wire.behave()
    return world.wire


def spoiled(world: World, behaviour: Any, facts: dict[str, Any]) -> tuple[FtsdkError, int, Any]:
    """Submit with a spoiled create call: the error, how many creates arrived, and the request."""
    wire = wired(world)
    method, path = wire.create
    request = world.request()
    before = wire.creates()
    wire.spoil(behaviour, method, path, **facts)
    try:
        with pytest.raises(FtsdkError) as caught:
            world.backend.submit(request)
    finally:
        wire.behave()
    return caught.value, wire.creates() - before, request


class FaultChecks:
    """The create call once, reads again, and no secret anywhere."""

    @pytest.mark.parametrize(
        ("behaviour", "facts"), _LOST, ids=lambda one: one if isinstance(one, str) else str(one)
    )
    def test_a_lost_answer_is_in_doubt_and_the_job_is_found(
        self, world: World, behaviour: str, facts: dict[str, Any]
    ) -> None:
        error, creates, request = spoiled(world, behaviour, facts)
        assert error.submitted == "maybe"
        assert creates == 1, "the create call was sent again"
        assert len(world.backend.find(request)) == 1

    @pytest.mark.parametrize(
        ("behaviour", "facts"), _NEVER, ids=lambda one: one if isinstance(one, str) else str(one)
    )
    def test_a_lost_request_is_in_doubt_and_no_job_is_found(
        self, world: World, behaviour: str, facts: dict[str, Any]
    ) -> None:
        error, creates, request = spoiled(world, behaviour, facts)
        assert error.submitted == "maybe"
        assert creates == 1
        assert world.backend.find(request) == []

    @pytest.mark.parametrize("status", _REFUSED)
    def test_a_refusal_is_a_refusal(self, world: World, status: int) -> None:
        error, creates, _ = spoiled(world, "status", {"status": status})
        assert error.submitted == "no"
        assert not error.retryable
        assert creates == 1

    def test_a_provider_that_is_not_there_got_nothing(self, world: World) -> None:
        wire = wired(world)
        request = world.request()
        before = wire.jobs()
        with wire.down(), pytest.raises(FtsdkError) as caught:
            world.backend.submit(request)
        assert caught.value.submitted == "no"
        assert caught.value.retryable
        assert wire.jobs() == before

    def test_a_redirect_is_not_followed(self, world: World) -> None:
        error, creates, _ = spoiled(
            world, "redirect", {"value": "http://127.0.0.1:9/stolen", "acted": False}
        )
        assert error.submitted == "maybe"
        assert creates == 1

    # --- reads ---

    def test_a_read_recovers(self, world: World) -> None:
        wire = wired(world)
        _, job = world.first()
        for behaviour, facts in (
            ("status", {"status": 503}), ("close", {}), ("reset", {}), ("cut", {}),
            ("status", {"status": 429, "retry_after": "0"}), ("html", {}),
        ):  # fmt: skip
            wire.spoil(behaviour, "GET", None, **facts)  # type: ignore[arg-type]  # words of Behaviour
            told = world.backend.get(job.provider_job_id)
            assert told.provider_job_id == job.provider_job_id
        wire.behave()

    def test_a_read_waits_for_nobody_longer_than_two_minutes(self, world: World) -> None:
        wire = wired(world)
        _, job = world.first()
        before = world.clock.monotonic()
        wire.spoil("status", "GET", None, status=429, retry_after="86400", times=None)
        with pytest.raises(RateLimited):
            world.backend.get(job.provider_job_id)
        wire.behave()
        assert world.clock.monotonic() - before < 120

    def test_could_not_ask_is_an_error_and_no_status(self, world: World) -> None:
        """Kiln made `unknown` of every exception; DSPy took any for "does not exist"."""
        wire = wired(world)
        request, job = world.first()
        with wire.down():
            with pytest.raises(Unavailable):
                world.backend.get(job.provider_job_id)
            with pytest.raises(BackendError):
                world.backend.find(request)
            with pytest.raises(BackendError):
                list(world.backend.list())
        assert world.backend.get(job.provider_job_id).status.is_remote

    def test_an_answer_about_another_job_is_not_believed(self, world: World) -> None:
        wire = wired(world)
        _, job = world.first()
        wire.spoil("drop", "GET", None, field="id", times=None)
        with pytest.raises(BackendError):
            world.backend.get(job.provider_job_id)
        wire.behave()

    def test_a_repeated_page_gives_no_job_twice(self, world: World) -> None:
        wire = wired(world)
        world.first()
        wire.spoil("repeat", "GET", None, times=None)
        identities = [one.provider_job_id for one in world.backend.list()]
        wire.behave()
        assert len(identities) == len(set(identities))

    def test_a_missing_status_is_unknown(self, world: World) -> None:
        wire = wired(world)
        _, job = world.first()
        wire.spoil("drop", "GET", None, field="status", times=None)
        told = world.backend.get(job.provider_job_id)
        wire.behave()
        assert told.status is JobStatus.UNKNOWN
        assert not told.status.is_final

    # --- secrets ---

    def test_no_secret_in_errors_causes_frames_or_logs(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        wire = wired(world)
        if not world.secrets:
            pytest.skip("this world has no secrets")
        _, job = world.first()
        echo = {"error": {"message": f"bad key {world.secrets[0]}", "code": world.secrets[0]}}
        told: list[str] = []
        asks: tuple[Callable[[], object], ...] = (
            lambda: world.backend.get(job.provider_job_id),
            lambda: world.backend.submit(world.request()),
        )
        with caplog.at_level("DEBUG"):
            for behaviour, facts in (
                ("status", {"status": 401, "body": echo}), ("status", {"status": 500, "body": echo}),
                ("close", {}), ("html", {}), ("cut", {}),
                ("redirect", {"value": f"http://127.0.0.1:9/?token={world.secrets[0]}"}),
            ):  # fmt: skip
                for ask in asks:
                    wire.spoil(behaviour, times=6, **facts)  # type: ignore[arg-type]  # as above
                    try:
                        ask()
                    except FtsdkError as error:
                        told += _frames(error)
                        told += [str(error), repr(error), str(error.to_dict())]
                        told.append(repr(error.__reduce__()))  # what a pickle would carry
                    wire.behave()
        told += [record.getMessage() for record in caplog.records]
        whole = "\n".join(told)
        assert told
        for secret in world.secrets:
            leaks = [line.strip()[:200] for line in whole.split("\n") if secret in line]
            assert leaks == []


def _frames(error: BaseException) -> list[str]:
    """The traceback with all locals, causes included; without the frames of this very check."""
    told = traceback.TracebackException.from_exception(error, capture_locals=True)
    one: traceback.TracebackException | None = told
    while one is not None:
        one.stack = traceback.StackSummary.from_list(
            [frame for frame in one.stack if frame.filename != __file__]
        )
        one = one.__cause__ or one.__context__
    return list(told.format())
